"""What every kind of adapter promises: those that ship, and one that is defined in the tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from maquette.errors import ConfigError, LoraError
from maquette.families import BaseModel, load
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import inspect_lora, read_lora, save_lora
from maquette.lora.formats import to_diffusers
from maquette.lora.kinds import KINDS
from maquette.lora.kinds import rows as adapter_rows
from maquette.lora.kinds.protocol import Sizes
from maquette.lora.layer import LayerTrial, LoraLayer
from maquette.lora.reading import read_lora_facts
from maquette.lora.state import modules_of
from tests.lora.kinds import OutputScale
from tests.lora.test_adapter import base_weights, prediction, same
from tests.lora.test_layer import MODULES, rows

SOURCE = Path(__file__).resolve().parents[2] / "src" / "maquette"
SHIPPED = adapter_rows()
NAMES = (*SHIPPED, OutputScale.name)


WITH_MODELS = ("lora", "dora", OutputScale.name)
"""Kinds whose promises are tested every time; the others' with the slow tests."""


@pytest.fixture(
    params=[name if name in WITH_MODELS else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each kind in turn; the tests' own is in the table throughout, as a further row would be."""
    monkeypatch.setitem(KINDS, OutputScale.name, OutputScale())
    yield request.param


@pytest.fixture
def model(tiny_sd1_path: Path) -> BaseModel:
    return load(tiny_sd1_path)


def spec(kind: str, seed: int = 0, rank: int = 2) -> TrialSpec:
    return TrialSpec(kind=kind, rank=rank, alpha=1.5, conv_rank=rank, conv_alpha=0.5, seed=seed)


@torch.no_grad()
def trained(adapter: LoraAdapter) -> LoraAdapter:
    """Give all weights values, as training would; the same ones for trials of the same place and shape."""
    factors = max((len(layer.kind.factors) for layer in adapter.layers.values()), default=0)
    most = 0.05 ** (2 / (factors or 2))  # so that products of more factors are as large
    for trial in range(adapter.num_trials):
        for name, leaf in adapter.named_parameters_of(trial).items():
            generator = torch.Generator().manual_seed(len(name) + leaf.numel())
            leaf.uniform_(-most, most, generator=generator)
    return adapter


@torch.no_grad()
def test_fresh_weights_change_nothing(model: BaseModel, kind: str) -> None:
    before = prediction(model, 2)
    LoraAdapter.attach(model, [spec(kind), spec(kind, seed=1)])
    assert torch.equal(prediction(model, 2), before)


def test_the_base_is_frozen_and_comes_back_to_the_bit(model: BaseModel, kind: str) -> None:
    before = base_weights(model)
    adapter = trained(LoraAdapter.attach(model, [spec(kind)]))
    prediction(model).square().sum().backward()
    assert any(leaf.grad is not None for leaf in adapter.parameters())
    parts = (model.denoiser, *model.text_encoders, model.vae)
    assert all(parameter.grad is None for part in parts for parameter in part.parameters())
    with adapter.merged():
        pass
    adapter.detach()
    assert same(base_weights(model), before)


@torch.no_grad()
def test_merged_it_draws_what_it_draws_beside(model: BaseModel, kind: str) -> None:
    """Tolerance: a product of sums against a sum of products, float32, through some twenty layers."""
    plain = prediction(model)
    adapter = trained(LoraAdapter.attach(model, [spec(kind)]))
    adapter.set_multiplier(0.7)
    beside = prediction(model)
    with adapter.merged():
        merged = prediction(model)
    assert (beside - plain).abs().max() > 1e-3
    torch.testing.assert_close(merged, beside, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_file_brings_it_back_to_the_bit(model: BaseModel, kind: str, tmp_path: Path) -> None:
    adapter = trained(LoraAdapter.attach(model, [spec(kind)]))
    before = prediction(model)
    saved = save_lora(tmp_path / "a.safetensors", adapter.state_dict(0), {}, dtype="fp32")
    adapter.detach()
    lora = read_lora(saved.path, model.lora_targets())
    assert same(dict(lora.state), adapter.state_dict(0))
    again = LoraAdapter.attach(model, [lora.state])
    assert torch.equal(prediction(model), before)
    again.load_state(0, adapter.state_dict(0))
    assert torch.equal(prediction(model), before)


@torch.no_grad()
def test_every_spelling_of_its_tensors_is_read(model: BaseModel, kind: str, tmp_path: Path) -> None:
    own = KINDS[kind]
    state = trained(LoraAdapter.attach(model, [spec(kind)])).state_dict(0)
    by_tensor: dict[str, list[str]] = {tensor: [f".{tensor}"] for tensor in own.tensors}
    for ending, tensor in own.spellings:
        by_tensor[tensor].append(ending)
    most = max(map(len, by_tensor.values()))
    for endings in zip(*(own + own[-1:] * (most - len(own)) for own in by_tensor.values()), strict=True):
        spelt = dict(zip(own.tensors, endings, strict=True))
        renamed = {}
        for name, value in state.items():
            key, tensor = name.split(".", 1)
            renamed[f"{key}{spelt.get(tensor, '.' + tensor)}"] = value
        save_file(renamed, tmp_path / "spelt.safetensors")
        assert same(dict(read_lora(tmp_path / "spelt.safetensors", model.lora_targets()).state), state)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("ranks", [(2, 3, 1), (2, 2, 2)], ids=["mixed ranks", "equal ranks"])
def test_packed_trials_train_as_each_does_alone(kind: str, module: str, ranks: tuple[int, ...]) -> None:
    """In float64, whose rounding (1e-16 a product, some hundred of them) leaves no room for a wrong term."""
    if kind == "lokr":  # ranks that have one form on layers as small as these
        ranks = tuple(min(rank, 2) for rank in ranks)
    dropped = dict.fromkeys(KINDS[kind].dropouts, 0.3)
    trials = [LayerTrial(rank=rank, alpha=1.5, seed=number, **dropped) for number, rank in enumerate(ranks)]

    def made(of: list[LayerTrial]) -> LoraLayer:
        torch.manual_seed(11)
        layer = LoraLayer("key", MODULES[module]().double().requires_grad_(False), of, kind)
        layer.double().train()
        for place, trial in enumerate(of):
            for leaf in layer.weights(place) or ():
                generator = torch.Generator().manual_seed(trial.seed + leaf.ndim)
                leaf.data.uniform_(-0.3, 0.3, generator=generator)
        return layer

    x = rows(module, 2 * len(trials)).double()
    packed = made(trials)
    out = packed(x)
    out.square().sum().backward()
    for index, trial in enumerate(trials):
        alone = made([trial])
        own = alone(x[2 * index : 2 * index + 2])
        if own.requires_grad:
            own.square().sum().backward()
        torch.testing.assert_close(out[2 * index : 2 * index + 2], own, rtol=1e-12, atol=1e-12)
        for leaf, expected in zip(packed.weights(index) or (), alone.weights(0) or (), strict=True):
            assert (leaf.grad is None) == (expected.grad is None)
            torch.testing.assert_close(leaf.grad, expected.grad, rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_trials_draw_in_one_batch_what_each_draws_alone(model: BaseModel, kind: str) -> None:
    """Tolerance: sums are grouped otherwise in batched products, float32, through some twenty layers."""
    other = 2 if kind == "lokr" else 3  # LoKr has another form at rank 3 on layers as small as these
    specs = [spec(kind, seed=1), spec(kind, seed=2, rank=other), None]
    adapter = trained(LoraAdapter.attach(model, specs))
    together = prediction(model, 3)
    adapter.detach()
    for index, one in enumerate(specs):
        alone = trained(LoraAdapter.attach(model, [one]))
        torch.testing.assert_close(together[index : index + 1], prediction(model), rtol=1e-4, atol=1e-4)
        alone.detach()


def test_dropout_follows_from_seed_step_and_place(model: BaseModel, kind: str) -> None:
    one = TrialSpec(kind=kind, rank=2, seed=1, **{KINDS[kind].dropouts[0]: 0.5})
    adapter = trained(LoraAdapter.attach(model, [one, TrialSpec(kind=kind, rank=2, seed=2)])).train()
    with torch.no_grad():
        adapter.set_step(3)
        first = prediction(model, 2)
        adapter.set_step(4)
        second = prediction(model, 2)
        adapter.set_step(3)
        assert torch.equal(prediction(model, 2), first)
    assert not torch.equal(first[:1], second[:1])
    assert torch.equal(first[1:], second[1:])


@torch.no_grad()
def test_facts_know_it_without_loading_and_say_when_it_is_damaged(
    model: BaseModel, kind: str, tmp_path: Path
) -> None:
    adapter = LoraAdapter.attach(model, [spec(kind)])
    path = save_lora(tmp_path / "fresh.safetensors", adapter.state_dict(0), {}).path
    assert all(module.idle and module.kind == kind for module in read_lora_facts(path).modules)
    state = trained(adapter).state_dict(0)
    facts = inspect_lora(save_lora(tmp_path / "trained.safetensors", state, {}).path)
    assert len(facts.modules) == len(adapter.layers) and not facts.strangers
    assert not any(module.idle or module.missing or module.misfit for module in facts.modules)
    sizes = Sizes(3, 5, (3, 3))
    shapes = KINDS[kind].shapes(sizes, 2)
    assert KINDS[kind].misfit(dict(zip(KINDS[kind].tensors, shapes, strict=True))) is None
    wrong = dict.fromkeys(KINDS[kind].tensors, (1, 2, 3))
    assert KINDS[kind].misfit(wrong) is not None
    with pytest.raises(LoraError, match=r"together|\[out|\[blocks"):
        modules_of({f"a.{name}": torch.ones(1, 2, 3) for name in KINDS[kind].tensors[-1:]})


def test_kinds_do_not_share_a_pass_and_unknown_ones_are_named(model: BaseModel, kind: str) -> None:
    others = [name for name in NAMES if name != kind]
    with pytest.raises(LoraError, match="adapters of one kind"):
        LoraAdapter.attach(model, [spec(kind), *(spec(name) for name in others)])
    with pytest.raises(ConfigError, match=r"kind: 'lorra'.*Did you mean 'lora'"):
        TrialSpec(kind="lorra", rank=2)


def test_what_diffusers_does_not_know_is_not_written_for_it(model: BaseModel, kind: str) -> None:
    state = LoraAdapter.attach(model, [spec(kind)]).state_dict(0)
    if KINDS[kind].diffusers_endings is None:
        with pytest.raises(LoraError, match="a kind that diffusers knows"):
            to_diffusers(state, model.lora_targets())
    else:
        assert to_diffusers(state, model.lora_targets())[0]


def test_nothing_outside_its_folder_names_a_kind_s_tensors() -> None:
    """Docstrings and words for people may; code may not. What a base model refuses is what no base model holds."""
    marks = {part for name in SHIPPED for tensor in KINDS[name].tensors for part in (tensor, f".{tensor}")}
    marks |= {ending for name in SHIPPED for ending, _ in KINDS[name].spellings}
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        if (SOURCE / "lora" / "kinds") in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in marks:
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}: {node.value}")
    assert not found, "\n".join(found)

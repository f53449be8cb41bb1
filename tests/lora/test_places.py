"""Places: other trials come and go, and a pass takes some of them; what a place computes is what its trial computes alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from maquette.errors import LoraError
from maquette.families import BaseModel, load
from maquette.lora.adapter import LoraAdapter, Trial
from maquette.lora.choosing import BlockRule, LayerChoice
from maquette.lora.config import TrialSpec
from maquette.lora.kinds import rows as kinds
from maquette.lora.layer import LayerTrial, LoraLayer

SMALL = TrialSpec(rank=2, alpha=1.0, seed=1, dropout=0.2)
LARGE = TrialSpec(rank=5, alpha=4.0, seed=2, conv_rank=3, conv_alpha=1.0, parts=("denoiser",))
OTHER = TrialSpec(rank=2, alpha=2.0, seed=3, rank_dropout=0.3, module_dropout=0.3)
PICKED = TrialSpec(
    rank=3,
    alpha=3.0,
    seed=4,
    choice=LayerChoice(
        include=("attn2", "text_encoder"), blocks=(("mid_block", BlockRule(rank=6, alpha=2.0)),)
    ),
)
"""Other layers, and other ranks on some of them."""


@pytest.fixture
def model(tiny_sd1_path: Path) -> BaseModel:
    """In double precision, where rounding hides nothing."""
    return load(tiny_sd1_path, dtype=torch.float64)


@pytest.fixture(params=[False, True], ids=["apart", "gathered"])
def gathers(request: pytest.FixtureRequest) -> bool:
    """Whether all weights lie in one buffer."""
    return bool(request.param)


def attach(model: BaseModel, trials: Sequence[Trial], gathers: bool = False) -> LoraAdapter:
    adapter = LoraAdapter.attach(model, trials).to(dtype=torch.float64).train()
    assert not gathers or adapter.gather()
    for place, trial in enumerate(trials):
        stir(adapter, place, trial)
    return adapter


@torch.no_grad()
def stir(adapter: LoraAdapter, place: int, trial: Trial) -> None:
    """Give the weights of a place values, as training would; the same ones for the same trial."""
    seed = trial.seed if isinstance(trial, TrialSpec) else 0
    for name, leaf in adapter.named_parameters_of(place).items():
        generator = torch.Generator().manual_seed(len(name) + leaf.numel() + seed)
        leaf.copy_(torch.empty(leaf.shape, dtype=leaf.dtype).uniform_(-0.05, 0.05, generator=generator))


def losses(model: BaseModel, steps: Sequence[int]) -> Tensor:
    """Return a loss for each place whose turn it is [P]; each sees the data of its own step, two rows of it."""
    noisy, targets, timesteps, captions = [], [], [], []
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        each = torch.randn(2, 2, 4, 8, 8, generator=generator, dtype=torch.float64)
        noisy.append(each[0])
        targets.append(each[1])
        timesteps.append(torch.randint(0, 1000, (2,), generator=generator))
        captions += [f"sks dog {step}", "a dog"]
    conditioning = model.encode_text(model.tokenize(captions), clip_skip=1)
    predicted = model.predict(torch.cat(noisy), torch.cat(timesteps), conditioning)
    return (predicted - torch.cat(targets)).square().view(len(steps), -1).mean(1)


Measured = tuple[Tensor, dict[str, Tensor | None]]


def take(model: BaseModel, adapter: LoraAdapter, steps: dict[int, int]) -> dict[int, Measured]:
    """Take a pass with these places at these micro-steps; return each one's loss and gradients."""
    for place, step in steps.items():
        adapter.set_step(step, place=place)
    with adapter.taking(tuple(steps)):
        found = losses(model, list(steps.values()))
        found.sum().backward()
    return {
        place: (loss.detach(), gradients(adapter, place)) for place, loss in zip(steps, found, strict=True)
    }


def forget(adapter: LoraAdapter) -> None:
    adapter.module.zero_grad(set_to_none=True)
    for place in range(adapter.num_trials if adapter.pool else 0):
        adapter.pool.clear(place)


def gradients(adapter: LoraAdapter, place: int) -> dict[str, Tensor | None]:
    if adapter.pool is not None:
        adapter.pool.show(adapter.parameters_of(place))
    return {
        name: None if leaf.grad is None else leaf.grad.clone()
        for name, leaf in adapter.named_parameters_of(place).items()
    }


def alone(model: BaseModel, trial: Trial, step: int) -> Measured:
    adapter = attach(model, [trial])
    (found,) = take(model, adapter, {0: step}).values()
    adapter.detach()
    return found


def agree(one: Measured, two: Measured) -> None:
    torch.testing.assert_close(one[0], two[0], rtol=1e-10, atol=0)
    assert list(one[1]) == list(two[1])
    for name, grad in one[1].items():
        other = two[1][name]
        # A leaf that a pass left out has no gradient, or a zero that its place in the stack brings.
        zero = torch.zeros(()) if grad is None else torch.zeros_like(grad)
        torch.testing.assert_close(
            zero if grad is None else grad,
            zero if other is None else other,
            rtol=1e-8,
            atol=1e-12,
            check_dtype=False,
        )


def test_trials_come_and_go_and_each_computes_what_it_computes_alone(model: BaseModel, gathers: bool) -> None:
    """Ranks that differ, layers that others do not have, text encoders trained or not, larger ranks than before."""
    expected = {
        (trial, step): alone(model, trial, step)
        for trial, step in ((SMALL, 3), (LARGE, 8), (OTHER, 8), (PICKED, 5))
    }
    adapter = attach(model, [SMALL, OTHER, None], gathers)
    found = take(model, adapter, {0: 3, 1: 8})
    agree(found[0], expected[SMALL, 3])
    agree(found[1], expected[OTHER, 8])

    for place, trial in ((1, LARGE), (2, PICKED)):
        adapter.replace(place, trial)
        stir(adapter, place, trial)
    forget(adapter)
    found = take(model, adapter, {0: 3, 1: 8, 2: 5})
    for place, case in enumerate(((SMALL, 3), (LARGE, 8), (PICKED, 5))):
        agree(found[place], expected[case])

    adapter.replace(0, None)
    forget(adapter)
    found = take(model, adapter, {2: 5, 1: 8})  # another order than that of places
    agree(found[2], expected[PICKED, 5])
    agree(found[1], expected[LARGE, 8])
    assert adapter.state_dict(0) == {}


def test_nothing_of_the_others_changes_to_the_bit(model: BaseModel, gathers: bool) -> None:
    adapter = attach(model, [SMALL, OTHER, LARGE], gathers)
    take(model, adapter, {0: 0, 1: 0, 2: 0})
    before = {place: adapter.named_parameters_of(place) for place in (0, 2)}
    values = {place: adapter.state_dict(place) for place in (0, 2)}
    grads = {place: gradients(adapter, place) for place in (0, 2)}
    adapter.set_step(9, place=0)
    for trial in (PICKED, None, LARGE, OTHER, values[2]):
        adapter.replace(1, trial)
        for place in (0, 2):
            leaves = adapter.named_parameters_of(place)
            assert list(leaves) == list(before[place])
            assert all(leaf is before[place][name] for name, leaf in leaves.items())
            now = adapter.state_dict(place)
            assert all(torch.equal(value, now[name]) for name, value in values[place].items())
            for name, grad in gradients(adapter, place).items():
                old = grads[place][name]
                assert (grad is None and old is None) or (grad is not None and torch.equal(grad, old))
    assert adapter.turn.micro_steps == [9, 0, 0]
    # Tensors that stand at a place are the trial that they came from.
    now = adapter.state_dict(1)
    assert list(now) == list(values[2]) and all(torch.equal(now[name], values[2][name]) for name in now)


@torch.no_grad()
def test_an_emptied_place_gives_the_base_bit_for_bit(tiny_sd1_path: Path) -> None:
    model = load(tiny_sd1_path)
    adapter = LoraAdapter.attach(model, [SMALL, SMALL])
    stir(adapter, 0, SMALL)
    stir(adapter, 1, SMALL)
    module = next(iter(adapter.layers.values())).base
    assert isinstance(module, nn.Linear)
    x = torch.randn(4, 3, module.in_features, generator=torch.Generator().manual_seed(0))
    with adapter.disabled():
        base = module(x)
    assert not torch.equal(module(x)[2:], base[2:])
    adapter.replace(1, None)
    assert torch.equal(module(x)[2:], base[2:]) and not torch.equal(module(x)[:2], base[:2])
    with adapter.taking((1,)):
        assert torch.equal(module(x), base)
    adapter.detach()
    assert torch.equal(module(x), base)


def test_what_cannot_stand_there_is_refused_before_anything_changes(model: BaseModel, gathers: bool) -> None:
    adapter = attach(model, [SMALL, OTHER], gathers)
    before = adapter.state_dict(1)
    layers = list(adapter.layers)
    with pytest.raises(LoraError, match="adapters of one kind"):
        adapter.replace(1, TrialSpec(rank=2, kind="loha"))
    nowhere = TrialSpec(rank=2, choice=LayerChoice(exclude=("*",)))
    with pytest.raises(LoraError, match="at least one module to adapt"):
        adapter.replace(1, nowhere)
    with adapter.merged(0), pytest.raises(LoraError, match="none merged"):
        adapter.replace(1, SMALL)
    for places in ((), (0, 0), (2,), (-1,)):
        with pytest.raises(ValueError, match="each once"), adapter.taking(places):
            pass
    after = adapter.state_dict(1)
    assert list(adapter.layers) == layers and all(torch.equal(before[name], after[name]) for name in before)
    adapter.replace(0, None)
    adapter.replace(1, TrialSpec(rank=2, kind="loha"))  # alone it may be of another kind
    assert {layer.kind.row for layer in adapter.layers.values() if layer.slots} == {"loha"}
    stir(adapter, 1, None)
    (found,) = take(model, adapter, {1: 2}).values()  # of a kind that has no stacks
    assert adapter.pool is None and any(grad is not None and grad.any() for grad in found[1].values())


MODULES = {
    "linear": (lambda: nn.Linear(12, 10), (3, 5, 12)),
    "conv3x3": (lambda: nn.Conv2d(6, 10, 3, stride=2, padding=1), (3, 6, 8, 8)),
}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("kind", kinds())
def test_every_kind_takes_other_trials_and_some_places(kind: str, module: str) -> None:
    make, shape = MODULES[module]
    dropped = {"module_dropout": 0.2} if kind != "lora" else {"dropout": 0.3, "rank_dropout": 0.2}
    trials = [
        LayerTrial(rank=rank, alpha=1.5, seed=seed, **dropped) for seed, rank in enumerate((2, 1, 2, 2))
    ]

    def made(of: Sequence[LayerTrial | None]) -> LoraLayer:
        torch.manual_seed(11)
        return LoraLayer("key", make().double().requires_grad_(False), of, kind).double().train()

    def stirred(layer: LoraLayer, place: int, trial: LayerTrial) -> None:
        for leaf in layer.weights(place) or ():
            generator = torch.Generator().manual_seed(trial.seed + leaf.ndim)
            leaf.data.uniform_(-0.3, 0.3, generator=generator)

    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    layer = made(trials[:3])
    like = torch.zeros((), dtype=torch.float64)
    layer.replace(1, trials[3], kind, like)
    layer.replace(0, None, kind, like)
    for place, trial in ((1, trials[3]), (2, trials[2])):
        stirred(layer, place, trial)
        layer.turn.set_step(6 + place, place=place)
    layer.turn.taken = (2, 1)
    out = layer(x.flatten(0, 1))
    out.square().sum().backward()
    for row, (place, trial) in enumerate(((2, trials[2]), (1, trials[3]))):
        own = made([trial])
        stirred(own, 0, trial)
        own.micro_step = 6 + place
        expected = own(x[row])
        if expected.requires_grad:
            expected.square().sum().backward()
        torch.testing.assert_close(out[3 * row : 3 * row + 3], expected, rtol=1e-10, atol=1e-12)
        for leaf, other in zip(layer.weights(place) or (), own.weights(0) or (), strict=True):
            grads = [torch.zeros_like(leaf) if each.grad is None else each.grad for each in (leaf, other)]
            torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-10)

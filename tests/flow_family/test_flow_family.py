"""A family of its own kind goes the whole way by one folder and one line: nothing else knows that it exists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import maquette
from maquette import families
from maquette.drawing.draw import draw
from maquette.drawing.request import DrawRequest
from maquette.errors import ConfigError
from maquette.footprint.workload import workload
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.lora.files import read_lora, save_lora
from maquette.lora.reading import read_lora_facts
from maquette.project.settings import ObjectiveSettings
from maquette.training.noise import draw_noise
from maquette.training.randomness import generator_at
from tests.flow_family import SPEC, FlowFamily, write_flow


@pytest.fixture(autouse=True)
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    families.register(FlowFamily())
    yield
    del families.FAMILIES[SPEC.name]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_flow(tmp_path / "flow.safetensors")


@pytest.fixture
def run(base: Path, short_run: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Settings of a run of seconds on this base; keywords override."""

    def settings(**changes: Any) -> dict[str, Any]:
        own = {"base": str(base), "resolution": 32, "bucket_step_px": 8, "learning_rate": 1e-2, "steps": 8}
        return short_run(**{**own, **changes})

    return settings


def test_it_is_known_by_its_tensors(base: Path) -> None:
    info = families.inspect(base)
    assert (info.family, info.prediction, info.vae_factor, info.latent_channels) == (
        "tiny_flow",
        "flow",
        4,
        48,
    )
    assert families.tokenizer(base).encode("ab") == [98, 99]


def test_it_trains_and_its_lora_comes_back(base: Path, run: Callable[..., dict[str, Any]]) -> None:
    result = maquette.train(**run(sample_prompts=("{trigger}, standing",), sample_steps=3))
    assert result.final_loss > 0 and len(list((result.run / "samples").glob("*.png"))) >= 1
    model = families.load(base)
    saved = read_lora(result.lora, model.lora_targets())
    assert saved.facts.family == SPEC.name and saved.metadata["ss_base_model_version"] == "tiny_flow_v1"
    adapter = LoraAdapter.attach(model, [saved.state])
    written = load_file(result.lora)
    assert all(torch.equal(value, written[name]) for name, value in adapter.state_dict(0).items())
    ups = [value for name, value in written.items() if name.endswith("lora_up.weight")]
    assert any(value.any() for value in ups)
    assert {name.split("_")[1] for name in written} == {"bytes", "flow"}


def test_its_loras_go_through_the_toolbox(base: Path, tmp_path: Path) -> None:
    model = families.load(base)
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=2, alpha=2.0, seed=1)])
    state = {
        name: value if name.endswith(".alpha") else value + 0.1
        for name, value in adapter.state_dict(0).items()
    }
    adapter.detach()
    lora = save_lora(tmp_path / "lora.safetensors", state, {}, dtype="fp32").path
    found = maquette.lora_inspect(lora)
    assert found.facts.family == SPEC.name and len(found.blocks) > 1 and "text_encoder" in found.parts
    tuned = maquette.lora_merge(lora, base=base, output=tmp_path / "tuned.safetensors")
    back = maquette.lora_extract(tuned.path, base=base, rank=2, dtype="fp32").written
    assert maquette.lora_compare(lora, back.path).whole.cosine == pytest.approx(1.0, abs=1e-6)


def test_blocks_computed_again_train_alike(run: Callable[..., dict[str, Any]]) -> None:
    plain = maquette.train(**run(dropout=0.0))
    again = maquette.train(**run(dropout=0.0, name="again", gradient_checkpointing=True))
    assert again.final_loss == pytest.approx(plain.final_loss, rel=1e-6)


def test_equal_settings_give_equal_weights(run: Callable[..., dict[str, Any]]) -> None:
    first, second = (load_file(maquette.train(**run(name=name)).lora) for name in ("first", "second"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_draws_with_its_own_sampler(base: Path) -> None:
    model = families.load(base)
    request = DrawRequest(prompt="zkw", width_px=32, height_px=24, steps=4, guidance=2.0)
    first, second = (draw(model, [request])[0] for _ in range(2))
    assert first.size == (32, 24) and first.tobytes() == second.tobytes()
    loud = draw(model, [request], options={"loudness": 3.0})[0]
    assert loud.tobytes() != first.tobytes()
    with pytest.raises(ConfigError, match="flow_euler"):
        draw(model, [DrawRequest(prompt="zkw", width_px=32, height_px=32, sampler="flow_oiler")])


def test_it_is_planned_and_checked(base: Path, run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    plan = maquette.plan(**run())
    assert plan.memory.peak_bytes > 0 and plan.memory.parts["activations"] > 0
    result = maquette.train(**run())
    for path in (base, result.lora):
        findings = maquette.check(path).findings
        assert not [finding for finding in findings if finding.severity == "error"], findings
    facts = read_lora_facts(result.lora)
    assert facts.family == SPEC.name and not facts.strangers and not facts.misfits
    assert {module.is_text for module in facts.modules} == {True, False}


def test_what_is_traced_is_what_torch_keeps(base: Path) -> None:
    model = families.load(base)
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=4)])
    modules = (model.denoiser, *model.text_encoders, adapter.module)
    own = {p.untyped_storage().data_ptr() for module in modules for p in module.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        text = model.encode_text(model.tokenize(["a fox"]))
        model.predict(torch.randn(1, 48, 24, 16), torch.tensor([0.5]), text)
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    counted = workload(FlowFamily().layout(None), (64, 96), TrialSpec(rank=4), text_tokens=48)
    assert 4 * sum(counted.kept_values(checkpointing=False)) == pytest.approx(real, rel=0.02)


def test_its_times_are_its_own(base: Path) -> None:
    objective = families.load(base).objective
    drawn = draw_noise(torch.zeros(64, 48, 8, 8), objective, ObjectiveSettings(), generator_at(1, "noise", 0))
    assert drawn.timesteps_B.is_floating_point() and 0 < drawn.timesteps_B.min() < drawn.timesteps_B.max() < 1


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"clip_skip": 2}, "clip_skip"),
        ({"min_snr_gamma": 5.0}, "min_snr_gamma"),
        ({"family": {"loudness": 9.0}}, "at most 4"),
        ({"family": {"loudnes": 2.0}}, "Did you mean 'loudness'"),
    ],
)
def test_settings_that_it_does_not_have_are_refused(
    given: dict[str, Any], named: str, run: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(ConfigError, match=named):
        maquette.train(**run(**given))


def test_its_own_settings_reach_text_and_loss(run: Callable[..., dict[str, Any]]) -> None:
    plain = maquette.train(**run(name="plain"))
    loud = maquette.train(**run(name="loud", family={"loudness": 3.0}))
    late = maquette.train(**run(name="late", family={"late_weight": 2.0}))
    assert len({plain.final_loss, loud.final_loss, late.final_loss}) == 3

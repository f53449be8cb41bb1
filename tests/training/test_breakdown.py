"""Laws of a step whose numbers break: no weight changes, and what broke is named. Each cause is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import maquette
from maquette import families
from maquette.devices import place
from maquette.errors import TrainingError
from maquette.families.protocol import BaseModel, PictureSize
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.runs.folder import RunFolder
from maquette.training.batches import MicroBatch
from maquette.training.config import TrialSettings
from maquette.training.engine import Engine
from maquette.training.optimize import TrialOptimizer
from maquette.training.state import latest_state


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> BaseModel:
    return families.load(tiny_base)


@pytest.fixture
def engine(model: BaseModel) -> Iterator[Engine]:
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=2, alpha=2, seed=1)])
    trial = TrialSettings(rank=2, alpha=2, denoiser_lr=1e-3, text_encoder_lr=1e-3, seed=1)
    yield Engine(model, adapter, [trial], place("cpu", "no"), total_steps=9)
    adapter.detach()


def _batch() -> MicroBatch:
    generator = torch.Generator().manual_seed(5)
    return MicroBatch(
        clean_BCHW=torch.randn(2, 4, 8, 8, generator=generator),
        captions=("zkw, standing", "zkw, sitting"),
        sizes=(PictureSize((64, 64), (0, 0), (64, 64)),) * 2,
        regularization_B=torch.tensor([False, False]),
        names=("set/one.png", "set/two.png"),
    )


def _fails(engine: Engine, batch: MicroBatch, words: str) -> str:
    before = [parameter.detach().clone() for parameter in engine.adapter.parameters()]
    with pytest.raises(TrainingError, match=words) as error:
        engine.step(6, [(6, lambda: batch)], 1)
    for old, new in zip(before, engine.adapter.parameters(), strict=True):
        assert torch.equal(old.nan_to_num(7.0), new.nan_to_num(7.0))
    (problem,) = error.value.problems
    assert problem.where == "step 7" and "kept" in problem.remedy
    return str(problem)


def test_a_latent_is_named_with_its_picture_and_noise_level(engine: Engine) -> None:
    batch = _batch()
    batch.clean_BCHW[1, 0, 3, 3] = float("nan")
    said = _fails(engine, batch, "the latent of two.png")
    assert "picture two.png at timestep" in said and "--precision no" in said


def test_a_weight_of_the_adapter_is_named(engine: Engine) -> None:
    name, parameter = next(
        (name, each) for name, each in engine.adapter.named_parameters_of(0).items() if "unet" in name
    )
    with torch.no_grad():
        parameter[0, 0] = float("nan")
    said = _fails(engine, _batch(), f"the weight {name}")
    assert "lower learning rate" in said


def test_a_weight_of_the_base_is_named(engine: Engine, model: BaseModel) -> None:
    name, parameter = next(iter(model.denoiser.named_parameters()))
    kept = parameter.detach().clone()
    with torch.no_grad():
        parameter.view(-1)[0] = float("nan")
    try:
        assert "fetch it again" in _fails(engine, _batch(), f"the base's weight denoiser.{name}")
    finally:
        with torch.no_grad():
            parameter.copy_(kept)


def test_a_layer_that_overflows_is_named(engine: Engine, model: BaseModel) -> None:
    name, layer = next(
        (name, each) for name, each in model.denoiser.named_modules() if name.endswith("conv_in")
    )
    kept = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.fill_(3e38)
    try:
        _fails(engine, _batch(), f"no finite number is denoiser {name}")
    finally:
        with torch.no_grad():
            layer.weight.copy_(kept)


def test_a_gradient_is_named_before_the_optimizer_uses_it(engine: Engine) -> None:
    name, parameter = next(iter(engine.adapter.named_parameters_of(0).items()))
    handle = parameter.register_hook(lambda gradient: gradient * float("inf"))
    said = _fails(engine, _batch(), f"first {name}")
    handle.remove()
    assert engine.steps_done == 6 and "one.png, two.png" in said


def test_an_update_that_overflows_is_found_before_anything_is_saved(
    short_run: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step's update breaks the weights: no loss would ever tell."""
    update = TrialOptimizer.update

    def breaks_at_the_end(optimizer: TrialOptimizer, step: int, *more: object) -> float:
        norm = update(optimizer, step, *more)  # type: ignore[arg-type]
        if step == 3:
            with torch.no_grad():
                optimizer.parameters[5].view(-1)[0] = float("inf")
        return norm

    settings = short_run(steps=4, save_every_steps=2, state_every_steps=2)
    monkeypatch.setattr(TrialOptimizer, "update", breaks_at_the_end)
    with pytest.raises(TrainingError, match=r"the update left .* no finite numbers"):
        maquette.train(**settings)
    folder = RunFolder(settings["output"] / "zkw")
    assert [path.name for path in folder.checkpoints.iterdir()] == ["zkw-step00000002.safetensors"]
    kept = latest_state(folder.state)
    assert kept is not None and kept.step == 2

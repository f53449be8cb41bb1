"""Agreement with the reference trainer: losses, gradients, one optimizer step, whole trajectories.

Tolerances. Loss, prediction and gradients come from the same torch operations in the same order. Losses are held to 1e-6
relative, their norms to 1e-5; gradients, entry by entry, and a step of the optimizer to what float32 can do
(tests/rounding.py). After ten steps AdamW has divided gradients by their own size, so an entry whose gradient is all rounding
error can move by a fraction of the learning rate of 1e-4: every final weight is held to a fiftieth of it, 2e-6. Kernels
for SSE4.1, AVX2 and AVX-512 come to at most 7e-7.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maquette import families
from maquette.devices import place
from maquette.families.protocol import PictureSize, Tokens
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.project.settings import ObjectiveSettings
from maquette.training.batches import MicroBatch
from maquette.training.config import TrialSettings
from maquette.training.engine import Engine
from maquette.training.objective import Rows, per_row_losses
from maquette.training.optimize import TrialOptimizer
from maquette.training.rates import rate_groups
from tests.reference import (
    ReferenceNoise,
    formula_lora,
    golden_json,
    golden_tensors,
    reference_generator,
    trajectory_inputs,
)
from tests.rounding import HALF_UNIT, ROUNDINGS, Exact, exact

LOSS_TOLERANCE = 1e-6
GRADIENT_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 2e-6
# A normal number is a radius of up to 5.8 times the cosine of an angle of up to 2 pi (Box and Muller). Kernels differ in the last
# bit of logarithm, root and cosine, and the angle's own half unit is 2.4e-7.
NOISE_TOLERANCE = 5.8 * (2.4e-7 + 3 * 2**-24)
FIXED = golden_json("fixed_tiny.json")
SIZES = [PictureSize((128, 128), (0, 0), (128, 128))] * 2


@pytest.fixture
def model(tiny_base: Path):
    return families.load(tiny_base, dtype=torch.float32)


def _fixed_adapter(model, multiplier: float = 1.0) -> LoraAdapter:
    """Return the golden LoRA (rank 4, alpha 2) standing in `model`."""
    spec = TrialSpec(rank=FIXED["dim"], alpha=FIXED["alpha"])
    adapter = LoraAdapter.attach(model, [spec]).to(dtype=model.dtype)
    shapes = {key: tuple(value.shape) for key, value in adapter.state_dict(0).items()}
    adapter.load_state(0, formula_lora(shapes, FIXED["alpha"]))
    adapter.set_multiplier(multiplier)
    return adapter


def _fixed_losses(model, clip_skip: int, trial: TrialSettings) -> torch.Tensor:
    inputs = golden_tensors("fixed_inputs.safetensors")
    ids = inputs["input_ids"].reshape(2, 77)
    conditioning = model.encode_text(Tokens((ids,), (0, 0)), clip_skip=clip_skip)
    rows = Rows(
        clean_RCHW=inputs["latents"],
        noise_RCHW=inputs["noise"],
        timesteps_R=inputs["timesteps"],
        conditioning=conditioning,
        sizes=SIZES,
        regularization_R=torch.tensor([False, trial.objective.prior_loss_weight != 1.0]),
    )
    return per_row_losses(model, [trial], rows)


VARIANTS = {
    "base": (2, 1.0, TrialSettings()),
    "clip_skip_none": (1, 1.0, TrialSettings()),
    "snr5": (2, 1.0, TrialSettings(objective=ObjectiveSettings(min_snr_gamma=5.0))),
    "prior0.5_on_second": (2, 1.0, TrialSettings(objective=ObjectiveSettings(prior_loss_weight=0.5))),
    "multiplier0": (2, 0.0, TrialSettings()),
    "step": (2, 1.0, TrialSettings()),
}


@pytest.mark.parametrize("variant", FIXED["variants"])
def test_losses_and_gradients_of_the_fixed_batch(model, variant: str) -> None:
    clip_skip, multiplier, trial = VARIANTS[variant]
    expected = FIXED["variants"][variant]
    adapter = _fixed_adapter(model, multiplier)
    losses = _fixed_losses(model, clip_skip, trial)
    losses.mean().backward()

    assert losses.tolist() == pytest.approx(expected["per_sample_weighted"], rel=LOSS_TOLERANCE)
    assert losses.mean().item() == pytest.approx(expected["loss"], rel=LOSS_TOLERANCE)
    gradients = _gradients(adapter)
    assert {key for key, value in gradients.items() if value is None} == set(expected["no_grad_params"])
    for key, norm in expected["grad_norms"].items():
        gradient = gradients[key]
        found = 0.0 if gradient is None else gradient.norm().item()
        assert found == pytest.approx(norm, rel=GRADIENT_TOLERANCE, abs=1e-9), key
    total = torch.stack([value.norm() for value in gradients.values() if value is not None]).norm().item()
    assert total == pytest.approx(expected["total_grad_norm"], rel=GRADIENT_TOLERANCE, abs=1e-9)


def test_every_gradient_of_the_fixed_batch(model, tiny_base: Path) -> None:
    """Entry by entry, ours and the reference's are both as near to the exact gradients as float32 comes."""
    adapter = _fixed_adapter(model)
    _fixed_losses(model, 2, TrialSettings()).mean().backward()
    golden = golden_tensors("fixed_tiny.safetensors")
    stored = {key.removeprefix("grad."): value for key, value in golden.items() if key.startswith("grad.")}
    assert stored, sorted({key.split(".")[0] for key in golden})
    ours, bounds = _gradients(adapter), _exact_gradients(families.load(tiny_base, dtype=torch.float64))
    for key, expected in stored.items():
        assert bounds[key].holds(ours[key]) and bounds[key].holds(expected), key


def _exact_gradients(twin) -> dict[str, Exact]:
    adapter = _fixed_adapter(twin)
    inputs = golden_tensors("fixed_inputs.safetensors")
    noisy, noise = golden_tensors("fixed_tiny.safetensors")["noisy"].double(), inputs["noise"].double()

    def run() -> dict[str, torch.Tensor]:
        for leaf in adapter.parameters():
            leaf.grad = None
        text = twin.encode_text(Tokens((inputs["input_ids"].reshape(2, 77),), (0, 0)), clip_skip=2)
        (twin.predict(noisy, inputs["timesteps"], text, SIZES) - noise).square().mean().backward()
        return {key: value for key, value in _gradients(adapter).items() if value is not None}

    return exact(run, [twin.denoiser, *twin.text_encoders])


def test_one_optimizer_step_moves_the_weights_as_the_reference_s(model, tiny_base: Path) -> None:
    """AdamW's first step follows from the gradient alone, and rises with it: the least and the greatest gradient that
    float32 may come to enclose ours and the reference's weights."""
    adapter = _fixed_adapter(model)
    start = adapter.state_dict(0)
    trial = TrialSettings(denoiser_lr=1e-4, text_encoder_lr=5e-5, lr_scheduler="constant", max_grad_norm=1.0)
    optimizer = TrialOptimizer(trial, rate_groups(adapter, 0, trial), 1)
    _fixed_losses(model, 2, trial).mean().backward()
    norm = optimizer.update(0)
    assert norm == pytest.approx(FIXED["variants"]["step"]["clip_total_norm"], rel=GRADIENT_TOLERANCE)
    golden = golden_tensors("fixed_tiny.safetensors")
    state, bounds = adapter.state_dict(0), _exact_gradients(families.load(tiny_base, dtype=torch.float64))
    prefix, widths = "after_step.", []
    for key, expected in golden.items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            rate = 5e-5 if name.startswith("lora_te") else 1e-4
            low, high = _first_step(start[name].double(), bounds.get(name), rate, min(1.0, 1.0 / norm))
            for found in (state[name], expected.reshape(low.shape)):
                assert ((low <= found.double()) & (found.double() <= high)).all(), name
            widths.append((high - low).flatten() / rate)
    assert torch.cat(widths).median() < 0.01, "an enclosure this wide would prove nothing"


def _first_step(
    weight: torch.Tensor, gradient: Exact | None, rate: float, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the least and the greatest weight after a step of AdamW: decay, then g / (|g| + epsilon) of the rate.

    The decay's factor, its product and the sum round the weight, a dozen operations round the step.
    """
    if gradient is None:
        return weight, weight
    room = 4 * HALF_UNIT * weight.abs() + 12 * HALF_UNIT * rate
    error = ROUNDINGS * gradient.one_rounding
    ends = []
    for value in (gradient.value + error, gradient.value - error):
        clipped = value.reshape(weight.shape) * clip
        ends.append(weight * (1 - rate * 0.01) - rate * clipped / (clipped.abs() + 1e-8))
    return ends[0] - room, ends[1] + room


TRAJECTORIES = {
    "g10": (TrialSettings(), 1),
    "g10_snr": (TrialSettings(objective=ObjectiveSettings(min_snr_gamma=5.0)), 1),
    "g10_noff": (TrialSettings(objective=ObjectiveSettings(noise_offset=0.05)), 1),
    "g10_acc2": (TrialSettings(lr_scheduler="cosine", warmup_steps=2), 2),
}


def test_the_reference_s_noise_is_found_in_its_generator() -> None:
    generator = reference_generator()
    for inputs in trajectory_inputs():
        noise = torch.randn(inputs["noise"].shape, generator=generator)
        assert (noise - inputs["noise"]).abs().max() <= NOISE_TOLERANCE
        assert torch.equal(torch.randint(0, 1000, (1,), generator=generator), inputs["timesteps"])


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_ten_steps_go_the_reference_s_way(model, name: str) -> None:
    trial, accumulation = TRAJECTORIES[name]
    expected = golden_json("tiny10/trajectories.json")[name]["steps"]
    engine = _engine(model, trial, total_steps=len(expected) // accumulation)
    batches = [
        _batch(step["captions"], inputs) for step, inputs in zip(expected, trajectory_inputs(), strict=True)
    ]
    found = []
    for step in range(len(expected) // accumulation):
        indices = range(step * accumulation, (step + 1) * accumulation)
        losses_before = len(found)
        result = engine.step(
            step, [(index, lambda index=index: batches[index]) for index in indices], accumulation
        )
        found += [result.losses[0]]
        group = [expected[index] for index in indices]
        assert len(found) == losses_before + 1
        assert result.losses[0] == pytest.approx(
            sum(entry["loss"] for entry in group) / accumulation, rel=LOSS_TOLERANCE
        )
        assert list(result.learning_rates[0]) == pytest.approx(group[-1]["lr"], rel=1e-12)
        assert result.gradient_norms[0] == pytest.approx(
            group[-1]["grad_norm_preclip"], rel=GRADIENT_TOLERANCE
        )
    if name == "g10":
        final = golden_tensors("tiny10/lora_final.safetensors")
        state = engine.adapter.state_dict(0)
        assert set(final) == set(state)
        for key, value in final.items():
            assert (state[key].reshape(value.shape) - value).abs().max() <= WEIGHT_TOLERANCE, key


def test_token_ids_of_the_trajectory_are_our_tokenizer_s(model) -> None:
    steps = golden_json("tiny10/trajectories.json")["g10"]["steps"]
    for step, inputs in zip(steps, trajectory_inputs(), strict=True):
        assert torch.equal(model.tokenize(step["captions"]).ids[0], inputs["input_ids"].reshape(1, 77))


def _engine(model, trial: TrialSettings, total_steps: int) -> Engine:
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=4, alpha=2)])
    adapter.load_state(0, golden_tensors("tiny10/lora_init.safetensors"))
    return Engine(
        model,
        adapter,
        [trial],
        place("cpu", "no"),
        total_steps=total_steps,
        options={"clip_skip": 2},
        noise=ReferenceNoise(),
    )


def _batch(captions: list[str], inputs: dict[str, torch.Tensor]) -> MicroBatch:
    return MicroBatch(
        clean_BCHW=inputs["latents"],
        captions=tuple(captions),
        sizes=(SIZES[0],),
        regularization_B=torch.tensor([False]),
        names=("golden",),
    )


def _gradients(adapter: LoraAdapter) -> dict[str, torch.Tensor | None]:
    gradients = {}
    for key, layer in adapter.layers.items():
        down, up = layer.weights(0)
        gradients[f"{key}.lora_down.weight"] = down.grad
        gradients[f"{key}.lora_up.weight"] = up.grad
    return gradients

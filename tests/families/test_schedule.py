"""The noise schedule: diffusers' to the last bit in one process, the reference trainer's stored numbers within rounding.

Two operations differ between processors in the last bit: `torch.linspace` (its multiplication and addition are fused, or not)
and square roots (MKL promises one unit in the last place, not a half). What follows from that is not estimated but enclosed: all
operations after the first are monotone, so the tables from roots one unit up and one unit down hold every processor's.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from safetensors.torch import load_file
from torch import Tensor

from maquette.families.common.objective import BETA_END, BETA_START, NUM_TIMESTEPS, DiscreteDiffusion
from maquette.families.common.samplers import SAMPLER_NAMES, make_sampler
from tests.conftest import GOLDEN

UNIT = 2.0**-23
"""One unit in float32's last place, relative to the number, at most."""
STORED = json.loads((GOLDEN / "schedule.json").read_text())
EVERY = torch.arange(NUM_TIMESTEPS)


def scheduler(**options: Any) -> Any:
    """Return diffusers' own schedule of Stable Diffusion."""
    return DDPMScheduler(
        NUM_TIMESTEPS, beta_start=BETA_START, beta_end=BETA_END, beta_schedule="scaled_linear", **options
    )


def enclosing() -> tuple[Tensor, Tensor]:
    """Return the least and the greatest alphas_cumprod that a processor may come to, in float64."""
    roots = torch.linspace(BETA_START**0.5, BETA_END**0.5, NUM_TIMESTEPS, dtype=torch.float32)
    away = torch.tensor([torch.inf, -torch.inf])
    low, high = (torch.cumprod(1.0 - torch.nextafter(roots, way) ** 2, dim=0).double() for way in away)
    return low, high


def snr_of(abar: Tensor) -> Tensor:
    return abar / (1 - abar)


def snr_error() -> Tensor:
    """Return how far two processors' SNR tables may be apart, relatively, at each timestep.

    The tables enclose it; two square roots of one unit each, squared, and a division's half add 2 · (1 + 1 + ½) units on
    either side.
    """
    low, high = (snr_of(abar) for abar in enclosing())
    return (high - low) / low + 10 * UNIT


def stored(name: str) -> Tensor:
    return torch.tensor(STORED[name], dtype=torch.float64)


def assert_within(found: Tensor, expected: Tensor, relative: Tensor | float) -> None:
    apart = (found.double() - expected).abs()
    assert (apart <= relative * expected.abs()).all(), float((apart / expected).nan_to_num().max())


def test_schedule_and_snr_are_diffusers_to_the_last_bit() -> None:
    ours, theirs = DiscreteDiffusion("epsilon"), scheduler()
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    assert torch.equal(ours.snr, compute_snr(theirs, EVERY))


def test_schedule_and_snr_are_the_reference_trainers() -> None:
    low, high = enclosing()
    assert float(((high - low) / low).max()) < 2e-6, "an enclosure this wide would prove nothing"
    for abar in (DiscreteDiffusion("epsilon").alphas_cumprod, stored("alphas_cumprod")):
        assert ((low <= abar) & (abar <= high)).all()
    assert_within(DiscreteDiffusion("epsilon").snr, stored("all_snr"), snr_error())


@pytest.mark.parametrize(
    ("name", "prediction", "options"),
    [
        ("min_snr_gamma5_eps", "epsilon", {"min_snr_gamma": 5}),
        ("min_snr_gamma1_eps", "epsilon", {"min_snr_gamma": 1}),
        ("min_snr_gamma5_v", "v", {"min_snr_gamma": 5}),
        ("debiased_eps", "epsilon", {"debiased_estimation_loss": True}),
    ],
)
def test_loss_weights_are_the_reference_trainers(name: str, prediction: Any, options: dict[str, Any]) -> None:
    """No weight changes more, relatively, than the SNR that it is made of; three more operations round it."""
    timesteps = torch.tensor(STORED["timesteps"])
    ours = DiscreteDiffusion(prediction).loss_weights(timesteps, **options)
    assert_within(ours, stored(name), snr_error()[timesteps] + 3 * UNIT)


def test_zero_terminal_snr_agrees_and_its_table_is_the_one_after_the_fix() -> None:
    objective = DiscreteDiffusion("v", zero_terminal_snr=True)
    assert torch.equal(objective.alphas_cumprod, scheduler(rescale_betas_zero_snr=True).alphas_cumprod)
    expected = stored("ztsnr_alphas_cumprod_last3")
    assert_within(objective.alphas_cumprod[-3:-1], expected[:-1], _rescaling_error())
    assert float(objective.alphas_cumprod[-1]) == float(expected[-1]) == 0
    # the reference trainer's table still says 0.0047 there: its weights treat pure noise as if it held signal
    assert float(objective.snr[-1]) == 0
    last = objective.alphas_cumprod[-3:]
    torch.testing.assert_close(objective.snr[-3:], last / (1 - last), rtol=5 * UNIT, atol=0)
    end = torch.tensor([999])
    assert float(objective.loss_weights(end, min_snr_gamma=5)) == 0
    assert float(DiscreteDiffusion("epsilon", zero_terminal_snr=True).loss_weights(end, min_snr_gamma=5)) == 1


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_v_prediction_draws_the_picture_that_it_speaks_of(name: str, zero: bool) -> None:
    """A denoiser that knows one picture leads every sampler to it, from pure noise too: no NaN where no signal is left."""
    objective, sampler = (
        DiscreteDiffusion("v", zero_terminal_snr=zero),
        make_sampler(name, "v", zero_terminal_snr=zero),
    )
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(1, 4, 8, 8, generator=generator)
    sampler.set_timesteps(25, device="cpu")
    sample = torch.randn(clean.shape, generator=generator) * sampler.init_noise_sigma
    assert float(sampler.timesteps[0]) == 999
    for timestep in sampler.timesteps:
        abar = objective.alphas_cumprod[int(timestep)]
        signal, spread = abar.sqrt(), (1 - abar).sqrt()
        noise = (sampler.scale_model_input(sample, timestep) - signal * clean) / spread
        velocity = signal * noise - spread * clean
        sample = sampler.step(velocity, timestep, sample, return_dict=False)[0]
    torch.testing.assert_close(sample, clean, atol=0.02, rtol=0)


@pytest.mark.parametrize("zero", [False, True])
def test_weights_between_the_predictions_are_the_reference_trainers(zero: bool) -> None:
    """v's loss scaled like the noise's: snr / (snr + 1), the SNR at most 1000; the reverse is one over it, times a factor."""
    objective = DiscreteDiffusion("v", zero_terminal_snr=zero)
    snr = objective.snr.double().clamp(max=1000)
    scaled = objective.loss_weights(EVERY, scale_v_pred_loss_like_noise_pred=True)
    torch.testing.assert_close(scaled.double(), snr / (snr + 1), rtol=1e-6, atol=0)
    both = objective.loss_weights(EVERY, scale_v_pred_loss_like_noise_pred=True, min_snr_gamma=5.0)
    alone = objective.loss_weights(EVERY, min_snr_gamma=5.0)
    torch.testing.assert_close(both, scaled * alone, rtol=1e-6, atol=0)
    if not zero:
        noise = DiscreteDiffusion("epsilon").loss_weights(EVERY, v_pred_like_loss=0.3)
        torch.testing.assert_close(noise.double(), 1 + 0.3 * (snr + 1) / snr, rtol=1e-6, atol=0)


def test_rivals_differ_in_the_prediction_alone() -> None:
    objective = DiscreteDiffusion("epsilon", zero_terminal_snr=True)
    [(name, rival)] = objective.rivals().items()
    assert (name, rival.prediction) == ("v", "v")
    assert torch.equal(rival.alphas_cumprod, objective.alphas_cumprod)


def _rescaling_error() -> Tensor:
    """Return how far two processors may be apart at the two timesteps before the last, relatively.

    The last root is subtracted from roots that are hardly larger, which leaves little but their errors; then a thousand
    ratios are multiplied again, with a rounding each.
    """
    low, high = (abar.sqrt() for abar in enclosing())
    gap = low[-3:-1] - low[-1]
    lost = 2 * (high - low + UNIT * high)[-3:-1] / gap
    return 2 * lost + NUM_TIMESTEPS * UNIT


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return load_file(GOLDEN / "fixed_inputs.safetensors")


def test_noisy_latents_are_diffusers_to_the_last_bit(inputs: dict[str, Tensor]) -> None:
    batch = (inputs["latents"], inputs["noise"], inputs["timesteps"])
    assert torch.equal(DiscreteDiffusion("epsilon").add_noise(*batch), scheduler().add_noise(*batch))


def test_noisy_latents_are_the_reference_trainers(inputs: dict[str, Tensor]) -> None:
    """Each side's scales lie in the enclosure; a root's unit, two products and a sum add two units of the summands."""
    ours = DiscreteDiffusion("epsilon").add_noise(inputs["latents"], inputs["noise"], inputs["timesteps"])
    low, high = (abar[inputs["timesteps"]].reshape(-1, 1, 1, 1) for abar in enclosing())
    clean, noise = inputs["latents"].double().abs(), inputs["noise"].double().abs()
    scales = (high.sqrt() - low.sqrt()) * clean + ((1 - low).sqrt() - (1 - high).sqrt()) * noise
    allowed = scales + 2 * 2 * UNIT * (high.sqrt() * clean + (1 - low).sqrt() * noise)
    expected = load_file(GOLDEN / "fixed_tiny.safetensors")["noisy"].double()
    assert allowed.max() < 1e-5, "a tolerance this wide would prove nothing"
    assert ((ours.double() - expected).abs() <= allowed).all()

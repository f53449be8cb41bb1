"""The noise and timestep of each picture: draws that follow from the seed and the micro-step alone.

All draws come from one generator in sd-scripts' order (library/train_util.py, get_noise_noisy_latents_and_timesteps): noise,
its offset, coarser noise, timesteps, perturbation. Legend: B pictures, C channels, H W height and width of latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from maquette.project.settings import ObjectiveSettings
from maquette.training.densities import quantiles

if TYPE_CHECKING:
    from maquette.families.protocol import Objective


@dataclass(frozen=True)
class NoiseDraw:
    """The noise and timesteps of one micro-step, on the CPU: noise_BCHW float32, timesteps_B as the family counts them."""

    noise_BCHW: Tensor
    timesteps_B: Tensor
    perturbation_BCHW: Tensor | None = None
    """Noise that the pictures get and the target knows nothing of; None where there is none."""


def draw_noise(
    clean_BCHW: Tensor,
    objective: Objective,
    wanted: ObjectiveSettings,
    generator: torch.Generator,
    options: Mapping[str, Any] | None = None,
) -> NoiseDraw:
    """Draw what `wanted` says for latents `clean_BCHW`; `options` are the family's own of stage "noise"."""
    clean = clean_BCHW.float().cpu()
    noise = torch.randn(clean.shape, generator=generator)
    if wanted.noise_offset:
        noise = _with_offset(noise, clean, wanted, generator)
    if wanted.multires_noise_iterations:
        noise = _with_coarser(
            noise, wanted.multires_noise_iterations, wanted.multires_noise_discount, generator
        )
    timesteps = _timesteps(len(clean), objective, wanted, generator, options or {})
    perturbation = None
    if wanted.ip_noise_gamma:
        strength = _strength(wanted.ip_noise_gamma, wanted.ip_noise_gamma_random_strength, generator)
        perturbation = strength * torch.randn(clean.shape, generator=generator)
    return NoiseDraw(noise, timesteps, perturbation)


def _timesteps(
    count: int,
    objective: Objective,
    wanted: ObjectiveSettings,
    generator: torch.Generator,
    options: Mapping[str, Any],
) -> Tensor:
    if wanted.timestep_sampling == "family":
        return objective.sample_timesteps(count, generator, **options)
    return objective.timesteps_at(quantiles(wanted, torch.rand(count, generator=generator)), **options)


def _strength(most: float, is_random: bool, generator: torch.Generator) -> float | Tensor:
    return torch.rand(1, generator=generator) * most if is_random else most


def _with_offset(
    noise: Tensor, clean: Tensor, wanted: ObjectiveSettings, generator: torch.Generator
) -> Tensor:
    """Add one normal value per picture and channel; the target includes it (crosslabs.org/blog/diffusion-with-offset-noise)."""
    strength = _strength(wanted.noise_offset, wanted.noise_offset_random_strength, generator)
    if wanted.adaptive_noise_scale is not None:
        means = clean.mean(dim=(2, 3), keepdim=True).abs()
        strength = torch.clamp(strength + wanted.adaptive_noise_scale * means, min=0.0)
    return noise + strength * torch.randn((*clean.shape[:2], 1, 1), generator=generator)


def _with_coarser(noise: Tensor, iterations: int, discount: float, generator: torch.Generator) -> Tensor:
    """Add noise of ever coarser sizes, and bring the whole back to a standard deviation of 1 (pyramid noise).

    The first addition is of the full size; size i is smaller by the i-th power of a number drawn from 2 to 4. It ends early
    where a side comes down to one cell.
    """
    height, width = noise.shape[2:]
    for number in range(iterations):
        ratio = (float(torch.rand(1, generator=generator, dtype=torch.float64)) * 2 + 2) ** number
        size = max(1, int(height / ratio)), max(1, int(width / ratio))
        coarse = torch.randn((*noise.shape[:2], *size), generator=generator)
        noise = (
            noise + functional.interpolate(coarse, size=(height, width), mode="bilinear") * discount**number
        )
        if 1 in size:
            break
    return noise / noise.std()

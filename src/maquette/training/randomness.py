"""Randomness without state: each draw is a pure function of a seed and a position.

A resumed run therefore needs no saved generator, trials trained together draw what they would draw alone, and a CPU
generator gives every device the same noise.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from maquette.families.protocol import Objective


@dataclass(frozen=True)
class NoiseDraw:
    """The noise and timesteps of one micro-step: noise_BCHW float32, timesteps_B int64, both on the CPU."""

    noise_BCHW: torch.Tensor
    timesteps_B: torch.Tensor


def generator_at(seed: int, *position: int | str) -> torch.Generator:
    """Return a CPU generator that depends on `seed` and `position` alone."""
    digest = hashlib.blake2b(repr((seed, *position)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def draw_noise(
    shape: tuple[int, ...], objective: Objective, noise_offset: float, generator: torch.Generator
) -> NoiseDraw:
    """Draw noise, its offset and timesteps for latents of `shape` (B, C, H, W), in sd-scripts' order.

    The offset adds one normal value per picture and channel, times `noise_offset`; the target includes it
    (crosslabs.org/blog/diffusion-with-offset-noise).
    """
    noise = torch.randn(shape, generator=generator)
    if noise_offset:
        noise = noise + noise_offset * torch.randn((shape[0], shape[1], 1, 1), generator=generator)
    return NoiseDraw(noise, objective.sample_timesteps(shape[0], generator))

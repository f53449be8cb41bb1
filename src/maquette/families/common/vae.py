"""Pictures to latents and back, watched for overflow.

Half precision can overflow inside a VAE (SDXL's does in float16) and turn latents into NaN or pictures black.
A result that is not finite is computed again in float32, and a warning says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maquette.errors import ModelError, Problem
from maquette.families.protocol import Randomness


class PrecisionWarning(RuntimeWarning):
    """A computation overflowed and was repeated in float32."""


def encode(vae: Any, pixels_BCHW: Tensor, generator: Randomness) -> Tensor:
    """Return one sample of the posterior, float32 and not yet scaled, of pixels in [-1, 1]."""
    moments = _finite_moments(vae, pixels_BCHW)
    mean, log_variance = torch.chunk(moments.float(), 2, dim=1)
    std = torch.exp(0.5 * torch.clamp(log_variance, -30.0, 20.0))
    return mean + std * _normal_like(mean, generator)


def decode(vae: Any, latent_BCHW: Tensor) -> Tensor:
    """Return float32 pixels_BCHW, clamped to [-1, 1], of latents whose scale is already taken off."""
    pixels = vae.decode(latent_BCHW.to(device_of(vae), dtype_of(vae)), return_dict=False)[0]
    if not bool(torch.isfinite(pixels).all()) and dtype_of(vae) != torch.float32:
        _to_float32(vae, "decoding latents")
        pixels = vae.decode(latent_BCHW.to(device_of(vae), torch.float32), return_dict=False)[0]
    if not bool(torch.isfinite(pixels).all()):
        raise _not_finite("decoding latents", latent_BCHW)
    return pixels.float().clamp(-1, 1)


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of the module's first parameter."""
    return next(module.parameters()).dtype


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the module's first parameter."""
    return next(module.parameters()).device


def _finite_moments(vae: Any, pixels_BCHW: Tensor) -> Tensor:
    """Return the posterior's mean and log-variance, stacked along the channels."""
    moments = vae.encode(pixels_BCHW.to(device_of(vae), dtype_of(vae))).latent_dist.parameters
    if not bool(torch.isfinite(moments).all()) and dtype_of(vae) != torch.float32:
        _to_float32(vae, "encoding pictures")
        moments = vae.encode(pixels_BCHW.to(device_of(vae), torch.float32)).latent_dist.parameters
    if not bool(torch.isfinite(moments).all()):
        raise _not_finite("encoding pictures", pixels_BCHW)
    return moments


def _normal_like(mean: Tensor, generator: Randomness) -> Tensor:
    """Return normal noise, drawn where the generator lives: a seed means the same on every device."""
    if isinstance(generator, Sequence):
        rows = [_normal_like(mean[row : row + 1], own) for row, own in enumerate(generator)]
        return torch.cat(rows)
    where = mean.device if generator is None else generator.device
    return torch.randn(mean.shape, generator=generator, device=where, dtype=mean.dtype).to(mean.device)


def _to_float32(vae: nn.Module, doing: str) -> None:
    name = str(dtype_of(vae)).removeprefix("torch.")
    warnings.warn(
        f"The VAE overflowed in {name} while {doing}; it now runs in float32.",
        PrecisionWarning,
        stacklevel=4,
    )
    vae.to(dtype=torch.float32)


def _not_finite(doing: str, given: Tensor) -> ModelError:
    known_bad = not bool(torch.isfinite(given).all())
    return ModelError(
        Problem(
            "VAE",
            f"{doing} gave NaN or infinity even in float32"
            + (", its input already held some" if known_bad else ""),
            "finite numbers",
            "Lower the learning rate or start from an earlier checkpoint."
            if known_bad
            else "The base model's VAE is damaged: use another copy.",
        )
    )

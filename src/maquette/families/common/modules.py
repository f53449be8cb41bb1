"""The networks: diffusers' U-Net and VAE, transformers' CLIP text models, empty from a configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from maquette.families.common.convolving import convolve_by_products
from maquette.families.common.weights import build_empty

os.environ.setdefault("USE_TF", "0")  # transformers would otherwise probe for other frameworks
os.environ.setdefault("USE_FLAX", "0")


UNUSED_BY_DIFFUSERS = ("_peft_available", "_scipy_available")
"""What it looks for at its import and loads whole: a second of a start, for adapters and sigmas that are not its own here."""


@contextmanager
def _lean() -> Iterator[None]:
    """Within, diffusers is imported without packages that nothing here asks it for."""
    if "diffusers.models" in sys.modules:
        yield
        return
    from diffusers.utils import import_utils

    found = {name: getattr(import_utils, name) for name in UNUSED_BY_DIFFUSERS if hasattr(import_utils, name)}
    for name in found:
        setattr(import_utils, name, False)
    try:
        yield
    finally:
        for name, was in found.items():
            setattr(import_utils, name, was)


def empty_unet(config: Mapping[str, Any]) -> nn.Module:
    """Return a U-Net on the meta device."""
    with _lean():
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    return convolve_by_products(build_empty(lambda: UNet2DConditionModel.from_config(dict(config))))


def empty_vae(config: Mapping[str, Any]) -> nn.Module:
    """Return a VAE on the meta device."""
    with _lean():
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return build_empty(lambda: AutoencoderKL.from_config(dict(config)))


def empty_text_encoder(config: Mapping[str, Any], *, projection: bool) -> nn.Module:
    """Return a CLIP text model on the meta device, with a pooled projection if asked."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    known = {
        key: value for key, value in config.items() if key not in {"architectures", "torch_dtype", "dtype"}
    }
    return build_empty(lambda: kind(CLIPTextConfig(**known)))


def text_root(encoder: nn.Module) -> nn.Module:
    """Return the module that holds embeddings, layers and the final norm: versions differ there."""
    return getattr(encoder, "text_model", encoder)

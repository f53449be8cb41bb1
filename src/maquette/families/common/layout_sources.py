"""A U-Net's, VAE's and CLIP text model's sizes, read from where a model lies: a single file or a diffusers folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maquette.families.common.describe import UNET, VAE
from maquette.families.common.layout import (
    TextLayout,
    UnetLayout,
    VaeLayout,
    read_unet_layout,
    read_vae_layout,
)
from maquette.families.common.source import DiffusersFolder, SingleFile


def file_unet(source: SingleFile) -> UnetLayout:
    """Return the U-Net's sizes of a single file."""
    return read_unet_layout(source.shapes(), UNET, str(source.path))


def file_vae(source: SingleFile) -> VaeLayout:
    """Return the VAE's sizes of a single file."""
    return read_vae_layout(source.shapes(), VAE, str(source.path))


def folder_vae(source: DiffusersFolder) -> VaeLayout:
    """Return the VAE's sizes of a diffusers folder, as its configuration gives them."""
    config = source.configs["vae"]
    return VaeLayout(
        pixel_channels=int(config.get("in_channels", 3)),
        latent_channels=int(config.get("latent_channels", 4)),
        block_channels=tuple(int(width) for width in config.get("block_out_channels", (128, 256, 512, 512))),
        layers_per_block=int(config.get("layers_per_block", 2)),
    )


def folder_unet(source: DiffusersFolder) -> UnetLayout:
    """Return the U-Net's sizes of a diffusers folder, as its configuration gives them."""
    config = source.configs["unet"]
    channels = tuple(int(width) for width in config.get("block_out_channels", (320, 640, 1280, 1280)))
    depths = _per_level(config.get("transformer_layers_per_block", 1), len(channels))
    attended = [str(kind).startswith("CrossAttn") for kind in config.get("down_block_types", ())]
    attended += [False] * (len(channels) - len(attended))
    return UnetLayout(
        in_channels=int(config.get("in_channels", 4)),
        out_channels=int(config.get("out_channels", 4)),
        block_channels=channels,
        layers_per_block=_per_level(config.get("layers_per_block", 2), 1)[0],
        attention_depth=tuple(depth if here else 0 for depth, here in zip(depths, attended, strict=True)),
        mid_depth=depths[-1],
        cross_width=_per_level(config.get("cross_attention_dim", 1280), 1)[0],
        linear_projection=bool(config.get("use_linear_projection", False)),
        time_width=int(config.get("time_embedding_dim") or 4 * channels[0]),
        extra_width=int(config.get("projection_class_embeddings_input_dim") or 0),
    )


def folder_text(config: Mapping[str, Any], *, projection: bool = False) -> TextLayout:
    """Return a text encoder's sizes from its configuration."""
    width = int(config.get("hidden_size", 768))
    return TextLayout(
        vocabulary=int(config.get("vocab_size", 49408)),
        positions=int(config.get("max_position_embeddings", 77)),
        width=width,
        mlp_width=int(config.get("intermediate_size", 4 * width)),
        layers=int(config.get("num_hidden_layers", 12)),
        projection_width=int(config.get("projection_dim", width)) if projection else 0,
    )


def _per_level(value: int | Sequence[int], levels: int) -> list[int]:
    return [int(each) for each in value] if isinstance(value, Sequence) else [int(value)] * levels

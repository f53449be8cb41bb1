"""Sizes of the layers that a LoRA may adapt, worked out from a model's layout: no weights, no torch.

The same layers as `targets.py` finds in a loaded model, for planning: how large a LoRA file becomes, how many values
are trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maquette.families.common.describe import UNET, VAE
from maquette.families.common.layout import (
    ModelLayout,
    TextLayout,
    UnetLayout,
    VaeLayout,
    read_unet_layout,
    read_vae_layout,
)
from maquette.families.common.source import DiffusersFolder, SingleFile
from maquette.families.protocol import LayerKind, LoraPart

TEXT_LAYERS = (
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.q_proj",
    "self_attn.out_proj",
    "mlp.fc1",
    "mlp.fc2",
)
TRANSFORMER_LAYERS = (
    "attn1.to_q",
    "attn1.to_k",
    "attn1.to_v",
    "attn1.to_out.0",
    "ff.net.0.proj",
    "ff.net.2",
    "attn2.to_q",
    "attn2.to_k",
    "attn2.to_v",
    "attn2.to_out.0",
)
"""Adapted layers of a transformer block, in the order in which adapters are made."""


@dataclass(frozen=True)
class LayerSize:
    """One adaptable layer: what it takes and gives per position."""

    part: LoraPart
    kind: LayerKind
    inputs: int
    outputs: int
    default: bool = True
    """False for the layers that only `conv_dim` adds."""

    def parameters(self, rank: int) -> int:
        """Return how many values an adapter of `rank` has here."""
        window = 9 if self.kind == "conv3x3" else 1
        return rank * (self.inputs * window + self.outputs)


def text_layers(layout: TextLayout) -> Iterator[LayerSize]:
    """Yield the attention and feed-forward layers of a CLIP text model."""
    for _ in range(layout.layers):
        yield from (LayerSize("text_encoder", "linear", layout.width, layout.width) for _ in range(4))
        yield LayerSize("text_encoder", "linear", layout.width, layout.mlp_width)
        yield LayerSize("text_encoder", "linear", layout.mlp_width, layout.width)


def unet_layers(layout: UnetLayout) -> Iterator[LayerSize]:
    """Yield the adaptable layers of a U-Net in diffusers' building plan: down, middle, up."""
    channels, depths = layout.block_channels, layout.attention_depth
    skips = [channels[0]]
    entering = channels[0]
    for level, width in enumerate(channels):
        for _ in range(layout.layers_per_block):
            yield from _residual(layout, entering, width)
            yield from _attention(layout, width, depths[level])
            entering = width
            skips.append(width)
        if level < layout.levels - 1:
            yield _conv(width, width)
            skips.append(width)
    yield from _residual(layout, entering, entering)
    yield from _attention(layout, entering, layout.mid_depth)
    yield from _residual(layout, entering, entering)
    for level in reversed(range(layout.levels)):
        width = channels[level]
        for _ in range(layout.layers_per_block + 1):
            yield from _residual(layout, entering + skips.pop(), width)
            yield from _attention(layout, width, depths[level])
            entering = width
        if level > 0:
            yield _conv(width, width)


def _residual(layout: UnetLayout, inputs: int, outputs: int) -> Iterator[LayerSize]:
    yield _conv(inputs, outputs)
    yield LayerSize("denoiser", "linear", layout.time_width, outputs, default=False)
    yield _conv(outputs, outputs)
    if inputs != outputs:
        yield LayerSize("denoiser", "conv1x1", inputs, outputs, default=False)


def _conv(inputs: int, outputs: int) -> LayerSize:
    return LayerSize("denoiser", "conv3x3", inputs, outputs, default=False)


def _attention(layout: UnetLayout, width: int, depth: int) -> Iterator[LayerSize]:
    """Yield one attention's layers: joint-free projections, a gated feed-forward of four times the width."""
    if not depth:
        return
    outer: LayerKind = "linear" if layout.linear_projection else "conv1x1"
    yield LayerSize("denoiser", outer, width, width)
    for _ in range(depth):
        for name in TRANSFORMER_LAYERS:
            yield LayerSize("denoiser", "linear", *_transformer_size(name, width, layout.cross_width))
    yield LayerSize("denoiser", outer, width, width)


def _transformer_size(name: str, width: int, cross_width: int) -> tuple[int, int]:
    """Return (inputs, outputs) of one of TRANSFORMER_LAYERS."""
    if name == "ff.net.0.proj":
        return width, 8 * width
    if name == "ff.net.2":
        return 4 * width, width
    return (cross_width if name in ("attn2.to_k", "attn2.to_v") else width), width


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
        extra_width=0,
    )


def folder_text(config: Mapping[str, Any]) -> TextLayout:
    """Return a text encoder's sizes from its configuration."""
    width = int(config.get("hidden_size", 768))
    return TextLayout(
        vocabulary=int(config.get("vocab_size", 49408)),
        positions=int(config.get("max_position_embeddings", 77)),
        width=width,
        mlp_width=int(config.get("intermediate_size", 4 * width)),
        layers=int(config.get("num_hidden_layers", 12)),
        projection_width=0,
    )


def _per_level(value: int | Sequence[int], levels: int) -> list[int]:
    return [int(each) for each in value] if isinstance(value, Sequence) else [int(value)] * levels


def all_layers(layout: ModelLayout) -> tuple[LayerSize, ...]:
    """Return every adaptable layer of a model."""
    return (*(layer for text in layout.texts for layer in text_layers(text)), *unet_layers(layout.unet))

"""Sizes of U-Net, VAE and text encoders, read from the shapes of an original-layout file.

Wide and narrow models load by the same path: nothing here is a constant of one model. Only what a shape
cannot say (number of heads, activation) comes from the family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maquette.errors import ModelError, Problem

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class UnetLayout:
    """A U-Net's sizes; one entry a level, finest first."""

    in_channels: int
    out_channels: int
    block_channels: tuple[int, ...]
    layers_per_block: int
    attention_depth: tuple[int, ...]
    """Transformer blocks in each attention; 0 where a level has no attention."""
    mid_depth: int
    cross_width: int
    linear_projection: bool
    time_width: int
    extra_width: int
    """Width of the extra conditioning vector (SDXL's pooled text and sizes); 0 without."""

    @property
    def levels(self) -> int:
        return len(self.block_channels)


@dataclass(frozen=True)
class VaeLayout:
    """A VAE's sizes; one entry a level, finest first."""

    pixel_channels: int
    latent_channels: int
    block_channels: tuple[int, ...]
    layers_per_block: int

    @property
    def factor(self) -> int:
        """Pixels per latent cell."""
        return 2 ** (len(self.block_channels) - 1)


@dataclass(frozen=True)
class TextLayout:
    """A CLIP text model's sizes."""

    vocabulary: int
    positions: int
    width: int
    mlp_width: int
    layers: int
    projection_width: int
    """0 without a projection."""

    @property
    def heads(self) -> int:
        """CLIP's heads are 64 wide; a narrow model still has four."""
        return max(4, self.width // 64)


@dataclass(frozen=True)
class ModelLayout:
    """The sizes of a whole base model of U-Net, VAE and CLIP text models. See protocol.Layout."""

    family: str
    unet: UnetLayout
    vae: VaeLayout
    texts: tuple[TextLayout, ...]

    @property
    def latent_channels(self) -> int:
        return self.vae.latent_channels

    @property
    def vae_factor(self) -> int:
        return self.vae.factor

    @property
    def text_encoders(self) -> int:
        return len(self.texts)


class ShapeReader:
    """Shapes of one part of a file; what is missing becomes one ModelError that names the tensor."""

    def __init__(self, shapes: Shapes, prefix: str, where: str) -> None:
        self.shapes, self.prefix, self.where = shapes, prefix, where

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.shapes

    def __getitem__(self, name: str) -> tuple[int, ...]:
        if name not in self:
            raise ModelError(
                Problem(
                    self.where,
                    f"the tensor '{self.prefix}{name}' is missing",
                    "a complete checkpoint with U-Net, text encoder and VAE",
                    "Use the full (not pruned apart) version of the model.",
                )
            )
        return self.shapes[self.prefix + name]

    def count(self, template: str) -> int:
        """Return how many of `template.format(0)`, `.format(1)` … exist without a gap."""
        number = 0
        while template.format(number) in self:
            number += 1
        return number


def read_unet_layout(shapes: Shapes, prefix: str, where: str) -> UnetLayout:
    """Return the sizes of the original-layout U-Net below `prefix`."""
    reader = ShapeReader(shapes, prefix, where)
    channels, depths, layers = _unet_levels(reader)
    extra = reader["label_emb.0.0.weight"][1] if "label_emb.0.0.weight" in reader else 0
    return UnetLayout(
        in_channels=reader["input_blocks.0.0.weight"][1],
        out_channels=reader["out.2.weight"][0],
        block_channels=tuple(channels),
        layers_per_block=layers,
        attention_depth=tuple(depths),
        mid_depth=reader.count("middle_block.1.transformer_blocks.{}.norm1.weight"),
        cross_width=reader["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        linear_projection=len(reader["middle_block.1.proj_in.weight"]) == 2,
        time_width=reader["time_embed.0.weight"][0],
        extra_width=extra,
    )


def _unet_levels(reader: ShapeReader) -> tuple[list[int], list[int], int]:
    """Walk the input blocks: (channels, transformer depth) of each level, and residual layers per level."""
    channels, depths, counts, block, fresh = [], [], [], 1, True
    while True:
        if f"input_blocks.{block}.0.op.weight" in reader:
            fresh = True
        elif f"input_blocks.{block}.0.out_layers.3.weight" in reader:
            if fresh:
                channels.append(reader[f"input_blocks.{block}.0.out_layers.3.weight"][0])
                depths.append(reader.count(f"input_blocks.{block}.1.transformer_blocks.{{}}.norm1.weight"))
                counts.append(0)
                fresh = False
            counts[-1] += 1
        else:
            break
        block += 1
    if not channels or len(set(counts)) != 1:
        raise _irregular(reader, f"residual layers per level: {counts}")
    if any(width % 32 for width in channels):
        raise _irregular(reader, f"channels {channels} do not divide into 32 normalization groups")
    return channels, depths, counts[0]


def _irregular(reader: ShapeReader, found: str) -> ModelError:
    return ModelError(
        Problem(
            reader.where,
            f"its U-Net is built differently ({found})",
            "the Stable Diffusion layout with equally many layers at each level",
            "Use another base model.",
        )
    )


def read_vae_layout(shapes: Shapes, prefix: str, where: str) -> VaeLayout:
    """Return the sizes of the original-layout VAE below `prefix`."""
    reader = ShapeReader(shapes, prefix, where)
    levels = reader.count("encoder.down.{}.block.0.conv1.weight")
    reader["encoder.down.0.block.0.conv1.weight"]
    return VaeLayout(
        pixel_channels=reader["encoder.conv_in.weight"][1],
        latent_channels=reader["decoder.conv_in.weight"][1],
        block_channels=tuple(
            reader[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)
        ),
        layers_per_block=reader.count("encoder.down.0.block.{}.conv1.weight"),
    )


def read_hf_text_layout(shapes: Shapes, prefix: str, where: str) -> TextLayout:
    """Return the sizes of a CLIP text model in transformers' naming below `prefix`."""
    reader = ShapeReader(shapes, prefix, where)
    vocabulary, width = reader["embeddings.token_embedding.weight"]
    return TextLayout(
        vocabulary=vocabulary,
        positions=reader["embeddings.position_embedding.weight"][0],
        width=width,
        mlp_width=reader["encoder.layers.0.mlp.fc1.weight"][0],
        layers=reader.count("encoder.layers.{}.layer_norm1.weight"),
        projection_width=0,
    )


def read_open_clip_layout(shapes: Shapes, prefix: str, where: str, *, projection: bool = True) -> TextLayout:
    """Return the sizes of a CLIP text model in open_clip's naming below `prefix`, with its pooled projection or without."""
    reader = ShapeReader(shapes, prefix, where)
    vocabulary, width = reader["token_embedding.weight"]
    # a bare matrix is [in, out]; some files store a Linear, [out, in]
    projection_width = 0
    if projection:
        linear = "text_projection.weight" in reader
        projection_width = reader["text_projection.weight"][0] if linear else reader["text_projection"][1]
    return TextLayout(
        vocabulary=vocabulary,
        positions=reader["positional_embedding"][0],
        width=width,
        mlp_width=reader["transformer.resblocks.0.mlp.c_fc.weight"][0],
        layers=reader.count("transformer.resblocks.{}.ln_1.weight"),
        projection_width=projection_width,
    )


def unet_config(layout: UnetLayout, heads: tuple[int, ...]) -> dict[str, Any]:
    """Return the diffusers configuration of a U-Net; `heads` per level, finest first."""
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in layout.attention_depth]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(layout.attention_depth)]
    depths = [depth or 1 for depth in layout.attention_depth[:-1]] + [
        layout.attention_depth[-1] or layout.mid_depth
    ]
    config: dict[str, Any] = {
        "in_channels": layout.in_channels,
        "out_channels": layout.out_channels,
        "block_out_channels": layout.block_channels,
        "layers_per_block": layout.layers_per_block,
        "down_block_types": tuple(down),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": tuple(up),
        "cross_attention_dim": layout.cross_width,
        "attention_head_dim": heads,  # diffusers' name for what is a number of heads
        "transformer_layers_per_block": tuple(depths),
        "use_linear_projection": layout.linear_projection,
        "sample_size": 64,
    }
    if layout.time_width != 4 * layout.block_channels[0]:
        config["time_embedding_dim"] = layout.time_width
    return config


def vae_config(layout: VaeLayout, scaling_factor: float) -> dict[str, Any]:
    """Return the diffusers configuration of a VAE."""
    levels = len(layout.block_channels)
    return {
        "in_channels": layout.pixel_channels,
        "out_channels": layout.pixel_channels,
        "latent_channels": layout.latent_channels,
        "block_out_channels": layout.block_channels,
        "layers_per_block": layout.layers_per_block,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "scaling_factor": scaling_factor,
        "sample_size": 512,
    }


def text_config(layout: TextLayout, activation: str, *, end_token: int = 49407) -> dict[str, Any]:
    """Return the transformers configuration of a CLIP text model."""
    return {
        "vocab_size": layout.vocabulary,
        "hidden_size": layout.width,
        "intermediate_size": layout.mlp_width,
        "num_hidden_layers": layout.layers,
        "num_attention_heads": layout.heads,
        "max_position_embeddings": layout.positions,
        "hidden_act": activation,
        "projection_dim": layout.projection_width or layout.width,
        "bos_token_id": end_token - 1,
        "eos_token_id": end_token,
        "pad_token_id": 1,
    }

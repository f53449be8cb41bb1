"""U-Net names: original (CompVis) layout and diffusers', as one table for any number of levels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from maquette.families.common.keymap import Binding, PrefixTable
from maquette.families.common.layout import UnetLayout

ENDS: tuple[tuple[str, str], ...] = (
    ("time_embed.0", "time_embedding.linear_1"),
    ("time_embed.2", "time_embedding.linear_2"),
    ("label_emb.0.0", "add_embedding.linear_1"),
    ("label_emb.0.2", "add_embedding.linear_2"),
    ("input_blocks.0.0", "conv_in"),
    ("out.0", "conv_norm_out"),
    ("out.2", "conv_out"),
)
RESIDUAL: tuple[tuple[str, str], ...] = (
    ("in_layers.0", "norm1"),
    ("in_layers.2", "conv1"),
    ("emb_layers.1", "time_emb_proj"),
    ("out_layers.0", "norm2"),
    ("out_layers.3", "conv2"),
    ("skip_connection", "conv_shortcut"),
)


_FLAT_BLOCK = re.compile(r"(input|middle|output)_blocks?_(\d+)_(.+)$")
_FLAT_RESIDUAL = tuple((f"{old.replace('.', '_')}", new) for old, new in RESIDUAL)


def present_path(path: str) -> str:
    """Return an original layer's name in diffusers' terms, both with underlines for dots; other names as they are.

    `input_blocks_4_1_proj_in` is `down_blocks_1_attentions_0_proj_in`: two residual blocks a level, as all published U-Nets have.
    """
    match = _FLAT_BLOCK.match(path)
    if match is None:
        return path
    side, block, rest = match[1], int(match[2]), match[3]
    if side == "middle":
        kind, layer = ("attentions", 0) if block == 1 else ("resnets", block // 2)
        return f"mid_block_{kind}_{layer}_{_present_layer(rest) if kind == 'resnets' else rest}"
    level, layer = divmod(block - 1, 3) if side == "input" else divmod(block, 3)
    start = f"{'down' if side == 'input' else 'up'}_blocks_{level}"
    place, _, inner = rest.partition("_")
    if inner in ("op", "conv"):
        return f"{start}_{'downsamplers' if inner == 'op' else 'upsamplers'}_0_conv"
    if place == "0":
        return f"{start}_resnets_{layer}_{_present_layer(inner)}"
    return f"{start}_attentions_{layer}_{inner}"


def _present_layer(inner: str) -> str:
    return next((new for old, new in _FLAT_RESIDUAL if inner == old), inner)


def unet_blocks(layout: UnetLayout) -> Iterator[tuple[str, str]]:
    """Yield (original, diffusers) names of each residual block, attention, resampler, in the file's order."""
    block = 1
    for level in range(layout.levels):
        for layer in range(layout.layers_per_block):
            yield f"input_blocks.{block}.0", f"down_blocks.{level}.resnets.{layer}"
            if layout.attention_depth[level]:
                yield f"input_blocks.{block}.1", f"down_blocks.{level}.attentions.{layer}"
            block += 1
        if level < layout.levels - 1:
            yield f"input_blocks.{block}.0.op", f"down_blocks.{level}.downsamplers.0.conv"
            block += 1
    yield "middle_block.0", "mid_block.resnets.0"
    yield "middle_block.1", "mid_block.attentions.0"
    yield "middle_block.2", "mid_block.resnets.1"
    yield from _output_blocks(layout)


def _output_blocks(layout: UnetLayout) -> Iterator[tuple[str, str]]:
    block = 0
    for up, level in enumerate(reversed(range(layout.levels))):
        for layer in range(layout.layers_per_block + 1):
            yield f"output_blocks.{block}.0", f"up_blocks.{up}.resnets.{layer}"
            attends = layout.attention_depth[level] > 0
            if attends:
                yield f"output_blocks.{block}.1", f"up_blocks.{up}.attentions.{layer}"
            if level > 0 and layer == layout.layers_per_block:
                yield f"output_blocks.{block}.{2 if attends else 1}.conv", f"up_blocks.{up}.upsamplers.0.conv"
            block += 1


def unet_table(layout: UnetLayout) -> PrefixTable:
    """Return the table of original and diffusers module names."""
    pairs = list(ENDS)
    for old, new in unet_blocks(layout):
        if ".resnets." in new:
            pairs += [(f"{old}.{inner_old}", f"{new}.{inner_new}") for inner_old, inner_new in RESIDUAL]
        else:
            pairs.append((old, new))
    return PrefixTable(pairs)


def unet_bindings(layout: UnetLayout, module_keys: Iterable[str], prefix: str) -> list[Binding]:
    """Bind every U-Net parameter to its name in an original-layout file."""
    table = unet_table(layout)
    return [Binding(f"{prefix}{_known(table.restore(key), key)}", key) for key in module_keys]


def _known(name: str | None, key: str) -> str:
    assert name is not None, f"no original name for the parameter {key}"
    return name

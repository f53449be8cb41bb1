"""VAE names: original (CompVis) layout and diffusers'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from maquette.families.common.keymap import Binding, PrefixTable
from maquette.families.common.layout import VaeLayout

MIDDLE: tuple[tuple[str, str], ...] = (("block_1", "resnets.0"), ("block_2", "resnets.1"))
ATTENTION: tuple[tuple[str, str], ...] = (
    ("norm", "group_norm"),
    ("q", "to_q"),
    ("k", "to_k"),
    ("v", "to_v"),
    ("proj_out", "to_out.0"),
)
OLD_DIFFUSERS_ATTENTION: tuple[tuple[str, str], ...] = (
    ("query", "to_q"),
    ("key", "to_k"),
    ("value", "to_v"),
    ("proj_attn", "to_out.0"),
)
"""Attention names in folders written before diffusers 0.15."""
RESIDUAL: tuple[tuple[str, str], ...] = (
    ("norm1", "norm1"),
    ("conv1", "conv1"),
    ("norm2", "norm2"),
    ("conv2", "conv2"),
    ("nin_shortcut", "conv_shortcut"),
)


def _residual_blocks(layout: VaeLayout) -> Iterator[tuple[str, str]]:
    levels = len(layout.block_channels)
    for level in range(levels):
        for layer in range(layout.layers_per_block):
            yield f"encoder.down.{level}.block.{layer}", f"encoder.down_blocks.{level}.resnets.{layer}"
        for layer in range(layout.layers_per_block + 1):
            yield (
                f"decoder.up.{level}.block.{layer}",
                f"decoder.up_blocks.{levels - 1 - level}.resnets.{layer}",
            )
    for side in ("encoder", "decoder"):
        for old, new in MIDDLE:
            yield f"{side}.mid.{old}", f"{side}.mid_block.{new}"


def vae_table(layout: VaeLayout) -> PrefixTable:
    """Return the table of original and diffusers module names."""
    levels = len(layout.block_channels)
    pairs = [(name, name) for name in ("quant_conv", "post_quant_conv")]
    for side in ("encoder", "decoder"):
        pairs += [(f"{side}.conv_in", f"{side}.conv_in"), (f"{side}.conv_out", f"{side}.conv_out")]
        pairs.append((f"{side}.norm_out", f"{side}.conv_norm_out"))
        pairs += [
            (f"{side}.mid.attn_1.{old}", f"{side}.mid_block.attentions.0.{new}") for old, new in ATTENTION
        ]
    for old, new in _residual_blocks(layout):
        pairs += [(f"{old}.{inner_old}", f"{new}.{inner_new}") for inner_old, inner_new in RESIDUAL]
    for level in range(levels - 1):
        pairs.append(
            (f"encoder.down.{level}.downsample.conv", f"encoder.down_blocks.{level}.downsamplers.0.conv")
        )
        pairs.append(
            (
                f"decoder.up.{level + 1}.upsample.conv",
                f"decoder.up_blocks.{levels - 2 - level}.upsamplers.0.conv",
            )
        )
    return PrefixTable(pairs)


def vae_bindings(layout: VaeLayout, module_keys: Iterable[str], prefix: str) -> list[Binding]:
    """Bind every VAE parameter to its name in an original-layout file."""
    table = vae_table(layout)
    return [_binding(prefix, table.restore(key), key) for key in module_keys]


def _binding(prefix: str, name: str | None, key: str) -> Binding:
    assert name is not None, f"no original name for the parameter {key}"
    projects = ".attentions.0.to_" in key and key.endswith(".weight")
    return Binding(prefix + name, key, "squeeze" if projects else "same")


def modern_vae_key(key: str) -> str:
    """Return a diffusers VAE key in today's spelling."""
    if ".attentions.0." not in key:
        return key
    head, _, tail = key.partition(".attentions.0.")
    old, _, leaf = tail.partition(".")
    return f"{head}.attentions.0.{dict(OLD_DIFFUSERS_ATTENTION).get(old, old)}.{leaf}"

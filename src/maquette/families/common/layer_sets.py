"""Names for sets of a latent diffusion U-Net's and its text encoders' layers, as patterns over the layers' dotted names.

Blocks are called as block-weighting tools call them: `IN01` … `MID` … `OUT11`, by the blocks of the original layout.
"""

from __future__ import annotations

KINDS_OF_LAYERS: dict[str, tuple[str, ...]] = {
    "attention": ("attn1", "attn2", "self_attn"),
    "self-attention": ("attn1", "self_attn"),
    "cross-attention": ("attn2",),
    "feed-forward": ("ff", "mlp"),
    "convolutions": ("resnets", "downsamplers", "upsamplers"),
}


def block_names(levels: int, layers_per_level: int = 2) -> tuple[str, ...]:
    """Return those of the sets that are the blocks, in the order in which a U-Net computes: no layer is in two of them."""
    return tuple(sorted(_blocks(levels, layers_per_level), key=lambda name: (_WAYS.index(name[:2]), name)))


_WAYS = ("IN", "MI", "OU")


def layer_sets(levels: int, layers_per_level: int = 2) -> dict[str, tuple[str, ...]]:
    """Return the sets of a U-Net of so many levels: kinds of layers, and its blocks."""
    return {**KINDS_OF_LAYERS, **_blocks(levels, layers_per_level)}


def _blocks(levels: int, layers: int) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for level in range(levels):
        for number in range(layers):
            found[f"IN{1 + (layers + 1) * level + number:02}"] = _at("down", level, number)
        if level + 1 < levels:
            found[f"IN{(layers + 1) * (level + 1):02}"] = (f"unet.down_blocks.{level}.downsamplers",)
    found["MID"] = ("unet.mid_block",)
    for level in range(levels):
        for number in range(layers + 1):
            upsampler = (
                (f"unet.up_blocks.{level}.upsamplers",) if number == layers and level + 1 < levels else ()
            )
            found[f"OUT{(layers + 1) * level + number:02}"] = (*_at("up", level, number), *upsampler)
    return found


def _at(way: str, level: int, number: int) -> tuple[str, ...]:
    block = f"unet.{way}_blocks.{level}"
    return (f"{block}.attentions.{number}", f"{block}.resnets.{number}")

"""What a LoRA of each family may hold: names and sizes of all its modules, without torch and without a model.

The same names as `lora_targets()` of a loaded model gives, made from the published sizes alone. For files whose base is
not at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from maquette.families.common.layers import (
    TEXT_LAYERS,
    TRANSFORMER_LAYERS,
    LayerSize,
    text_layers,
    unet_layers,
)
from maquette.families.common.layout import TextLayout, UnetLayout
from maquette.families.common.unet_keys import unet_blocks, unet_table
from maquette.families.protocol import LayerKind, LoraPart
from maquette.families.sd1 import keys as sd1_keys
from maquette.families.sd1 import spec as sd1_spec
from maquette.families.sdxl import keys as sdxl_keys
from maquette.families.sdxl import spec as sdxl_spec


@dataclass(frozen=True)
class LoraModule:
    """One module that a LoRA of the family may hold."""

    key: str
    """Name in a kohya file, without `.lora_down.weight`."""
    diffusers_key: str
    part: LoraPart
    kind: LayerKind
    inputs: int
    outputs: int
    default: bool
    """False for the layers that only `conv_dim` adds."""
    last_text_layer: bool = False
    """In the last layer of a text encoder, which clip skip 2 leaves untrained."""


@cache
def lora_modules(family: str) -> Mapping[str, LoraModule]:
    """Return every module by kohya key. KeyError for a family that is not in the table."""
    unet, texts, text_prefixes, unet_prefix, original_names = _TABLE[family]
    found: list[LoraModule] = []
    for number, (text, prefix) in enumerate(zip(texts, text_prefixes, strict=True)):
        component = "text_encoder" if number == 0 else f"text_encoder_{number + 1}"
        found += _text_modules(text, prefix, component)
    table = unet_table(unet)
    rename: Callable[[str], str] = (lambda path: table.restore(path) or path) if original_names else str
    for path, size in _unet_modules(unet):
        key = f"{unet_prefix}_{rename(path).replace('.', '_')}"
        found.append(_module(key, f"unet.{path}", size))
    return {module.key: module for module in found}


def family_of_name(name: str) -> str | None:
    """Return the family that a file's name speaks of, or None when it names none or several."""
    found = [family for family, words in _WORDS.items() if words.search(name)]
    return found[0] if len(found) == 1 else None


def known_families() -> tuple[str, ...]:
    """Return the families whose LoRA names are known."""
    return tuple(_TABLE)


_TABLE: dict[str, tuple[UnetLayout, tuple[TextLayout, ...], tuple[str, ...], str, bool]] = {
    sd1_spec.SPEC.name: (
        sd1_spec.FULL_SIZES[0],
        sd1_spec.FULL_SIZES[2:],
        (sd1_keys.TEXT_LORA,),
        sd1_keys.UNET_LORA,
        False,
    ),
    sdxl_spec.SPEC.name: (
        sdxl_spec.FULL_SIZES[0],
        sdxl_spec.FULL_SIZES[2:],
        sdxl_keys.TEXT_LORA,
        sdxl_keys.UNET_LORA,
        True,
    ),
}
"""By family: U-Net, text encoders, their LoRA prefixes, the U-Net's, and whether its layers go by the original's names."""


_WORDS = {
    sd1_spec.SPEC.name: re.compile(
        r"(?<![a-z])(?:sd[ _.-]?(?:v?1[ _.-]?[45]|v?1)|v1[ _.-]?[45])(?!\d)", re.IGNORECASE
    ),
    sdxl_spec.SPEC.name: re.compile(
        r"(?<![a-z])(?:sd[ _.-]?)?xl(?![a-z])|pony(?:xl|v6)|illustrious|noobai", re.IGNORECASE
    ),
}
"""Words by which people name a file's family."""


def _text_modules(layout: TextLayout, prefix: str, component: str) -> Iterator[LoraModule]:
    sizes = text_layers(layout)
    for number in range(layout.layers):
        for layer in TEXT_LAYERS:
            path = f"text_model.encoder.layers.{number}.{layer}"
            yield _module(
                f"{prefix}_{path.replace('.', '_')}",
                f"{component}.{path}",
                next(sizes),
                last=number == layout.layers - 1,
            )


def _unet_modules(layout: UnetLayout) -> Iterator[tuple[str, LayerSize]]:
    """Yield (diffusers path, size) of every layer, in building order."""
    sizes = list(unet_layers(layout))[::-1]
    level_of_up = {str(up): level for up, level in enumerate(reversed(range(layout.levels)))}
    for _, block in unet_blocks(layout):
        kind, number = block.split(".")[0], block.split(".")[1]
        if ".resnets." in block:
            names = ["conv1", "time_emb_proj", "conv2"]
            if len(sizes) > 3 and sizes[-4].kind == "conv1x1" and not sizes[-4].default:
                names.append("conv_shortcut")
        elif ".attentions." in block:
            levels = (
                {str(level): level for level in range(layout.levels)}
                if kind == "down_blocks"
                else level_of_up
            )
            depth = layout.mid_depth if kind == "mid_block" else layout.attention_depth[levels[number]]
            inner = [
                f"transformer_blocks.{index}.{name}" for index in range(depth) for name in TRANSFORMER_LAYERS
            ]
            names = ["proj_in", *inner, "proj_out"]
        else:
            names = [""]
        for name in names:
            yield f"{block}.{name}".rstrip("."), sizes.pop()
    assert not sizes, "names and sizes of a U-Net must agree"


def _module(key: str, diffusers_key: str, size: LayerSize, *, last: bool = False) -> LoraModule:
    return LoraModule(key, diffusers_key, size.part, size.kind, size.inputs, size.outputs, size.default, last)

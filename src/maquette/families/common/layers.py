"""The layers that a LoRA may adapt, with their names and sizes, as the skeleton of a base model has them.

For planning (how large a LoRA becomes) and for files whose base is not at hand (what its modules are). No weights; and
no torch where the layout is a well-known one or was looked at before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from maquette.families.common.stored import layout_key, stored
from maquette.families.protocol import Family, LayerKind, Layout, LoraPart, LoraTarget


@dataclass(frozen=True)
class LoraModule:
    """One layer that a LoRA may adapt: its names, and what it takes and gives per position."""

    key: str
    """Name in a kohya file, without `.lora_down.weight`."""
    diffusers_key: str
    part: LoraPart
    kind: LayerKind
    inputs: int
    outputs: int
    default: bool = True
    """False for the layers that only `conv_dim` adds."""


@dataclass(frozen=True)
class ModelParts:
    """What a base model consists of: the values of its parts and its adaptable layers."""

    denoiser: int
    text_encoders: int
    vae: int
    modules: tuple[LoraModule, ...]
    """In the reference trainer's order of creation, text encoders first."""


def model_parts(family: Family, layout: Layout) -> ModelParts:
    """Return what a model of this layout consists of."""
    table = stored(table_name(layout), lambda: parts_table(family, layout))
    modules = tuple(LoraModule(*row) for row in table["modules"])
    denoiser, text_encoders, vae = table["values"]
    return ModelParts(denoiser, text_encoders, vae, modules)


def table_name(layout: Layout) -> str:
    """Return the name of the stored table of a layout."""
    return f"parts-{layout_key(layout)}"


def parts_table(family: Family, layout: Layout) -> dict[str, Any]:
    """Return what a model of this layout consists of, as plain values, by its skeleton."""
    model = family.skeleton(layout)
    values = [_values(model.denoiser), sum(map(_values, model.text_encoders)), _values(model.vae)]
    modules = [list(asdict(_module(target)).values()) for target in model.lora_targets()]
    return {"values": values, "modules": modules}


def _values(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _module(target: LoraTarget) -> LoraModule:
    outputs, inputs = target.module.weight.shape[:2]  # type: ignore[index]
    return LoraModule(
        target.key, target.diffusers_key, target.part, target.kind, int(inputs), int(outputs), target.default
    )

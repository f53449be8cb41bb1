"""A LoRA file's modules on the layers of a base, known by headers alone. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maquette.families import LoraModule, layout_of, parts_of
from maquette.families.protocol import ModelInfo
from maquette.lora.choosing import LayerSize
from maquette.lora.facts import LoraFacts, ModuleFact
from maquette.lora.kinds import KINDS
from maquette.lora.names import aliases, look_up


def layers_of(info: ModelInfo) -> tuple[LoraModule, ...]:
    """Return every layer of a base that an adapter may stand on."""
    return parts_of(layout_of(info)).modules


def modules_on(layers: Sequence[LoraModule], facts: LoraFacts) -> dict[str, ModuleFact]:
    """Return those of the file's modules that stand on one of `layers`, by kohya key."""
    table = aliases(layers)
    found = ((look_up(table, module.name), module) for module in facts.modules)
    return {key: module for key, module in found if key is not None}


def sizes_on(layers: Sequence[LoraModule], facts: LoraFacts) -> Mapping[str, LayerSize]:
    """Return the sizes of the file's modules on `layers`, by kohya key."""
    return {
        key: LayerSize(module.rank, facts.alpha_of(module), form=KINDS[module.kind].form_of(module.shapes))
        for key, module in modules_on(layers, facts).items()
        if module.rank and module.kind
    }

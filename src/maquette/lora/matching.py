"""A LoRA file's modules on the layers of a base, known by headers alone. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from maquette.families import LoraModule, layout_of, parts_of
from maquette.families.protocol import ModelInfo
from maquette.lora.facts import LoraFacts, ModuleFact
from maquette.lora.names import aliases, look_up


def layers_of(info: ModelInfo) -> tuple[LoraModule, ...]:
    """Return every layer of a base that an adapter may stand on."""
    return parts_of(layout_of(info)).modules


def modules_on(layers: Sequence[LoraModule], facts: LoraFacts) -> dict[str, ModuleFact]:
    """Return those of the file's modules that stand on one of `layers`, by kohya key."""
    table = aliases(layers)
    found = ((look_up(table, module.name), module) for module in facts.modules)
    return {key: module for key, module in found if key is not None}


def sizes_on(layers: Sequence[LoraModule], facts: LoraFacts) -> Mapping[str, tuple[int, float]]:
    """Return rank and alpha of the file's modules on `layers`, by kohya key."""
    modules = modules_on(layers, facts)
    return {key: (module.rank, facts.alpha_of(module)) for key, module in modules.items() if module.rank}

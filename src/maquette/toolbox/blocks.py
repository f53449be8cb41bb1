"""The blocks of a model, by which norms are shown and layers pruned: IN01 … MID … OUT11, each text encoder as one.

A LoRA for a model that no family of ours is goes by the first number in its modules' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from maquette.families import FAMILIES, LoraModule
from maquette.lora.choosing import LayerChoice
from maquette.toolbox.opening import OpenedLora

FIRST_NUMBER = re.compile(r".*?\d+(?=_|$)")


def blocks_of(keys: Sequence[str], layers: Mapping[str, LoraModule], family: str | None) -> dict[str, str]:
    """Return the block of each module, by kohya key."""
    names = FAMILIES[family].spec.blocks if family is not None else ()
    choice = choice_for(family)
    return {key: _block(key, layers.get(key), names, choice) for key in keys}


def in_order(found: Sequence[str], family: str | None) -> list[str]:
    """Return block names in the order in which the model computes, text encoders first."""
    known = FAMILIES[family].spec.blocks if family is not None else ()
    names = list(dict.fromkeys(found))
    return sorted(names, key=lambda name: known.index(name) if name in known else -1)


def choice_for(family: str | None) -> LayerChoice:
    """Return what knows the family's names for sets of layers."""
    return LayerChoice(sets=FAMILIES[family].spec.layer_sets if family is not None else {})


def meant(lora: OpenedLora, pattern: str) -> list[str]:
    """Return the modules that `pattern` means: a block, a set of layers, a run of a layer's name, a pattern over kohya names."""
    choice = choice_for(lora.facts.family)
    blocks = blocks_of(list(lora.modules), lora.layers, lora.facts.family)
    return [
        key
        for key in lora.modules
        if blocks[key] == pattern or means(choice, pattern, key, lora.layers.get(key))
    ]


def means(choice: LayerChoice, pattern: str, key: str, layer: LoraModule | None) -> bool:
    """Tell whether a pattern means a module; of one whose layer is not known, its name with underlines for dots tells."""
    if layer is not None:
        return choice.means(pattern, layer)
    sets = (each for name in choice.sets if fnmatchcase(name, pattern) for each in choice.sets[name])
    patterns = (pattern, *sets)
    return fnmatchcase(key, pattern) or any(
        fnmatchcase(f"_{key}_", f"*_{each.replace('.', '_')}_*") for each in patterns
    )


def _block(key: str, layer: LoraModule | None, names: Sequence[str], choice: LayerChoice) -> str:
    if layer is None:
        own = next((name for name in names if means(choice, name, key, None)), None)
        match = FIRST_NUMBER.match(key)
        return own or (match[0] if match else key)
    if layer.part == "text_encoder":
        return layer.diffusers_key.partition(".")[0]
    own = next((name for name in names if choice.means(name, layer)), None)
    if own is not None:
        return own
    match = FIRST_NUMBER.match(layer.diffusers_key.replace(".", "_"))
    return match[0] if match else layer.diffusers_key

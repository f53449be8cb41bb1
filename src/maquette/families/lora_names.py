"""What a LoRA of each family may hold: names and sizes of all its modules, without torch and without a model.

The same names as `lora_targets()` of a loaded model gives. For files whose base is not at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from maquette.families import FAMILIES, LoraModule, parts_of

__all__ = ["LoraModule", "family_of_name", "known_families", "lora_modules"]


@cache
def lora_modules(family: str) -> Mapping[str, LoraModule]:
    """Return every module of the family's published model by kohya key. KeyError for a family that is not in the table."""
    return {module.key: module for module in parts_of(FAMILIES[family].layout(None)).modules}


def family_of_name(name: str) -> str | None:
    """Return the family that a file's name speaks of, or None when it names none or several."""
    found = [
        family.name
        for family in FAMILIES.values()
        if family.spec.file_words and re.search(f"(?i){family.spec.file_words}", name)
    ]
    return found[0] if len(found) == 1 else None


def known_families() -> tuple[str, ...]:
    """Return the families whose LoRA names are known."""
    return tuple(FAMILIES)

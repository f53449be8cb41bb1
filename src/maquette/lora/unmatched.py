"""Tensors of a LoRA file that ComfyUI has no place for, by the names that the file gives them: it draws without them."""

from __future__ import annotations

from pathlib import Path

from maquette.families.common.header import read_header
from maquette.lora.kinds.foreign import split_foreign_name
from maquette.lora.names import split_tensor_name
from maquette.lora.reading import read_lora_facts


def unmatched_tensors(path: Path) -> tuple[str, ...]:
    """Return them in the file's order. Raises ModelError for a file that cannot be read."""
    facts = read_lora_facts(path, depth="header")
    skipped = {module.name for module in (*facts.unfound, *facts.strangers)}
    loose = set(facts.loose)
    return tuple(
        name
        for name in read_header(path).tensors
        if name in loose
        or ((split := split_tensor_name(name) or split_foreign_name(name)) and split[0] in skipped)
    )

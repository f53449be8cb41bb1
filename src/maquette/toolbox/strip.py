"""A LoRA without what its metadata tell, or without what is private of it; not a bit of its weights changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.families.common.header import read_header
from maquette.lora.files import require_adapter
from maquette.lora.names import ADAPTER_METADATA
from maquette.lora.reading import read_lora_facts
from maquette.toolbox.metadata import is_private
from maquette.toolbox.options import StripOptions
from maquette.toolbox.streaming import rewrite
from maquette.toolbox.writing import place_for

NEEDED = (ADAPTER_METADATA, "format")
"""Alphas of files in diffusers' layout, without which they draw at another strength; and what transformers wants to see."""


@dataclass(frozen=True, kw_only=True)
class Stripped:
    """What was taken out."""

    path: Path
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    num_bytes: int


def strip_metadata(path: Path, options: StripOptions | None = None) -> Stripped:
    """Write the LoRA at `path` without its metadata (`private`: without what tells of a machine and pictures)."""
    options = options or StripOptions()
    facts = require_adapter(read_lora_facts(path, depth="header"))
    removed = [
        key
        for key, value in facts.metadata.items()
        if key not in NEEDED and (not options.private or is_private(key, value))
    ]
    kept = {key: value for key, value in facts.metadata.items() if key not in removed}
    done = "private-stripped" if options.private else "stripped"
    output = place_for(path, options.output, done, overwrite=options.overwrite)
    for _ in rewrite(output, read_header(path).tensors, kept):
        pass
    return Stripped(
        path=output, removed=tuple(sorted(removed)), kept=tuple(sorted(kept)), num_bytes=output.stat().st_size
    )

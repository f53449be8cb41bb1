"""The parts of a single file, loaded one by one with their bindings."""

from __future__ import annotations

from pathlib import Path

import torch

from maquette.families.common.assemble import Part, fill_part
from maquette.families.common.source import SingleFile, open_source
from maquette.families.sd1 import load as sd1_load
from maquette.families.sd2 import load as sd2_load
from maquette.families.sdxl import load as sdxl_load


def parts_of(name: str, path: Path) -> list[Part]:
    """Return the filled parts of the family `name` in the single file `path`."""
    source = open_source(path)
    assert isinstance(source, SingleFile)
    read = {"sd1": sd1_load, "sd2": sd2_load, "sdxl": sdxl_load}[name]._file_parts
    found = [part for item in read(source) for part in (item if isinstance(item, tuple) else (item,))]
    parts = [part for part in found if isinstance(part, Part)]
    for part in parts:
        fill_part(part, dtype=torch.float32, device="cpu")
    return parts

"""Which files of a diffusers folder hold the weights of one part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from maquette.errors import ModelError, Problem
from maquette.reading import FileKind, read_table, shown

CONFIGURATION = FileKind("the model's configuration", "Download the model again.", ModelError)
WEIGHT_NAMES = ("diffusion_pytorch_model", "model", "pytorch_model")


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that hold one part: the plain one first, then shards, then a variant."""
    for stem in WEIGHT_NAMES:
        if (folder / f"{stem}.safetensors").is_file():
            return [folder / f"{stem}.safetensors"]
    for stem in WEIGHT_NAMES:
        for index in sorted(folder.glob(f"{stem}.safetensors.index*.json")):
            return _shards(folder, index)
        if variants := sorted(folder.glob(f"{stem}.*.safetensors")):
            return [next((path for path in variants if ".fp16." in path.name), variants[0])]
    return []


def _shards(folder: Path, index: Path) -> list[Path]:
    """Return the files that an index names, which lie beside it."""
    weight_map = read_json(index).get("weight_map", {})
    names: list[Any] = list(weight_map.values()) if isinstance(weight_map, dict) else [None]
    for name in names:
        if not isinstance(name, str) or name in ("", "..") or Path(name).name != name or len(name) > 255:
            given, required = f"weight_map names {shown(name)}", "names of files beside it"
            raise ModelError(Problem(str(index), given, required, CONFIGURATION.remedy))
    return sorted({folder / name for name in names})


def read_json(path: Path) -> dict[str, Any]:
    """Return a configuration; ModelError when it is none."""
    return read_table(path, CONFIGURATION)

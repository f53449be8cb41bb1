"""Where a base model comes from: one file, a diffusers folder, or a hub name; described without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from maquette.errors import ModelError, Problem
from maquette.families.common.header import Header, TensorEntry, read_header
from maquette.families.common.hub import HUB_NAME, fetch
from maquette.families.common.weight_files import read_json, weight_files
from maquette.reading import shown

LONGEST_PART = 100


@dataclass(frozen=True)
class SingleFile:
    """A safetensors file with every part of the model in it, original layout."""

    path: Path
    header: Header
    origin: Literal["single-file"] = "single-file"

    def shapes(self, prefix: str = "") -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors below `prefix`, which is taken off their names."""
        cut = len(prefix)
        return {
            name[cut:]: entry.shape for name, entry in self.header.tensors.items() if name.startswith(prefix)
        }


@dataclass(frozen=True)
class DiffusersFolder:
    """A folder with model_index.json and one subfolder per part."""

    path: Path
    index: Mapping[str, Any]
    configs: Mapping[str, Mapping[str, Any]]
    """The parts' config.json (scheduler_config.json for the scheduler), by part."""
    origin: Literal["diffusers", "hub"] = "diffusers"
    hub_name: str = ""

    def has_weights(self, part: str) -> bool:
        """Whether the part's safetensors files are here."""
        return any(path.is_file() for path in weight_files(self.path / part))

    def tensors(self, part: str) -> dict[str, TensorEntry]:
        """Return the tensors of one part, whether in one file or several."""
        folder = self.path / part
        found: dict[str, TensorEntry] = {}
        for path in weight_files(folder):
            found.update(read_header(path).tensors)
        if not found:
            raise ModelError(
                Problem(
                    str(folder),
                    _what_lies_in(folder),
                    "weights as .safetensors",
                    "Get the safetensors version of this model.",
                )
            )
        return found


Source = SingleFile | DiffusersFolder


def open_source(name: str | Path, *, weights: bool = True) -> Source:
    """Return what `name` (a file, a diffusers folder, or a hub name such as owner/model) holds.

    `weights=False` downloads only the configuration of a hub model. Raises ModelError when it cannot be used.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return open_folder(path)
    if (
        not path.exists()
        and not path.is_symlink()
        and HUB_NAME.match(str(name))
        and not _looks_like_file(path)
    ):
        return open_folder(fetch(str(name), weights=weights), hub_name=str(name))
    return SingleFile(path, read_header(path))


def open_folder(folder: Path, *, hub_name: str = "") -> DiffusersFolder:
    """Return the diffusers pipeline in `folder`."""
    index_path = folder / "model_index.json"
    if not index_path.is_file():
        raise ModelError(
            Problem(
                str(folder),
                f"a folder without model_index.json ({_what_lies_in(folder)})",
                "a base model as a .safetensors file or a diffusers folder",
                _folder_remedy(folder),
            )
        )
    index = read_json(index_path)
    parts = [name for name, value in index.items() if isinstance(value, list) and value and value[0]]
    wrong = next((name for name in parts if not name.isidentifier() or len(name) > LONGEST_PART), None)
    if wrong is not None:
        given = f"the part {shown(wrong)}"
        raise ModelError(Problem(str(index_path), given, "names of its folders", "Download the model again."))
    configs = {}
    for part in parts:
        path = folder / part / ("scheduler_config.json" if part == "scheduler" else "config.json")
        if path.is_file():
            configs[part] = read_json(path)
    return DiffusersFolder(folder, index, configs, "hub" if hub_name else "diffusers", hub_name)


def _looks_like_file(path: Path) -> bool:
    return (
        path.suffix.lower() in {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf"}
        or path.parent.exists()
    )


def _what_lies_in(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return f"it holds {', '.join(names[:5])}{' …' if len(names) > 5 else ''}" if names else "it is empty"


def _folder_remedy(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    return f"Name the file itself, e.g. {files[0]}." if files else "Check the path."

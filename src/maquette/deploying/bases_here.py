"""The base models that are on this computer: of projects, in drawing programs' folders, in the Hugging Face cache, and the one
that ships.

Only headers are read. Places are the usual ones and those that are named; nobody's disk is searched through.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from maquette.deploying.bases import checkpoints_of_comfyui, checkpoints_of_webui
from maquette.errors import MaquetteError
from maquette.families.protocol import ModelInfo

MOST = 200
"""Files that are looked at in one place; whoever has more names the one that is meant."""
COMFYUI_PLACES = ("ComfyUI", "Documents/ComfyUI", "comfyui", "ComfyUI_windows_portable")
WEBUI_PLACES = (
    "stable-diffusion-webui",
    "stable-diffusion-webui-forge",
    "stable-diffusion-webui-reForge",
    "sd-webui-forge",
    "webui",
)


@dataclass(frozen=True, kw_only=True)
class FoundBase:
    """One base model on this computer."""

    base: str
    """What a project writes: a path, or a hub name."""
    name: str
    family: str
    title: str
    resolution: int
    num_bytes: int
    """On the disk."""
    where: str
    """Who has it, in words."""
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"notes": list(self.notes)}


def bases_here(
    named: Iterable[tuple[str, str]] = (),
    *,
    home: Path | None = None,
    programs: Iterable[Path] = (),
) -> list[FoundBase]:
    """Return the usable base models of this computer, each once, those of projects first.

    named: bases that are known already, each with who knows it. programs: folders of drawing programs beside the usual ones.
    home: whose home folder is looked into; the user's own.
    """
    found: dict[str, FoundBase] = {}
    for base, where in (*named, *_of_programs(home or Path.home(), programs), *_of_hub(), *_shipped()):
        key = _key(base)
        if key not in found and (one := look_at_base(base, where)) is not None:
            found[key] = one
    return list(found.values())


def look_at_base(base: str, where: str = "") -> FoundBase | None:
    """Return what the base model `base` is, None where it is none that can be trained on."""
    from maquette import families

    try:
        return found_base(base, families.inspect(base), where)
    except MaquetteError:
        return None


def found_base(base: str, info: ModelInfo, where: str = "") -> FoundBase:
    """Return an inspected base as a person chooses it."""
    is_here = Path(info.path).expanduser().exists()
    return FoundBase(
        base=base,
        name=Path(base).name if Path(base).expanduser().exists() else base,
        family=info.family,
        title=info.title,
        resolution=info.resolution,
        num_bytes=_size(Path(info.path).expanduser()) if is_here else 0,
        where=where,
        notes=tuple(note for note in (_of_distilled(info), *info.notes) if note),
    )


def _of_distilled(info: ModelInfo) -> str:
    return (
        f"Distilled to draw in a few steps ({info.distilled}): no base to train on." if info.distilled else ""
    )


def _of_programs(home: Path, programs: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield the base models that drawing programs list."""
    given = tuple(programs)
    for find, title, names in (
        (checkpoints_of_comfyui, "ComfyUI", COMFYUI_PLACES),
        (checkpoints_of_webui, "AUTOMATIC1111 / Forge", WEBUI_PLACES),
    ):
        for place in (*given, *(home / name for name in names)):
            for folders in find(place):
                for folder in folders.paths:
                    yield from ((str(file), f"{title} in {place}") for file in _files(folder))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(islice((path for path in folder.rglob("*.safetensors") if path.is_file()), MOST))


def _of_hub() -> Iterator[tuple[str, str]]:
    """Yield the hub names of whole pipelines in the Hugging Face cache."""
    given = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    root = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    folder = Path(given) if given else root / "hub"
    for model in islice(sorted(folder.glob("models--*")), MOST):
        if any(model.glob("snapshots/*/model_index.json")):
            yield model.name.removeprefix("models--").replace("--", "/"), "the Hugging Face cache"


def _shipped() -> Iterator[tuple[str, str]]:
    from maquette.world.pack import base_path

    try:
        yield str(base_path()), "comes with Maquette, to try things out on its small world"
    except MaquetteError:
        return


def _key(base: str) -> str:
    path = Path(base).expanduser()
    return str(path.resolve()) if path.exists() else base


def _size(path: Path) -> int:
    """Return what a file or the weights of a folder take on the disk."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*.safetensors") if file.is_file())

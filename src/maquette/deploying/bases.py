"""Which base models a drawing program has, by family: what a LoRA that names none can be drawn with there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maquette.deploying.comfyui import CHECKPOINTS, COMFYUI
from maquette.deploying.folders import ModelFolders, comfyui_folders
from maquette.deploying.options import DeployOptions
from maquette.deploying.webui import WEBUI
from maquette.errors import MaquetteError

_WEBUI_CHECKPOINTS = Path("models/Stable-diffusion")
_ENDING = ".safetensors"

Bases = Callable[[str], list[str]]
"""Returns the file names of a family's base models, as the program lists them."""


def bases_for(options: DeployOptions) -> Bases:
    """Return what looks into the programs that a LoRA goes to; nothing is read before it is asked."""

    def of_family(family: str) -> list[str]:
        return [name for folders in _folders(options) for name in _of_family(folders, family)]

    return of_family


def _folders(options: DeployOptions) -> list[ModelFolders]:
    found = []
    if options.comfyui is not None:
        found += checkpoints_of_comfyui(options.comfyui)
    if options.webui is not None:
        found += checkpoints_of_webui(options.webui)
    return found


def checkpoints_of_comfyui(place: Path) -> list[ModelFolders]:
    """Return where the ComfyUI at `place` looks for base models; nothing where none is."""
    if not COMFYUI.is_at(place):
        return []
    return [comfyui_folders(COMFYUI.root(place, create=False), "checkpoints", CHECKPOINTS)]


def checkpoints_of_webui(place: Path) -> list[ModelFolders]:
    """Return where the AUTOMATIC1111 or Forge at `place` looks for base models; nothing where none is."""
    if not WEBUI.is_at(place):
        return []
    return [ModelFolders(paths=(WEBUI.root(place, create=False) / _WEBUI_CHECKPOINTS,))]


def _of_family(folders: ModelFolders, family: str) -> list[str]:
    return [
        name for name in folders.names() if name.endswith(_ENDING) and _family_of(folders, name) == family
    ]


def _family_of(folders: ModelFolders, name: str) -> str | None:
    """Return the family of a base model by its header, None for what is none."""
    from maquette.families import inspect

    place = next(folder / name for folder in folders.paths if (folder / name).is_file())
    try:
        return inspect(place).family
    except MaquetteError:
        return None

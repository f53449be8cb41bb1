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
    if options.comfyui is not None and COMFYUI.is_at(options.comfyui):
        root = COMFYUI.root(options.comfyui, create=False)
        found.append(comfyui_folders(root, "checkpoints", CHECKPOINTS))
    if options.webui is not None and WEBUI.is_at(options.webui):
        found.append(ModelFolders(paths=(WEBUI.root(options.webui, create=False) / _WEBUI_CHECKPOINTS,)))
    return found


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

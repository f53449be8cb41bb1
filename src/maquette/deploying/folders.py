"""Where drawing programs look for models: their own folders, and those that a person shares among programs.

ComfyUI reads extra_model_paths.yaml beside its main.py; AUTOMATIC1111 and Forge take --lora-dir and
--forge-ref-a1111-home in webui-user.sh or webui-user.bat.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError
from maquette.reading import FileKind, Unreadable, bytes_of, read_yaml

EXTRA_PATHS = "extra_model_paths.yaml"
_FILE = FileKind("ComfyUI's list of model folders", "Repair it: ComfyUI does not start with it either.")
_LONGEST_BYTES = 1 << 20
_ARGUMENT = r"""{flag}[ =]+(?:"([^"\n]+)"|'([^'\n]+)'|([^\s"']+))"""
_COMMENT = re.compile(r"^\s*(?:#|::|rem\b)", re.IGNORECASE)
_STARTERS = ("webui-user.sh", "webui-user.bat")


@dataclass(frozen=True, kw_only=True)
class ModelFolders:
    """The folders of one kind of model, in the order in which the program looks into them; the first of a name wins."""

    paths: tuple[Path, ...]
    note: str = ""
    """What kept folders from being known."""

    @property
    def install(self) -> Path:
        """The folder that a new file goes to: the first one that is there."""
        return next((path for path in self.paths if path.is_dir()), self.paths[0])

    def names(self) -> list[str]:
        """Return every file below them as the program lists it."""
        found = [
            path.relative_to(folder).as_posix()
            for folder in self.paths
            if folder.is_dir()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        return list(dict.fromkeys(found))


def comfyui_folders(root: Path, kind: str, own: Path) -> ModelFolders:
    """Return where the ComfyUI at `root` looks for models of `kind` ("loras", "checkpoints"); `own` is its own folder."""
    file = root / EXTRA_PATHS
    if not file.is_file():
        return ModelFolders(paths=(root / own,))
    try:
        sections = read_yaml(file, _FILE)
    except MaquetteError as error:
        return ModelFolders(paths=(root / own,), note=f"{error} Its folders are not known here.")
    first: list[Path] = []
    then: list[Path] = []
    for section in sections.values():
        if isinstance(section, dict):
            found = list(_listed(section, kind, root))
            if section.get("is_default"):
                first = found[::-1] + first
            else:
                then += found
    if first or (root / own).is_dir() or not then:
        then = [root / own, *then]
    return ModelFolders(paths=tuple(dict.fromkeys(first + then)))


def _listed(section: dict[str, Any], kind: str, root: Path) -> Iterator[Path]:
    """Yield the folders of one section: a line each, below its base_path."""
    base, lines = section.get("base_path"), section.get(kind)
    beginning = os.path.expandvars(os.path.expanduser(base)) if isinstance(base, str) else ""  # noqa: PTH111
    for line in lines.splitlines() if isinstance(lines, str) else ():
        if line.strip():
            yield Path(os.path.normpath(root / beginning / line.strip()))


def webui_folders(root: Path, own: Path) -> ModelFolders:
    """Return where the web UI at `root` looks for LoRAs: one folder, its own or the one that it is started with."""
    for flag, below in (("--lora-dir", Path()), ("--forge-ref-a1111-home", own)):
        for name in _STARTERS:
            given = _argument(root / name, flag)
            if given and (root / given / below).is_dir():
                return ModelFolders(paths=(Path(os.path.normpath(root / given / below)),))
    return ModelFolders(paths=(root / own,))


def _argument(file: Path, flag: str) -> str | None:
    """Return the value that a start script gives a flag, None where it does not or cannot be read."""
    try:
        lines = bytes_of(file, _LONGEST_BYTES).decode("utf-8", errors="replace").splitlines()
    except Unreadable:
        return None
    pattern = re.compile(_ARGUMENT.format(flag=re.escape(flag)))
    for line in lines:
        if not _COMMENT.match(line) and (found := pattern.search(line)):
            return os.path.expandvars(next(filter(None, found.groups())))
    return None

"""What was found out about a project and holds until something of it changes: kept in the user's cache with the project's mark.

    CACHE/projects/KEY-WHAT.json    {"mark", "at", "value"}

A mark stands for the content without reading it: names, sizes and times of change of the settings, the profile, the pictures, the
captions and the base. What is kept can only save time: whatever is wrong with it, there is nothing.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.errors import MaquetteError
from maquette.files import cache_folder, write_json
from maquette.project.config_file import CONFIG_NAME, load_settings
from maquette.project.profile import PROFILE_NAME
from maquette.reading import Unreadable, json_of

OWN = ".maquette"
MOST_FILES = 400
"""That are kept, the latest."""


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What was found out before."""

    value: dict[str, Any]
    at: float
    """Unix seconds."""
    is_fresh: bool
    """Whether nothing of the project has changed since."""


class Noted:
    """Where one thing that was found out about a project is kept. Made before it is found out: its mark is of that moment."""

    def __init__(self, project: Path, what: str, mark: str | None = None) -> None:
        """`mark`: the project's, where it is known already."""
        self._project = Path(project).resolve()
        self._file = cache_folder() / "projects" / f"{_digest(str(self._project))[:24]}-{what}.json"
        self._mark = mark_of(self._project) if mark is None else mark

    def keep(self, value: dict[str, Any]) -> None:
        """Keep what was found out; a cache that cannot be written keeps nothing."""
        with suppress(MaquetteError, OSError):
            is_new = not self._file.exists()
            write_json(self._file, {"mark": self._mark, "at": time.time(), "value": value})
            if is_new:
                _forget_old(self._file.parent)

    def recall(self) -> Recalled | None:
        """Return what was kept last, None where there is nothing."""
        try:
            table = json_of(self._file)
            mark, at, value = table["mark"], float(table["at"]), table["value"]
        except (Unreadable, OSError, KeyError, TypeError, ValueError):
            return None
        return Recalled(value=value, at=at, is_fresh=mark == self._mark) if isinstance(value, dict) else None


def _forget_old(folder: Path) -> None:
    found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in found[:-MOST_FILES]:
        path.unlink(missing_ok=True)


def mark_of(project: Path) -> str:
    """Return a mark that changes when a file changes that a check or a plan of the project looks at."""
    digest = hashlib.sha256(__version__.encode())
    for line in sorted(_states(project)):
        digest.update(os.fsencode(line) + b"\0")
    return digest.hexdigest()


def _states(project: Path) -> Iterator[str]:
    for name in (CONFIG_NAME, PROFILE_NAME):
        yield _state(project / name)
    try:
        settings = load_settings(project)
    except MaquetteError:
        return
    dataset = settings.dataset
    named = (
        dataset.images,
        dataset.regularization,
        settings.masks.mask_folder,
        *settings.validation.validation_images,
    )
    for place in dict.fromkeys(named):
        if place is not None:
            yield from _below(place)
    for file in (settings.model.base, settings.model.vae):
        if file:
            yield _state(Path(file))
    if dataset.images.is_dir():
        yield _state(dataset.images.parent / PROFILE_NAME)


def _below(place: Path) -> Iterator[str]:
    yield _state(place)
    for folder, below, files in os.walk(place):
        below[:] = [name for name in below if name != OWN]
        with suppress(OSError), os.scandir(folder) as entries:
            wanted = set(files)
            for entry in entries:
                if entry.name in wanted:
                    with suppress(OSError):
                        status = entry.stat()
                        yield f"{entry.path} {status.st_size} {status.st_mtime_ns}"


def _state(path: Path) -> str:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return f"{path} -"
    # A folder's own time changes with files of the program's that nothing here looks at.
    return f"{path} {status.st_size} {status.st_mtime_ns}" if not path.is_dir() else str(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

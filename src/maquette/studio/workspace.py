"""The projects that a person opened in the studio, and what of the disk their pages may reach.

    HOME/studio.json    paths of the opened projects, the latest first

A page names a project by its key and a file by its path below one of the project's places. Nothing else can be read or
written through the studio: paths are resolved, links included, before they are held against those places.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from maquette.dataset.folders import with_dot
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem
from maquette.files import state_folder, write_json
from maquette.project.config_file import CONFIG_NAME, load_settings
from maquette.project.settings import DatasetSettings
from maquette.project.validation import read_as
from maquette.reading import FileKind

NAME = "studio.json"
MOST_PROJECTS = 200
_KIND = FileKind(
    "the studio's list of projects", "Move it away: projects are opened again by their folder.", OutputError
)


class NotFound(MaquetteError):
    """No such project, or nothing there that a page may reach."""


@dataclass(frozen=True, kw_only=True)
class Project:
    """One opened project."""

    key: str
    root: Path

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders that its pages may reach: its own, and those that its settings name."""
        found = [self.root]
        try:
            dataset = self._dataset
        except (MaquetteError, OSError):
            return tuple(found)
        found += [place for place in (dataset.images, dataset.regularization) if place is not None]
        return tuple(dict.fromkeys(place.resolve() for place in found))

    @property
    def pictures(self) -> Path:
        """The folder of its pictures. Raises MaquetteError where the settings cannot be read or name none."""
        images = self._dataset.images
        if images is None or not images.is_dir():
            given = "no pictures" if images is None else f"'{images}' is no folder"
            raise ConfigError(
                Problem(
                    str(self.root / CONFIG_NAME), given, "a folder of pictures", "Set images in [dataset]."
                )
            )
        return images.resolve()

    @property
    def caption_extension(self) -> str:
        """How the names of its caption files end. Raises MaquetteError where the settings cannot be read."""
        return with_dot(self._dataset.caption_extension or ".txt")

    @property
    def _dataset(self) -> DatasetSettings:
        told = (self.root / CONFIG_NAME).stat()
        return _dataset_of(self.root, told.st_mtime_ns, told.st_size, told.st_ino)

    def file(self, name: str, *, below: Path | None = None) -> Path:
        """Return the file that a page means by `name`, below `below` (else the project's folder). Raises NotFound."""
        root = self.root if below is None else below
        try:
            path = (root / name).resolve()
            is_there = path.is_file()
        except (OSError, ValueError):  # a name that no disk takes
            path, is_there = root, False
        if not is_there or not any(path.is_relative_to(place) for place in self.places):
            raise NotFound(
                Problem(
                    name[:200], "no such file in this project", "a file of the project", "Reload the page."
                )
            )
        return path


@dataclass(frozen=True, kw_only=True)
class _File:
    projects: tuple[str, ...] = ()


class Workspace:
    """The opened projects of this user; several studios may share it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = (folder or state_folder()) / NAME
        self._lock = threading.Lock()

    def projects(self) -> list[Project]:
        """Return the opened projects that are still there, the latest first."""
        return [project for path in self._paths() if (project := _project_at(path)) is not None]

    def project(self, key: str) -> Project:
        """Return an opened project. Raises NotFound."""
        for project in self.projects():
            if project.key == key:
                return project
        raise NotFound(
            Problem(key[:80], "no opened project", "a project of this list", "Open it from the home page.")
        )

    def open(self, folder: Path) -> Project:
        """Open a project's folder: it stands first in the list from now on. Raises ConfigError where it is none."""
        try:
            path = folder.expanduser().resolve()
            project = _project_at(path)
        except (OSError, ValueError, RuntimeError):  # what no disk can have, or a stranger's home
            path, project = folder, None
        if project is None:
            given = "no such folder" if not _is_folder(path) else f"a folder without {CONFIG_NAME}"
            raise ConfigError(
                Problem(
                    str(folder)[:300], given, "a project's folder", "maquette init makes one from pictures."
                )
            )
        with self._lock:
            self._write([path, *(each for each in self._paths() if each != path)])
        return project

    def close(self, key: str) -> None:
        """Take a project from the list; nothing of it is touched."""
        with self._lock:
            self._write([path for path in self._paths() if _key_of(path) != key])

    def _paths(self) -> list[Path]:
        if not self._file.is_file():
            return []
        return [Path(path) for path in read_as(_File, self._file, _KIND).projects]

    def _write(self, paths: Sequence[Path]) -> None:
        write_json(self._file, {"projects": [str(path) for path in paths[:MOST_PROJECTS]]})


@lru_cache(maxsize=64)
def _dataset_of(root: Path, changed_ns: int, size: int, inode: int) -> DatasetSettings:
    """Return what a project's settings say of its pictures; read once for the thousands of pictures that a page asks for."""
    return load_settings(root).dataset


def _project_at(path: Path) -> Project | None:
    return Project(key=_key_of(path), root=path) if (path / CONFIG_NAME).is_file() else None


def _key_of(path: Path) -> str:
    return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False

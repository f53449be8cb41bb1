"""Which pictures a folder holds: its own and those of the folders below, hidden ones and chosen sets left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.config import OTHER_PICTURE_EXTENSIONS, PICTURE_EXTENSIONS
from maquette.dataset.folders import odd_names, own_folder
from maquette.dataset.mask_files import without_masks
from maquette.dataset.unread import said_of_unread
from maquette.errors import DatasetError, Problem

MANIFEST_NAME = "curation-set.json"
"""Marks a folder that `--apply` made: copies of pictures, not pictures to choose from."""


@dataclass(frozen=True)
class Heap:
    """The pictures to choose from."""

    directory: Path
    names: tuple[str, ...]
    """Paths below the directory with `/`, sorted."""
    others: tuple[str, ...] = ()
    """Pictures and videos of kinds that are not read."""

    def path(self, name: str) -> Path:
        return self.directory / name


def list_heap(directory: Path, *, without: Iterable[Path] = ()) -> Heap:
    """Return the pictures in `directory` and below; `without` names pictures and folders to leave out.

    Raises DatasetError when there is no such folder or no picture in it.
    """
    if not directory.is_dir():
        raise DatasetError(_missing(directory))
    if (problem := own_folder(directory)) is not None:
        raise DatasetError(problem)
    left_out = {path.resolve() for path in without} - {directory.resolve()}
    names, others = [], []
    for path in without_masks(_files(directory, left_out)):
        suffix = path.suffix.lower()
        if suffix in PICTURE_EXTENSIONS:
            names.append(path.relative_to(directory).as_posix())
        elif suffix in OTHER_PICTURE_EXTENSIONS:
            others.append(path.relative_to(directory).as_posix())
    if odd := odd_names(directory / name for name in names):
        raise DatasetError(odd)
    if others:
        stems = {Path(name).with_suffix("") for name in names}
        others = [name for name in others if Path(name).with_suffix("") not in stems]
    if not names:
        raise DatasetError(_empty(directory, others))
    return Heap(directory, tuple(sorted(names)), tuple(sorted(others)))


def list_references(places: Sequence[Path]) -> list[Path]:
    """Return the reference pictures at `places` (pictures, or folders of them), each once, sorted within a folder.

    Raises DatasetError naming every place that holds none.
    """
    found: list[Path] = []
    problems = []
    for place in places:
        if place.is_file() and place.suffix.lower() in PICTURE_EXTENSIONS:
            found.append(place)
        elif place.is_dir() and (inside := sorted(_pictures(place))):
            found += inside
        else:
            problems.append(
                Problem(
                    str(place),
                    "no picture" if place.exists() else "no such file or folder",
                    "pictures that show who the subject is, from several sides",
                    "Give a folder of five or more clear pictures with --references.",
                )
            )
    if problems:
        raise DatasetError(problems)
    return list({path.resolve(): path for path in found}.values())


def _pictures(folder: Path) -> Iterator[Path]:
    files = without_masks(_files(folder, set()))
    return (path for path in files if path.suffix.lower() in PICTURE_EXTENSIONS)


def _files(directory: Path, left_out: set[Path]) -> Iterator[Path]:
    """Yield visible files; folders that are links are not followed, so that no circle is walked."""
    for place, folders, files in os.walk(directory):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and (here / name).resolve() not in left_out
            and not (here / name / MANIFEST_NAME).exists()
        )
        for name in sorted(files):
            path = here / name
            if not name.startswith(".") and (not left_out or path.resolve() not in left_out):
                yield path


def _missing(directory: Path) -> Problem:
    return Problem(
        str(directory),
        "a file" if directory.exists() else "no such folder",
        "a folder of pictures",
        "Check the path. A video is given with --video, and the folder that receives its frames here.",
    )


def _empty(directory: Path, others: Sequence[str]) -> Problem:
    kinds = ", ".join(sorted(PICTURE_EXTENSIONS))
    hint = f" {said_of_unread(directory, [directory / name for name in others])}" if others else ""
    return Problem(
        str(directory), "no pictures", f"at least one ({kinds})", f"Add pictures or correct the path.{hint}"
    )

"""What one folder holds, and which folders of a dataset are looked into: N_name/ children, N_name, flat."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from maquette.dataset.config import (
    FOLDER_CAPTION_EXTENSION,
    OTHER_PICTURE_EXTENSIONS,
    PICTURE_EXTENSIONS,
    TOML_CAPTION_EXTENSION,
    SubsetOptions,
    SubsetSource,
)
from maquette.dataset.mask_files import masks_beside
from maquette.errors import Problem, nearest
from maquette.kohya.dataset_toml import CONFIG_SUFFIXES
from maquette.project.request import Trainer
from maquette.reading import is_writable

SET_ASIDE_NAMES = (
    "reject",
    "backup",
    "bak",
    "original",
    "old",
    "trash",
    "unused",
    "sample",
    "excluded",
    "discard",
    "review",
)
"""Beginnings of folder names that say themselves that they are not for training."""
OWN_FOLDERS = frozenset({".maquette", ".curation"})
"""Folders that Maquette keeps beside pictures: histories with what was set aside, contact sheets and thumbnails."""


@dataclass(frozen=True)
class Listing:
    """The visible entries of one folder, sorted by name."""

    path: Path
    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Why it cannot be opened, and what in it is no file."""

    @cached_property
    def pictures(self) -> tuple[Path, ...]:
        """Its pictures, without the masks of such."""
        return tuple(path for path in self.with_endings(PICTURE_EXTENSIONS) if path not in self.masks)

    @cached_property
    def masks(self) -> Mapping[Path, Path]:
        """The masks among its files, each with the picture that it belongs to."""
        return masks_beside(self.with_endings(PICTURE_EXTENSIONS), self.files)

    def pictures_for(self, trainer: Trainer) -> tuple[Path, ...]:
        """Return the pictures that `trainer` finds; sd-scripts looks for .jpg and .JPG, and on Windows alone for .Jpg too.

        It knows no names of masks: what lies among the pictures is one of them.
        """
        if trainer != "sd-scripts":
            return self.pictures
        every = self.with_endings(PICTURE_EXTENSIONS)
        if os.name == "nt":
            return every
        return tuple(path for path in every if path.suffix in (path.suffix.lower(), path.suffix.upper()))

    def unread_by(self, trainer: Trainer) -> tuple[Path, ...]:
        """Return pictures and films that `trainer` does not read, by kind or by name; those converted already left out."""
        read = self.pictures_for(trainer)
        others = {*self.with_endings(OTHER_PICTURE_EXTENSIONS), *self.pictures} - {*read}
        stems = {path.stem for path in read}
        return tuple(path for path in self.files if path in others and path.stem not in stems)

    def with_endings(self, endings: frozenset[str]) -> tuple[Path, ...]:
        """Return its files with one of these endings, in upper or lower case."""
        return tuple(path for path in self.files if path.suffix.lower() in endings)


def list_folder(folder: Path) -> Listing:
    """Return what a folder holds, without hidden entries."""
    try:
        entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=str)
        folders = tuple(path for path in entries if path.is_dir())
        files = tuple(path for path in entries if path.is_file() or (path.is_symlink() and not path.is_dir()))
    except OSError as error:
        given = f"cannot be opened ({error.strerror})"
        problem = Problem(str(folder), given, "a readable folder", "Check its permissions.")
        return Listing(folder, problems=(problem,))
    strange = sorted(set(entries) - {*folders, *files})
    return Listing(
        folder,
        folders,
        files,
        tuple(Problem(str(path), "a device, pipe or socket", "a file", "Remove it.") for path in strange),
    )


def maquette_subsets(
    listing: Listing, options: SubsetOptions, *, is_regularization: bool = False
) -> list[SubsetSource]:
    """Return what Maquette takes from a folder: its N_name children, else itself, N_name or flat.

    Some may ask for no repeats. Pictures without a caption take the name of their N_name folder in regularization only.
    """
    own = re.fullmatch(r"(\d+)_(.+)", listing.path.resolve().name)
    alone = (listing.path, int(own[1]) if own else options.num_repeats, own[2] if own else "")
    return [
        SubsetSource(
            path=path,
            num_repeats=repeats,
            is_regularization=is_regularization,
            class_tokens=(is_regularization and name) or None,
            caption_extension=with_dot(options.caption_extension or FOLDER_CAPTION_EXTENSION),
            options=options,
        )
        for path, repeats, name in _prefixed(listing.folders) or [alone]
    ]


def kohya_subsets(
    listing: Listing, options: SubsetOptions, *, is_regularization: bool = False
) -> list[SubsetSource]:
    """Return what sd-scripts takes from --train_data_dir: N_name children, whose names also caption the uncaptioned."""
    return [
        SubsetSource(
            path=path,
            num_repeats=repeats,
            is_regularization=is_regularization,
            class_tokens=name,
            caption_extension=with_dot(options.caption_extension or TOML_CAPTION_EXTENSION),
            options=replace(options, num_repeats=repeats),
        )
        for path, repeats, name in _prefixed(listing.folders)
    ]


def _prefixed(folders: Iterable[Path]) -> list[tuple[Path, int, str]]:
    prefixes = [(folder, prefix_of(folder.name)) for folder in folders]
    return [(folder, *prefix) for folder, prefix in prefixes if prefix is not None]


def prefix_of(name: str) -> tuple[int, str] | None:
    """Return (repeats, class tokens) of a folder named N_name, None for any other name."""
    number, _, tokens = name.partition("_")
    try:
        return int(number), tokens
    except ValueError:
        return None


def is_set_aside(folder: Path) -> bool:
    """Return whether a folder's name says itself that it is not for training."""
    name = folder.name.lower()
    return name.startswith("_") or name.startswith(SET_ASIDE_NAMES)


def own_folder(path: Path) -> Problem | None:
    """Return the problem of a path in one of Maquette's own folders, whose pictures are none to train on; else None."""
    parts = path.absolute().parts
    index = next((index for index, part in enumerate(parts) if part in OWN_FOLDERS), None)
    if index is None:
        return None
    given = f"Maquette's own folder {parts[index]}: contact sheets, thumbnails and what was set aside"
    return Problem(
        str(path), given, "a folder of pictures", f"Give the folder of pictures: {Path(*parts[:index])}"
    )


def meant_prefix(name: str) -> str | None:
    """Return N_name for a folder whose name has a space, dot or hyphen where the underscore belongs; else None."""
    found = re.fullmatch(r"(\d{1,3})\s*[ .-]\s*([^\W\d].*)", name)
    return f"{found[1]}_{found[2]}" if found and prefix_of(name) is None else None


def unusable_root(root: Path, *, is_regularization: bool = False) -> Problem | None:
    """Return why nothing can be looked for at `root`, or None for a folder or (not of regularization) a dataset TOML."""
    if (problem := own_folder(root)) is not None:
        return problem
    try:
        if root.is_dir():
            return None
        if not root.exists():
            return missing_folder(root)
    except OSError as error:
        given = f"cannot be opened ({error.strerror})"
        return Problem(str(root), given, "a readable folder", "Check its permissions.")
    if root.suffix.lower() in CONFIG_SUFFIXES:
        return _file_for_folder(root) if is_regularization else None
    is_picture = root.suffix.lower() in PICTURE_EXTENSIONS
    remedy = f"Give its folder: {root.parent}" if is_picture else "Give a folder."
    return Problem(str(root), "a file", "a folder of pictures or a kohya dataset TOML", remedy)


def _file_for_folder(root: Path) -> Problem:
    remedy = "List regularization folders in the dataset TOML with is_reg = true."
    return Problem(str(root), "a file given as regularization folder", "a folder", remedy)


def missing_folder(path: Path) -> Problem:
    """Return the problem of a folder that does not exist, with the name that may have been meant."""
    try:
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        beside = []
    guess = nearest(path.name, beside)
    remedy = f"Did you mean '{path.parent / guess}'?" if guess else "Check the path."
    return Problem(str(path), "no such folder", "a folder of pictures or a kohya dataset TOML", remedy)


def with_dot(extension: str) -> str:
    """Return a file name's ending with its dot."""
    return extension if extension.startswith(".") else f".{extension}"


def names_of(paths: Sequence[Path]) -> str:
    """Return up to three names and how many more."""
    shown = ", ".join(path.name for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown


def odd_names(paths: Iterable[Path]) -> list[Problem]:
    """Return a problem for each name that is no UTF-8: a record of pictures is text, and no text can hold it."""
    return [
        Problem(
            str(path),
            "its name is not UTF-8",
            "a name that text can hold",
            "Rename it, and its caption with it.",
        )
        for path in paths
        if not is_writable(str(path))
    ]

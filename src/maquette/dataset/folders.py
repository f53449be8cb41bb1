"""Which folders of a dataset hold pictures, and how often they are shown: N_name/ children, N_name, flat."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from maquette.dataset.config import FOLDER_CAPTION_EXTENSION, PICTURE_EXTENSIONS, SubsetOptions, SubsetSource
from maquette.errors import Problem, nearest
from maquette.events import Message

SURPRISING_REPEATS = 500


@dataclass
class Notes:
    """What was found while reading: problems stop the run together, warnings go along with the result."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Message] = field(default_factory=list)

    def problem(self, where: object, given: str, required: str, remedy: str) -> None:
        self.problems.append(Problem(str(where), given, required, remedy))

    def warn(self, text: str) -> None:
        self.warnings.append(Message(text, "warning"))


@dataclass(frozen=True)
class Listing:
    """The visible entries of one folder, sorted by name."""

    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def pictures(self) -> tuple[Path, ...]:
        return tuple(path for path in self.files if path.suffix.lower() in PICTURE_EXTENSIONS)


def list_folder(folder: Path, notes: Notes) -> Listing:
    """Return what a folder holds, without hidden entries; an unreadable folder becomes a problem."""
    try:
        entries = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=str)
        folders = tuple(path for path in entries if path.is_dir())
        files = tuple(path for path in entries if path.is_file() or (path.is_symlink() and not path.is_dir()))
    except OSError as error:
        notes.problem(
            folder, f"cannot be opened ({error.strerror})", "a readable folder", "Check its permissions."
        )
        return Listing()
    for path in sorted(set(entries) - {*folders, *files}):
        notes.problem(path, "a device, pipe or socket", "a file", "Remove it.")
    return Listing(folders, files)


def folder_subsets(
    root: Path,
    options: SubsetOptions,
    notes: Notes,
    *,
    is_regularization: bool = False,
    folder_name_captions: bool = False,
) -> list[SubsetSource]:
    """Return the subsets under `root`: its N_name children as sd-scripts reads them, else `root` itself.

    With N_name children nothing else under `root` counts, and every picture that is left out is said in a
    warning.
    """
    listing = list_folder(root, notes)
    prefixed = [(path, prefix_of(path.name)) for path in listing.folders]
    children = [(path, *prefix) for path, prefix in prefixed if prefix is not None]
    if children:
        if listing.pictures:
            notes.warn(
                f"{root}: {len(listing.pictures)} pictures beside {children[-1][0].name} are not used. "
                "Move them into it if they belong there."
            )
        chosen = [child for child in children if child[1] >= 1]
        for path, repeats, _ in children:
            if repeats < 1:
                notes.warn(f"{path} is not used: its name asks for {repeats} repeats.")
    else:
        own = re.fullmatch(r"(\d+)_(.+)", root.resolve().name)
        if own and int(own[1]) < 1:
            notes.warn(f"{root} is not used: its name asks for {own[1]} repeats.")
            return []
        chosen = [(root, int(own[1]) if own else options.num_repeats, own[2] if own else "")]
    if children:
        warn_of_folders_below([path for path, prefix in prefixed if prefix is None], notes)
    if options.num_repeats != 1 and any(name for _, _, name in chosen):
        notes.warn(
            f"{root}: repeats come from folder names like {chosen[0][0].name}, "
            f"so the {options.num_repeats} repeats given have no effect."
        )
    for path, repeats, _ in chosen:
        if repeats > SURPRISING_REPEATS:
            notes.warn(
                f"{path}: the number in its name makes every epoch show each picture {repeats:,} times."
            )
    return [
        SubsetSource(
            path=path,
            num_repeats=repeats,
            is_regularization=is_regularization,
            class_tokens=name if name and (folder_name_captions or is_regularization) else None,
            caption_extension=with_dot(options.caption_extension or FOLDER_CAPTION_EXTENSION),
            options=options,
        )
        for path, repeats, name in chosen
    ]


def prefix_of(name: str) -> tuple[int, str] | None:
    """Return (repeats, class tokens) of a folder named N_name, None for any other name."""
    number, _, tokens = name.partition("_")
    try:
        return int(number), tokens
    except ValueError:
        return None


def keep_first(subsets: Iterable[SubsetSource], notes: Notes) -> list[SubsetSource]:
    """Return the subsets that train: no repeats below 1, no folder twice in a dataset (the first wins)."""
    kept: dict[tuple[int, Path], SubsetSource] = {}
    for subset in subsets:
        key = (subset.dataset, subset.path.resolve())
        if subset.num_repeats < 1:
            notes.warn(f"{subset.path} is not used: num_repeats is {subset.num_repeats}.")
        elif key in kept:
            notes.warn(
                f"{subset.path} is listed twice: the first counts, with {kept[key].num_repeats} repeats; "
                f"the second's {subset.num_repeats} have no effect."
            )
        else:
            kept[key] = subset
    return list(kept.values())


def missing_folder(path: Path) -> Problem:
    """Return the problem of a folder that does not exist, with the name that may have been meant."""
    try:
        guess = (
            nearest(path.name, [other.name for other in path.parent.iterdir()])
            if path.parent.is_dir()
            else None
        )
    except OSError:
        guess = None
    remedy = f"Did you mean '{path.parent / guess}'?" if guess else "Check the path."
    return Problem(str(path), "no such folder", "a folder of pictures or a kohya dataset TOML", remedy)


def with_dot(extension: str) -> str:
    """Return a file name's ending with its dot."""
    return extension if extension.startswith(".") else f".{extension}"


def warn_of_folders_below(folders: Iterable[Path], notes: Notes) -> None:
    """Say which pictures lie in folders that nobody searches."""
    for folder in folders:
        count = len(list_folder(folder, Notes()).pictures)
        if count:
            notes.warn(
                f"{folder}: its {count} pictures are not used. Folders are not searched below, "
                "except those named like 10_name directly in the folder given."
            )

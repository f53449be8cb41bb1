"""Which of the files that a person drops are taken, and under which names: nothing of a name decides where it lands.

Pictures and their captions are taken. A folder N_name keeps its name, since it says how often its pictures are shown; of other
folders the names go in front of the files', so that all lie in one folder as training wants them. A picture and its caption
stay a pair.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maquette.dataset.config import PICTURE_EXTENSIONS
from maquette.dataset.folders import prefix_of
from maquette.dataset.opening import MAX_PICTURE_BYTES
from maquette.errors import ConfigError, Problem
from maquette.spoken import disk_size

CAPTION = ".txt"
MOST_FILES = 20_000
MOST_BYTES = 32 << 30
LARGEST_CAPTION_BYTES = 1 << 20
LONGEST_STEM = 100
LONGEST_NAME = 1000
RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10))}
)
_ODD = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
_DRIVE = re.compile(r"^[A-Za-z]:")


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """One file that is taken."""

    index: int
    """Its place in the list that the page sent."""
    name: str
    """Where it will lie below the folder of pictures, with `/`."""
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is taken of a list of files, and what is not."""

    taken: tuple[Incoming, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """Names with the reason."""

    @property
    def num_bytes(self) -> int:
        return sum(each.num_bytes for each in self.taken)


def select(files: Sequence[tuple[str, int]]) -> Selection:
    """Return what is taken of files with these names and sizes. Raises ConfigError for more than one project holds."""
    if len(files) > MOST_FILES:
        given = f"{len(files):,} files"
        remedy = "Choose a smaller folder, or type the folder's path: then its pictures stay where they are."
        raise ConfigError(Problem("files", given, f"at most {MOST_FILES:,}", remedy))
    left_out: list[tuple[str, str]] = []
    found: list[tuple[int, _Place, int]] = []
    for index, (name, size) in enumerate(files):
        place = _place_of(name)
        reason = _why_not(place, size) if isinstance(place, _Place) else place
        if reason:
            left_out.append((name[:LONGEST_NAME], reason))
        elif isinstance(place, _Place):
            found.append((index, place, size))
    pictures = {place.pair for _, place, _ in found if place.suffix != CAPTION}
    lone = [each for each in found if each[1].pair not in pictures]
    left_out += [(files[index][0], "no picture of that name beside it") for index, _, _ in lone]
    stems = _free_stems(pictures)
    taken: dict[str, Incoming] = {}
    for index, place, size in found:
        if place.pair not in pictures:
            continue
        folder, stem = stems[place.pair]
        name = f"{folder}/{stem}{place.suffix}" if folder else f"{stem}{place.suffix}"
        if name in taken:
            left_out.append((files[index][0], "given twice"))
        else:
            taken[name] = Incoming(index=index, name=name, num_bytes=size)
    chosen = Selection(taken=tuple(taken.values()), left_out=tuple(left_out))
    if chosen.num_bytes > MOST_BYTES:
        given = disk_size(chosen.num_bytes)
        remedy = "Type the folder's path instead: then its pictures stay where they are."
        raise ConfigError(Problem("files", given, f"at most {disk_size(MOST_BYTES)}", remedy))
    return chosen


@dataclass(frozen=True)
class _Place:
    """A name taken apart."""

    folder: str
    """The folder N_name that it lies in, or none."""
    path: str
    """Everything before its ending, as it was named: what a picture and its caption have in common."""
    stem: str
    suffix: str

    @property
    def pair(self) -> tuple[str, str, str]:
        return self.folder, self.path, self.stem


def _place_of(name: str) -> _Place | str:
    """Return where a file belongs, or why it is not taken."""
    if len(name) > LONGEST_NAME:
        return "its name is too long"
    parts = re.split(r"[\\/]", name)
    if "\0" in name or _DRIVE.match(name) or ".." in parts or not all(part.strip(" .") for part in parts):
        return "its name leads elsewhere"
    if any(part.startswith(".") for part in parts):
        return "hidden"
    *folders, file = parts
    stem, dot, ending = file.rpartition(".")
    if not dot:
        return "neither a picture nor a caption"
    kept = next((at for at in reversed(range(len(folders))) if _is_counted(folders[at])), None)
    below = folders[kept + 1 :] if kept is not None else folders[1:]
    folder = plain_name(folders[kept]) if kept is not None else ""
    path = "/".join([*folders, stem])
    return _Place(folder, path, plain_name("-".join([*below, stem])), f".{ending.lower()}")


def _is_counted(folder: str) -> bool:
    found = prefix_of(folder)
    return found is not None and bool(found[1])


def _why_not(place: _Place, size: int) -> str:
    if place.suffix != CAPTION and place.suffix not in PICTURE_EXTENSIONS:
        return "neither a picture nor a caption"
    if size <= 0:
        return "empty"
    if place.suffix == CAPTION:
        return "too large for a caption" if size > LARGEST_CAPTION_BYTES else ""
    if size > MAX_PICTURE_BYTES:
        return f"larger than {disk_size(MAX_PICTURE_BYTES)}"
    return ""


def plain_name(text: str) -> str:
    """Return a name that every disk takes and that no shell or page reads as something else."""
    text = _ODD.sub("_", unicodedata.normalize("NFC", text)).strip(" .")
    text = "".join(letter if letter.isprintable() else "_" for letter in text)
    while len(text.encode()) > 2 * LONGEST_STEM or len(text) > LONGEST_STEM:
        text = text[:-1]
    text = text.strip(" .") or "_"
    return f"_{text}" if text.lower().partition(".")[0] in RESERVED else text


def _free_stems(pairs: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Give each pair of a picture and its caption a name of its own, capitals aside."""
    used: set[tuple[str, str]] = set()
    found = {}
    for pair in sorted(pairs):
        folder, _, stem = pair
        name, number = stem, 1
        while (folder.lower(), name.lower()) in used:
            number += 1
            name = f"{stem}-{number}"
        used.add((folder.lower(), name.lower()))
        found[pair] = folder, name
    return found

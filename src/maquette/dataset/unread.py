"""Pictures that lie in a dataset and are not read: what each is, why not, and what its owner can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from maquette.dataset.config import PICTURE_EXTENSIONS
from maquette.dataset.folders import names_of
from maquette.dataset.kinds import Kind, kind_at, kind_of_name
from maquette.dataset.opening import CONVERTED_FORMATS, READ_FORMATS, opened
from maquette.errors import DatasetError

ENDINGS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp", "BMP": ".bmp"}


@dataclass(frozen=True)
class Unread:
    """Pictures of one folder that are not read for one reason."""

    paths: tuple[Path, ...]
    what: str
    """Completes "a.heic …": `is a HEIC picture, which no trainer reads.`"""
    remedy: str
    can_convert: bool = False
    """A PNG of each can be written beside it here and now."""
    new_name: str = ""
    """The ending under which they would be read as they are."""

    @property
    def said(self) -> str:
        """One sentence, names first, and what to do."""
        return f"{names_of(self.paths)} {self.what} {self.remedy}"


def unread_in(folder: Path, paths: Iterable[Path], trainer: str = "maquette") -> list[Unread]:
    """Return the unread pictures of `folder` by what is the matter with them, most frequent first."""
    groups: dict[tuple[str, str, bool, str], list[Path]] = {}
    for path in paths:
        groups.setdefault(_reason(folder, path, trainer), []).append(path)
    found = [_worded(tuple(members), *reason) for reason, members in groups.items()]
    return sorted(found, key=lambda group: -len(group.paths))


def said_of_unread(folder: Path, paths: Sequence[Path], trainer: str = "maquette") -> str:
    """Return the same in one text; empty for none."""
    return " ".join(group.said for group in unread_in(folder, paths, trainer))


def _reason(folder: Path, path: Path, trainer: str) -> tuple[str, str, bool, str]:
    """Return (what it is, remedy, whether it can be converted here, ending that it lacks)."""
    kind = kind_at(path)
    if kind.format in READ_FORMATS:
        ending = path.suffix.lower() if path.suffix.lower() in PICTURE_EXTENSIONS else ENDINGS[kind.format]
        return f"{kind.given} under an ending that {_who(trainer)} not look for", "", False, ending
    kind = kind if kind.is_known else kind_of_name(path)
    if kind.format not in CONVERTED_FORMATS:
        return kind.given, kind.remedy, False, ""
    again = f"`maquette check {folder} --fix` writes a PNG beside each and keeps the originals."
    if kind.extra and find_spec("pi_heif") is None:
        return kind.given, f"First: pip install 'maquette[{kind.extra}]'. Then {again}", False, ""
    return kind.given, *_convertible(path, kind, again), ""


def _convertible(path: Path, kind: Kind, again: str) -> tuple[str, bool]:
    """Return the remedy, and whether conversion can begin: a file whose header is unfit cannot be converted."""
    try:
        with opened(path, formats=(kind.format,)):
            return again, True
    except DatasetError as error:
        problem = error.problems[0]
        return f"It cannot be converted, being {problem.given}. {problem.remedy}", False


def _who(trainer: str) -> str:
    return "sd-scripts on Linux does" if trainer == "sd-scripts" else "trainers do"


def _worded(paths: tuple[Path, ...], given: str, remedy: str, can_convert: bool, ending: str) -> Unread:
    one = len(paths) == 1
    if ending:
        what = f"{'is' if one else 'are each'} {given}, and not read."
        return Unread(paths, what, f"Rename {'it' if one else 'each'} to end in {ending}.", new_name=ending)
    what = f"{'is' if one else 'are each'} {given}, and not read: only PNG, JPEG, WebP and BMP pictures are."
    return Unread(paths, what, remedy, can_convert)

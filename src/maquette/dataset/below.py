"""Where pictures lie below a folder that holds none itself: the layout of a trainer's own program, or a parent given for it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.folders import Listing, is_set_aside, list_folder, prefix_of

DEPTH = 4
"""Folders below the one that was given: `all/mk/img/10_mkvi` from `all`."""
MOST_FOLDERS = 2_000
"""Folders that are looked into, so that a whole disk given by mistake costs no minute."""
CLASS_NAME = re.compile(r"regs?|regulari[sz]ation|reg[_-].*|class|class[_-]?(images|pictures)", re.IGNORECASE)
"""Names that folders of regularization pictures have."""


@dataclass(frozen=True)
class PicturesBelow:
    """A folder that could have been given."""

    path: Path
    count: int
    regularization: Path | None = None
    """The folder beside it with pictures of the class, as kohya_ss lays it: img, reg, log, model."""


def pictures_below(root: Path) -> tuple[PicturesBelow, ...]:
    """Return the datasets below `root`, nearest first; none where it holds pictures itself. Never raises."""
    found = [(path, count) for path, count in _datasets(root) if path != root]
    of_class = {path.parent: path for path, _ in found if CLASS_NAME.fullmatch(path.name)}
    subjects = [(path, count) for path, count in found if path not in of_class.values()]
    return tuple(PicturesBelow(path, count, of_class.get(path.parent)) for path, count in subjects or found)


def places(found: Sequence[PicturesBelow]) -> str:
    """Return the first three folders with what they hold: `mk/img (8 pictures)`."""
    shown = ", ".join(
        f"{each.path} ({each.count:,} {'picture' if each.count == 1 else 'pictures'})" for each in found[:3]
    )
    return f"{shown} and {len(found) - 3} more" if len(found) > 3 else shown


def advice(found: Sequence[PicturesBelow]) -> str:
    """Return what to do: give the folder that holds them, or one of several."""
    return f"Give {found[0].path}." if len(found) == 1 else "Give the one that is meant."


def _datasets(root: Path) -> Iterator[tuple[Path, int]]:
    """Yield each folder that holds pictures, or folders named N_name with pictures, and how many; not what is below those."""
    waiting = deque([(root, 0)])
    seen: set[Path] = set()
    while waiting and len(seen) < MOST_FOLDERS:
        folder, depth = waiting.popleft()
        seen.add(folder)
        listing = list_folder(folder)
        count = _pictures_of(listing)
        if count:
            yield folder, count
        elif depth < DEPTH:
            below = [each for each in listing.folders if not each.is_symlink() and not is_set_aside(each)]
            waiting += [(each, depth + 1) for each in below]


def _pictures_of(listing: Listing) -> int:
    """Return how many pictures a trainer would take of a folder: those of its N_name folders, else its own."""
    numbered = [each for each in listing.folders if (prefix_of(each.name) or (0, ""))[0] > 0]
    return sum(len(list_folder(each).pictures) for each in numbered) or len(listing.pictures)

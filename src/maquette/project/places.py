"""Whether a path that somebody wrote means a place on another computer."""

from __future__ import annotations

import os
import re
from pathlib import Path

WINDOWS_DRIVE = re.compile(r"[A-Za-z]:(?:[\\/]|$)")
HOMES_ELSEWHERE = re.compile(
    r"/(?:mnt/[a-z]|content|kaggle|workspace|runpod-volume|notebooks|Users/[^/]+|home/[^/]+)(?=/|$)"
)
"""Where Windows' drives, rented machines, notebooks and other people's folders lie."""


def is_of_another_computer(text: str) -> bool:
    """Return whether `text` names a place that this computer cannot have: a drive, or a home that is not here."""
    if os.name != "nt" and (WINDOWS_DRIVE.match(text) or text.startswith("\\\\")):
        return True
    home = HOMES_ELSEWHERE.match(text)
    return home is not None and not Path(home[0]).exists()


def found_path(path: Path, file: Path) -> Path | None:
    """Return where a path that `file` names lies here: from the working folder, else beside the file; None: nowhere."""
    given = path.expanduser()
    places = [given] if given.is_absolute() else [given, file.parent / given]
    if "\\" in str(path):
        places += [Path(str(place).replace("\\", "/")) for place in places]
    return next((place for place in places if place.exists()), None)

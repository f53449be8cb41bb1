"""What a file's name says of how it came about: an original, or a copy that a file manager or a browser made."""

from __future__ import annotations

import re
from pathlib import PurePath

COPY_WORDS = r"copy|copie|kopie|copia|cópia|kopia|kopi|копия|コピー|副本|拷贝|duplicate"
COPY_NAME = re.compile(
    rf"(?:^|[^\w]|_)(?:{COPY_WORDS})(?:$|[^\w]|_)"  # Copy of fox, fox - Kopie, fox_copy2
    rf"|(?:^|[^\w]|_)(?:{COPY_WORDS})[ _-]?\d+$"
    r"|(?:のコピー|的副本|副本)$"
    r"|\(\d{1,3}\)$"  # fox (1): the same download again
    r"|\s\d{1,2}$"  # fox 2: macOS
    r"|~\d*$",
    re.IGNORECASE,
)


def is_named_like_a_copy(path: PurePath | str) -> bool:
    """Return whether a file's name says that it is a copy: `fox (1).png`, `Copy of fox.png`, `fox - Kopie.png`."""
    return COPY_NAME.search(PurePath(path).stem) is not None


def name_rank(path: PurePath | str) -> tuple[bool, str]:
    """Return a key that sorts the better of several names for one content first."""
    return is_named_like_a_copy(path), str(path)

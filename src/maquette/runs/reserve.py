"""A little room on the disk that a run keeps, so that its record can say how it ended when the disk is full."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SPARE_BYTES = 1 << 16
"""Beside the record itself: a few lines of events and of the log."""


class Reserve:
    """Takes the room of a record once more, until it is given back."""

    def __init__(self, path: Path, record: Path) -> None:
        """Take it at `path`. Where there is no room for it now, there is none to keep."""
        self.path = path
        with suppress(OSError):
            # Random bytes: a disk that packs its files would keep no room for zeros.
            path.write_bytes(os.urandom(record.stat().st_size + SPARE_BYTES))

    def give_back(self) -> None:
        """Let the room be used."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

"""Where a run's LoRAs were installed: RUN/deliveries.jsonl, a line each, written when it happened.

A file of its own, since the record belongs to whoever trains the run.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maquette.files import append_line
from maquette.reading import Unreadable, read_lines
from maquette.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """One installation."""

    program: str
    lora: str
    """The file in the program's folder."""
    lora_name: str
    sha256: str
    weights: str
    """Which weights of the run they are, in words."""
    strength: str
    workflow: str = ""
    prompts: str = ""
    time: str = ""
    source_sha256: str = ""
    """Of the run's own file; the installed one says more in its metadata."""

    def is_of(self, sha256: str) -> bool:
        """Whether it is the run's file with this hash that was installed."""
        return sha256 in (self.sha256, self.source_sha256)

    @property
    def is_there(self) -> bool:
        """Whether the file still lies where it was installed."""
        return Path(self.lora).is_file()


def note_delivery(folder: RunFolder, delivered: Delivered) -> bool:
    """Append an installation; return whether that was possible (the run may lie on a read-only disk)."""
    stamped = asdict(delivered) | {"time": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        append_line(folder.deliveries, stamped)
    except OSError:
        return False
    return True


def read_deliveries(folder: RunFolder) -> list[Delivered]:
    """Return the run's installations, of each file the last one; lines that say something else are passed over."""
    names = {each.name for each in fields(Delivered)}
    found: dict[str, Delivered] = {}
    for line in _lines(folder):
        if line.keys() <= names and all(isinstance(value, str) for value in line.values()) and "lora" in line:
            found[line["lora"]] = Delivered(**(dict.fromkeys(names, "") | line))
    return list(found.values())


def _lines(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the file's lines up to the first that cannot be read."""
    lines: list[dict[str, Any]] = []
    if folder.deliveries.is_file():
        with suppress(Unreadable):
            lines += read_lines(folder.deliveries)
    return lines

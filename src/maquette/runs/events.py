"""The events of a run on the disk, `events.jsonl`: who comes late, or comes back, sees everything that was told.

One JSON object a line (`Event.to_json`), appended and flushed as it is told. Sequence numbers grow over resumes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from maquette.errors import OutputError, Problem
from maquette.events import Event, Stage, Stamps, T, event_from_json, mapped
from maquette.files import LineLog
from maquette.reading import parse_json


class EventLog:
    """Stamps events and appends them to `path`; numbers go on from those that it holds."""

    def __init__(self, path: Path) -> None:
        """Open `path`. A last line that a crash cut off is taken away: what it told was never whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        known = read_events(path)
        self._stamps = Stamps(known[-1].sequence + 1 if known and known[-1].sequence is not None else 0)
        if path.exists():
            os.truncate(path, _whole_bytes(path))
        self._file = LineLog(path)

    def write(self, event: Event) -> Event:
        """Append `event`; return it as it was written, with sequence and time. Raises OutputError."""
        stamped = self._stamps.stamp(event)
        self._file.write(json.dumps(stamped.to_json()).encode())
        return stamped

    def recorded(self, stage: Stage[T]) -> Stage[T]:
        """Yield the events of `stage` as they are written; return its result."""
        return mapped(stage, self.write)

    def close(self) -> None:
        self._file.close()


def read_events(path: Path, *, after: int = -1) -> list[Event]:
    """Return the events at `path` whose sequence is above `after`, in order; none where there is no file yet.

    A last line that is not finished (it is being written, or a crash cut it off) is left out. Raises OutputError for any
    other line that is no event.
    """
    try:
        whole = path.read_bytes()[: _whole_bytes(path)]
    except FileNotFoundError:
        return []
    events = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            event = event_from_json(parse_json(line, any_text=True))
        except ValueError as error:
            raise OutputError(
                Problem(
                    f"{path}:{number}",
                    f"cannot be read ({error})",
                    "an event of this release",
                    "Read it with the release of Maquette that wrote it, or move the file away.",
                )
            ) from error
        if event.sequence is not None and event.sequence > after:
            events.append(event)
    return events


def _whole_bytes(path: Path) -> int:
    """Return how many bytes of the file are finished lines."""
    return path.read_bytes().rfind(b"\n") + 1

"""What a job or a run tells, from where one came in to its end: nothing is missed and nothing is heard twice.

A job's events stand in the ledger, a run's in its folder; both are numbered, and who comes back goes on after the last number.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Job
from maquette.jobs.settling import MOST_STRIKES, see_to
from maquette.locking import holder_of
from maquette.reading import parse_json
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import read_record

LOOKS_EVERY_S = 0.1
SEES_TO_EVERY_S = 2.0
LONGEST_TAIL_BYTES = 1 << 22
Told = dict[str, Any]
"""One event as plain values: `sequence`, `time`, `event`, its own fields. A job's also tell its `state`."""


def told_by_job(ledger: Ledger, job: int, after: int = -1) -> Iterator[Told | None]:
    """Yield the events of a job after number `after` until it is over; None whenever there is nothing new just now.

    Paused is not over. An interrupted job is, once nobody will try it again.
    """
    seen_to = -SEES_TO_EVERY_S
    while True:
        if (
            time.monotonic() - seen_to >= SEES_TO_EVERY_S
        ):  # a runner that is just starting is not seen at once
            see_to(ledger)
            seen_to = time.monotonic()
        # The state first: what is told after it was read is heard before the end.
        found = ledger.find(job)
        while events := ledger.events(job, after):
            after = int(events[-1]["sequence"])
            yield from events
        if found is None or is_ended(found):
            return
        yield None
        time.sleep(LOOKS_EVERY_S)


def is_ended(job: Job) -> bool:
    """Return whether nothing more will happen to a job by itself."""
    return job.is_over or (job.state == "interrupted" and job.strikes >= MOST_STRIKES)


def told_by_run(run: Path, after: int = -1) -> Iterator[Told | None]:
    """Yield the events of a run's folder likewise, until its record says that it ended, or nobody trains it any more."""
    folder = RunFolder(run)
    lines = Tail(folder.event_log)
    while True:
        is_over = not is_trained(run)
        for line in lines.more():
            event = _event(line)
            if event is not None and event.get("sequence", -1) > after:
                after = event["sequence"]
                yield event
        if is_over:
            yield {"event": "state", "time": time.time(), **state_of_run(run)}
            return
        yield None
        time.sleep(LOOKS_EVERY_S)


def is_trained(run: Path) -> bool:
    """Return whether somebody is at work in a run's folder."""
    return holder_of(run) is not None


def state_of_run(run: Path) -> Told:
    """Return a run's state and error as the words of a job say them."""
    try:
        record = read_record(run)
    except MaquetteError as error:
        return {"state": "interrupted", "error": str(error.problems[0])}
    state = {"finished": "done", "failed": "failed"}.get(record.state, "interrupted")
    return {"state": "running" if is_trained(run) else state, "error": record.error}


def require_run(run: Path) -> Path:
    """Return the folder of a run. Raises ConfigError where it is none."""
    if not (run / RECORD_NAME).is_file() and not RunFolder(run).event_log.is_file():
        given = "no such job or run"
        remedy = "See: maquette queue list, maquette runs FOLDER"
        raise ConfigError(Problem(str(run), given, "the number of a job, or a run's folder", remedy))
    return run


def tail_of(path: Path, most: int) -> list[str]:
    """Return at most the last `most` lines of a text, none of a file that is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return text.splitlines()[-most:]


def log_of_run(run: Path, most: int) -> list[str]:
    """Return the last that a run said: its messages and files, then the traces of its errors."""
    folder = RunFolder(run)
    said = []
    for line in Tail(folder.event_log).more():
        event = _event(line) or {}
        if event.get("event") in ("message", "artifact"):
            said.append(words_of(event))
    return [*said, *tail_of(folder.log, most)][-most:]


def words_of(event: Told) -> str:
    """Return a message or a file that was made as a person reads it."""
    if event.get("event") == "artifact":
        return f"{event.get('kind')}: {event.get('path')}"
    return ("warning: " if event.get("level") == "warning" else "") + str(event.get("text"))


class Tail:
    """The whole lines of a file that grows, each once. A file that is not there yet has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def more(self) -> list[bytes]:
        """Return the lines that came since this was asked last."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.splitlines()


def _event(line: bytes) -> Told | None:
    try:
        value = parse_json(line, any_text=True)
    except ValueError:
        return None
    return value if isinstance(value, dict) and type(value.get("sequence")) is int else None


def as_line(event: Told) -> str:
    """Return an event as one line of JSON."""
    return json.dumps(event)

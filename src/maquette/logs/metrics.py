"""The step-by-step log of a run: `metrics.jsonl` for people and programs, TensorBoard events beside it."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from maquette.errors import MissingExtra
from maquette.files import LineLog, cannot_write, write_atomic
from maquette.logs.lines import LogLines
from maquette.logs.trackers import Trackers
from maquette.reading import parse_json

MOST_STEPS = 1_000_000_000
"""A larger number is no step of a run."""
STEP, VALIDATION = "step", "validation"
"""Kinds of rows. A row that names none is a step's."""


class MetricsLog:
    """Appends one JSON line a step, at once on disk; with `events` the same values as TensorBoard scalars."""

    def __init__(
        self, path: Path, events: Path | None, *, resume_step: int = 0, trackers: Trackers | None = None
    ) -> None:
        """Open `path`; lines after `resume_step` are dropped, since those steps are about to be made again.

        `events` is the folder of TensorBoard's files; None writes none.
        """
        if path.exists():
            kept = [json.dumps(row) for row in read_metrics(path, None) if row["step"] <= resume_step]
            write_atomic(path, "".join(line + "\n" for line in kept))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = LineLog(path)
        self._events = _EventFile(events, resume_step) if events is not None else None
        self.trackers = trackers

    def write(self, step: int, values: Mapping[str, Any], kind: str = STEP) -> None:
        """Append the values of optimizer step `step` (1-based: the number of steps done). Raises OutputError.

        Rows of another kind than a step's say it: `{"step": 200, "kind": "validation", …}`.
        """
        row = {"step": step, **({} if kind == STEP else {"kind": kind}), **values}
        self._file.write(json.dumps(row).encode())
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
        if self._events is not None:
            self._events.scalars(step, numbers)
        if self.trackers is not None:
            self.trackers.log(step, numbers)

    def close(self) -> None:
        """Flush everything to the disk."""
        self._file.close()
        if self._events is not None:
            self._events.close()
        if self.trackers is not None:
            self.trackers.close()

    def troubles(self) -> list[str]:
        """Return what went wrong with trackers since this was asked last."""
        return self.trackers.troubles() if self.trackers is not None else []

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def writes_tensorboard(asked: bool | None) -> bool:
    """Return whether a run writes TensorBoard events: as asked; unasked, where the extra is installed.

    Raises MissingExtra where they are asked for and it is not.
    """
    installed = find_spec("tensorboard") is not None
    if asked and not installed:
        raise MissingExtra("--tensorboard", "tensorboard")
    return installed if asked is None else asked


def read_metrics(path: Path, kind: str | None = STEP) -> list[dict[str, Any]]:
    """Return the rows of one kind (None: of all) in order; a last line cut off by a crash is left out."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            row = _row(line)
            if row is None:
                break
            if kind in (None, row.get("kind", STEP)):
                rows.append(row)
    return rows


def read_rows(path: Path) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the steps' rows of anybody's `metrics.jsonl` within the bounds of a log, and what was left out, in words.

    Lines that are no rows are left out: unlike a run's own, the file may come from anywhere.
    """
    if not path.is_file() or not path.stat().st_size:
        return [], ()
    lines = LogLines(path)
    rows = [row for _, line in lines if (row := _row(line)) is not None and row.get("kind", STEP) == STEP]
    return rows, tuple(lines.skipped)


def _row(line: str) -> dict[str, Any] | None:
    """Return the row of one line: a table with a step; None for anything else."""
    try:
        row = parse_json(line)
    except ValueError:
        return None
    step = row.get("step") if isinstance(row, dict) else None
    is_step = isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= MOST_STEPS
    return row if is_step else None


class _EventFile:
    """TensorBoard's own records, without torch.utils.tensorboard, whose import costs seconds.

    Written here and now: TensorBoard's writer does it in a thread, and on a full disk that prints its trace.
    """

    def __init__(self, folder: Path, resume_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(self._path.open("ab", buffering=0))
        except OSError as error:
            raise cannot_write(self._path, error) from error
        self._add(file_version="brain.Event:2")
        if resume_step:
            # Tells TensorBoard to forget what it showed after this step.
            self._add(step=resume_step + 1, session_log=SessionLog(status=SessionLog.START))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to the curve of each value. Raises OutputError."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        entries = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(step=step, summary=Summary(value=entries))

    def close(self) -> None:
        self._records.close()

    def _add(self, **what: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        try:
            self._records.write(Event(wall_time=time.time(), **what).SerializeToString())
        except OSError as error:
            raise cannot_write(self._path, error) from error

"""A Maquette run read as a log: its record, its step-by-step metrics, its run.log."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError
from maquette.logs.facts import LogCheckpoint, LogFacts, LogMatch, LogTraceback
from maquette.logs.failures import all_failures
from maquette.logs.lines import LogLines
from maquette.logs.metrics import read_rows
from maquette.logs.reader import LogReader
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, read_record

PARTS = ("run.json", "metrics.jsonl", "events.jsonl", "run.log")


def run_of(path: Path) -> RunFolder | None:
    """Return the run that `path` is, or is a part of; None when it is neither."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or path.name in PARTS:
        has_record = (folder / "run.json").is_file()
        if has_record or (path.is_file() and path.name == "metrics.jsonl"):
            return RunFolder(folder)
    return None


def read_run(run: RunFolder, path: Path) -> LogFacts:
    """Return what the run's files tell; `path` is what was asked about, and what findings name."""
    facts = _text_of(run, path)
    record = _record(run)
    facts = replace(_with_rows(facts, run.metrics), trainer="maquette")
    return facts if record is None else _with_record(facts, record)


def read_table(path: Path) -> LogFacts:
    """Return what a file of rows tells, one JSON table a line, as trainers write their metrics."""
    return _with_rows(LogFacts(path=path), path)


def _with_rows(facts: LogFacts, metrics: Path) -> LogFacts:
    """Return the facts with steps, losses and times of a table of metrics."""
    rows, skipped = read_rows(metrics)
    elapsed, total = [], 0.0
    for row in rows:
        total += _number(row.get("seconds")) or 0.0
        elapsed.append((row["step"], total))
    losses = {row["step"]: loss for row in rows if (loss := _number(row.get("loss"))) is not None}
    return replace(
        facts,
        num_lines=max(facts.num_lines, len(rows)),
        losses=tuple(sorted(losses.items())),
        elapsed=tuple(elapsed) if not skipped and total else (),
        last_step=rows[-1]["step"] if rows else 0,
        skipped=(*facts.skipped, *skipped),
    )


def _number(value: Any) -> float | None:
    """Return a number of a row, which anybody may have written; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text_of(run: RunFolder, path: Path) -> LogFacts:
    reader, lines = LogReader(path), LogLines(run.log)
    if run.log.is_file() and run.log.stat().st_size:
        for number, text in lines:
            reader.read(number, text)
    return replace(reader.facts(tuple(lines.skipped)), losses=(), elapsed=())


def _record(run: RunFolder) -> RunRecord | None:
    try:
        return read_record(run.path)
    except MaquetteError:
        return None


def _with_record(facts: LogFacts, record: RunRecord) -> LogFacts:
    error = record.error or ""
    known = [
        LogMatch(failure.code, 0, error)
        for failure in all_failures()
        if error and failure.match(error) is not None and not facts.counts.get(failure.code)
    ]
    fatal = facts.fatal if record.state != "finished" else None
    if error and not known and fatal is None and not facts.counts and record.state == "failed":
        fatal = LogTraceback(0, 0, error)
    return replace(
        facts,
        fatal=None if known else fatal,
        planned_steps=record.schedule.steps,
        steps_per_epoch=record.schedule.steps_per_epoch,
        checkpoints=tuple(LogCheckpoint(Path(saved.path).name, saved.step) for saved in record.checkpoints),
        matches=(*facts.matches, *known),
        counts={**facts.counts, **{match.code: 1 for match in known}},
        finished=record.state == "finished",
        interrupted=record.state in ("stopped", "interrupted", "pruned"),
    )

"""A Maquette run read as a log: its record, its step-by-step metrics, its run.log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError
from maquette.logs.facts import LogCheckpoint, LogFacts, LogMatch, LogTraceback
from maquette.logs.failures import all_failures
from maquette.logs.lines import log_lines
from maquette.logs.metrics import read_metrics
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
    rows = _rows(run.metrics)
    elapsed, total = [], 0.0
    for row in rows:
        total += float(row.get("seconds", 0.0))
        elapsed.append((int(row["step"]), total))
    facts = replace(
        facts,
        trainer="maquette",
        losses=tuple((int(row["step"]), float(row["loss"])) for row in rows if "loss" in row),
        elapsed=tuple(elapsed),
        last_step=int(rows[-1]["step"]) if rows else 0,
    )
    return facts if record is None else _with_record(facts, record)


def _text_of(run: RunFolder, path: Path) -> LogFacts:
    reader = LogReader(path)
    if run.log.is_file():
        for number, text in log_lines(run.log):
            reader.read(number, text)
    return replace(reader.facts(), losses=(), elapsed=())


def _rows(metrics: Path) -> list[dict[str, Any]]:
    try:
        return [row for row in read_metrics(metrics) if isinstance(row, dict) and "step" in row]
    except UnicodeDecodeError:
        return []


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
        if error and failure.match(error) and not facts.counts.get(failure.code)
    ]
    traces = facts.tracebacks
    if error and not known and not traces and not facts.counts and record.state == "failed":
        traces = (LogTraceback(0, 0, error),)
    return replace(
        facts,
        tracebacks=traces,
        planned_steps=record.schedule.steps,
        steps_per_epoch=record.schedule.steps_per_epoch,
        checkpoints=tuple(LogCheckpoint(Path(saved.path).name, saved.step) for saved in record.checkpoints),
        matches=(*facts.matches, *known),
        counts={**facts.counts, **{match.code: 1 for match in known}},
        finished=record.state == "finished",
        interrupted=record.state in ("stopped", "interrupted"),
    )

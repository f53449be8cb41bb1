"""The runs below a folder, as their records tell them. Nothing is written; what cannot be read is said beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maquette.comparing.options import RunsOptions
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem
from maquette.locking import holder_of
from maquette.logs.metrics import read_metrics
from maquette.runs.choice import read_choice
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.migrations import RECORD_VERSION
from maquette.runs.notes import Note, amended, read_notes, standing_of
from maquette.runs.record import RunRecord, read_versioned
from maquette.spoken import counted

MOST_FOLDERS = 100_000
OF_A_RUN = frozenset({"checkpoints", "samples", "evaluation", "events", "state"})
"""Folders of a run in which no other run lies; below `trials` some do."""


@dataclass(frozen=True, kw_only=True)
class RunLine:
    """One run as a table shows it."""

    path: Path
    name: str
    trainer: str
    """Who trained it: Maquette, or the trainer that it was imported from."""
    when: str
    """When it began: ISO 8601, UTC."""
    base: str
    """Its file's or folder's own name."""
    trigger: str
    rank: int
    pictures: int
    """Of the subject."""
    step: int
    steps: int
    state: str
    is_left: bool
    """Whether it says that it runs, and nobody runs it."""
    loss: float | None
    """The mean of the last epoch; of a run that is not finished the last step's."""
    validation: float | None
    """The last that was measured."""
    checkpoints: int
    error: str | None
    """What ended it early."""
    choice: str | None
    """The checkpoint that was chosen, as `maquette select` names it."""
    verdict: str | None
    reason: str
    notes: tuple[Note, ...]
    record_version: int

    @property
    def is_older(self) -> bool:
        """Whether an older release wrote its record, in the form it had then."""
        return self.record_version < RECORD_VERSION

    @property
    def told_state(self) -> str:
        state = f"{self.state}, left" if self.is_left else self.state
        return state if self.trainer == "Maquette" else f"{state} ({self.trainer})"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        gone = amended(self.notes)
        notes = [
            {"number": number, **asdict(note), "amended": number in gone}
            for number, note in enumerate(self.notes, 1)
        ]
        return {**asdict(self), "path": str(self.path), "notes": notes}


@dataclass(frozen=True, kw_only=True)
class UnreadRun:
    """A record that cannot be read, and why."""

    path: Path
    problem: str


@dataclass(frozen=True, kw_only=True)
class RunsFound:
    """The runs below a folder."""

    folder: Path
    runs: tuple[RunLine, ...]
    unread: tuple[UnreadRun, ...] = ()
    left_out: bool = False
    """Whether there are more folders than are looked into."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "folder": str(self.folder),
            "runs": [each.to_json() for each in self.runs],
            "unread": [{"path": str(each.path), "problem": each.problem} for each in self.unread],
            "left_out": self.left_out,
        }

    def remarks(self) -> Iterator[str]:
        """Yield what a person should know beside the table."""
        yield from (f"not read: {each.problem}" for each in self.unread)
        if older := sum(each.is_older for each in self.runs):
            yield f"{counted(older, 'record')} of an older release: read, and left as it wrote them."
        if any(each.is_left for each in self.runs):
            yield "left: the record says that it runs, and no process does. Go on with: maquette train --resume RUN"
        if self.left_out:
            yield f"Only the first {MOST_FOLDERS:,} folders below {self.folder} were looked into."


def runs_below(folder: Path, options: RunsOptions) -> RunsFound:
    """Return the runs below `folder`, or the run that it is: by time the newest first, by other columns the least first.

    Raises ConfigError where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        given = "no such folder" if not folder.exists() else "no folder"
        raise ConfigError(Problem(str(folder), given, "a folder with runs below it", "Name one."))
    lines, unread, left_out = [], [], False
    for number, path in enumerate(_folders(folder)):
        if number >= MOST_FOLDERS:
            left_out = True
            break
        if not (path / RECORD_NAME).is_file():
            continue
        try:
            lines.append(line_of(path))
        except MaquetteError as error:
            unread.append(UnreadRun(path=path, problem=str(error.problems[0])))
    return RunsFound(
        folder=folder,
        runs=_sorted(lines, options.sort, options.reverse),
        unread=tuple(unread),
        left_out=left_out,
    )


def line_of(run: Path) -> RunLine:
    """Return what a table shows of one run. Raises OutputError."""
    return line_from(run, *read_versioned(run))


def line_from(run: Path, record: RunRecord, version: int = RECORD_VERSION) -> RunLine:
    """Return the same of a record that was read already."""
    notes = tuple(read_notes(RunFolder(run)))
    standing = standing_of(notes)
    points = record.validation.points if record.validation else ()
    is_begun = record.state in ("prepared", "running")
    return RunLine(
        path=run,
        name=record.run,
        trainer=record.foreign.trainer if record.foreign else "Maquette",
        when=record.created_at,
        base=Path(record.settings.model.base).name,
        trigger=record.settings.subject.trigger,
        rank=record.settings.lora.rank,
        pictures=len(record.dataset.subject),
        step=record.step,
        steps=record.schedule.steps,
        state=record.state,
        is_left=record.foreign is None and is_begun and holder_of(run) is None,
        loss=_loss(run, record),
        validation=points[-1].loss if points else None,
        checkpoints=len(record.checkpoints),
        error=record.error,
        choice=_choice(run),
        verdict=standing.verdict,
        reason=standing.reason,
        notes=notes,
        record_version=version,
    )


def _folders(folder: Path) -> Iterator[Path]:
    """Yield `folder` and the folders below it in which runs may lie, no hidden ones and no links."""
    for place, names, _ in os.walk(folder):
        is_run = (Path(place) / RECORD_NAME).is_file()
        names[:] = sorted(
            each for each in names if not each.startswith(".") and not (is_run and each in OF_A_RUN)
        )
        yield Path(place)


def _choice(run: Path) -> str | None:
    """Return the chosen checkpoint in words; None where none was, or its file is damaged, which choosing again mends."""
    try:
        found = read_choice(run)
    except OutputError:
        return None
    if found is None:
        return None
    return found.label if found.strength == 1 else f"{found.label} at {found.strength:g}"


def _loss(run: Path, record: RunRecord) -> float | None:
    if record.final_loss is not None:
        return record.final_loss
    rows = read_metrics(RunFolder(run).metrics)
    found = rows[-1].get("loss") if rows else None
    return float(found) if isinstance(found, int | float) else None


def _sorted(lines: Sequence[RunLine], sort: str, reverse: bool) -> tuple[RunLine, ...]:
    """Return the runs in order; those that say nothing of a column stand last, whichever way."""
    column = {"steps": "step", "held-out": "validation"}.get(sort, sort)
    known = [each for each in lines if getattr(each, column) not in (None, "")]
    rest = [each for each in lines if getattr(each, column) in (None, "")]
    newest_first = sort == "when"
    known.sort(key=lambda each: (getattr(each, column), str(each.path)), reverse=newest_first != reverse)
    return (*known, *sorted(rest, key=lambda each: str(each.path)))

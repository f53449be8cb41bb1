"""Which weights of a run go out: those that were asked for, those that judging chose, else its last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, OutputError, Problem, did_you_mean
from maquette.reading import FileKind, is_finite, read_table
from maquette.runs.record import Checkpoint, RunRecord

CHOICE = "choice.json"
"""RUN/choice.json  {"checkpoint": file name, "strength": number, …}: what judging chose."""
ENDING = ".safetensors"
_AGAIN = "Choose again (maquette select), or name one with --checkpoint."
_FILE = FileKind("the choice among a run's checkpoints", _AGAIN, ConfigError)
_LIMIT = 2.0


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A checkpoint, the strength that it is drawn with, and why this one."""

    checkpoint: Checkpoint
    strength: float
    why: str


def chosen_of(run: Path, record: RunRecord, name: str | None = None, strength: float | None = None) -> Chosen:
    """Return the checkpoint called `name`, else the chosen one, else the last; `strength` wins over the chosen one's.

    Raises ConfigError for a choice that cannot be read or names no checkpoint of the run, OutputError where there is none.
    """
    if name is not None:
        return Chosen(
            checkpoint=checkpoint_of(record, name), strength=_or_one(strength), why="asked for by name"
        )
    path = run / CHOICE
    if not path.is_file():
        why = "the last one: no choice was made"
        return Chosen(checkpoint=checkpoint_of(record), strength=_or_one(strength), why=why)
    chosen, best = _choice(path)
    return Chosen(
        checkpoint=checkpoint_of(record, chosen, where=f"{path}: checkpoint"),
        strength=best if strength is None else strength,
        why=f"chosen by judging ({CHOICE})",
    )


def checkpoint_of(record: RunRecord, name: str | None = None, *, where: str = "checkpoint") -> Checkpoint:
    """Return the run's checkpoint called `name` (its file's name, with or without suffix), or its last one.

    Raises OutputError when the run has none, ConfigError naming those that there are.
    """
    last = record.last_checkpoint
    if last is None:
        raise OutputError(
            Problem(
                f"run {record.run}",
                "has no checkpoint yet",
                "a run with LoRA files",
                "Train it further: maquette train --resume",
            )
        )
    known = {Path(entry.path).stem: entry for entry in record.checkpoints}
    if name is None:
        return last
    stem = Path(name).name.removesuffix(ENDING)
    if stem not in known:
        raise ConfigError(
            Problem(
                f"{where} '{name}'", f"is none of run {record.run}", "its name", did_you_mean(stem, known)
            )
        )
    return known[stem]


def _or_one(strength: float | None) -> float:
    return 1.0 if strength is None else strength


def _choice(path: Path) -> tuple[str, float]:
    """Return the name and the strength that the file says; whoever chose may say more there."""
    table = read_table(path, _FILE)
    name: Any = table.get("checkpoint")
    strength: Any = 1.0 if table.get("strength") is None else table["strength"]
    problems = []
    if not isinstance(name, str) or not name:
        problems.append(Problem(f"{path}: checkpoint", repr(name), "the name of a checkpoint", _AGAIN))
    if not is_finite(strength) or not abs(strength) <= _LIMIT:
        required = f"a number from -{_LIMIT:g} to {_LIMIT:g}"
        problems.append(Problem(f"{path}: strength", repr(strength), required, _AGAIN))
    if problems:
        raise ConfigError(problems)
    return name, float(strength)

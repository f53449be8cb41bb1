"""Which weights of a run go out: those that were asked for, those that were chosen (runs/choice.py), else its last."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.errors import ConfigError, OutputError, Problem, did_you_mean
from maquette.runs.choice import NAME as CHOICE
from maquette.runs.choice import Choice, read_choice
from maquette.runs.record import Checkpoint, RunRecord

ENDING = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A checkpoint, the strength that it is drawn with, and why this one."""

    checkpoint: Checkpoint
    strength: float
    why: str
    choice: Choice | None = None
    """The choice that was made among the run's checkpoints, whichever goes out."""

    @property
    def is_the_choice(self) -> bool:
        """Whether it is the checkpoint that was chosen."""
        return (
            self.choice is not None and Path(self.choice.checkpoint).stem == Path(self.checkpoint.path).stem
        )


def chosen_of(run: Path, record: RunRecord, name: str | None = None, strength: float | None = None) -> Chosen:
    """Return the checkpoint called `name`, else the chosen one, else the last; `strength` wins over the chosen one's.

    Raises ConfigError for a name that no checkpoint of the run has, OutputError where it has none or its choice is damaged.
    """
    choice = read_choice(run)
    best = 1.0
    if name is not None:
        checkpoint, why = checkpoint_of(record, name), "asked for by name"
    elif choice is not None:
        checkpoint = checkpoint_of(record, choice.checkpoint, where=f"{run / CHOICE}: checkpoint")
        best, why = choice.strength, f"chosen by {choice.decided_by} ({CHOICE})"
    else:
        checkpoint, why = checkpoint_of(record), "the last one: no choice was made (maquette select)"
    return Chosen(
        checkpoint=checkpoint, strength=best if strength is None else strength, why=why, choice=choice
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

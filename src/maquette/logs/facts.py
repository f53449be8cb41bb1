"""What a training log tells, as records: losses, speed, checkpoints, known failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from maquette.logs.machine import LogMachine

LogTrainer = Literal[
    "sd-scripts", "maquette", "ai-toolkit", "onetrainer", "comfyui", "simpletuner", "diffusers"
]


@dataclass(frozen=True)
class LogMatch:
    """One line that shows a known failure."""

    code: str
    line: int
    """1-based; 0 where the place has no lines (a run record)."""
    text: str
    detail: str = ""


@dataclass(frozen=True)
class LogTraceback:
    """An error with its trace, as Python prints it."""

    line: int
    """Where it begins."""
    end_line: int
    message: str
    """Its last line: `ValueError: …`."""
    details: tuple[str, ...] = ()
    """The lines above the message that say where it happened, and those below that say more."""


@dataclass(frozen=True)
class LogCheckpoint:
    """A file that the trainer says it saved."""

    name: str
    step: int | None


@dataclass(frozen=True)
class LogFolder:
    """A folder of pictures that the trainer says it found."""

    path: str
    pictures: int


@dataclass(frozen=True, kw_only=True)
class LogFacts:
    """Everything found in one log. Steps are optimizer steps, counted from 1 over the whole run."""

    path: Path
    trainer: LogTrainer | None = None
    num_lines: int = 0
    losses: tuple[tuple[int, float], ...] = ()
    """(step, loss), rising; NaN and infinity as they are."""
    averaged: bool = False
    """Losses are means over the last epoch's steps, as sd-scripts' avr_loss."""
    steps_per_epoch: int | None = None
    planned_steps: int | None = None
    last_step: int = 0
    elapsed: tuple[tuple[int, float], ...] = ()
    """(step, seconds since the first step began), as the progress bar counts them."""
    checkpoints: tuple[LogCheckpoint, ...] = ()
    folders: tuple[LogFolder, ...] = ()
    train_items: int | None = None
    """Training pictures × repeats, as the trainer says."""
    matches: tuple[LogMatch, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    """Lines by failure code."""
    tracebacks: tuple[LogTraceback, ...] = ()
    """All of them but the launchers' own, harmless ones included."""
    fatal: LogTraceback | None = None
    """What ended the run, where no known failure did: its traceback, or the last line that calls itself an error."""
    survived: tuple[LogTraceback, ...] = ()
    """Errors after which the run went on or had saved its last file, the known harmless ones left out."""
    machine: LogMachine = field(default_factory=LogMachine)
    skipped: tuple[str, ...] = ()
    """What lay beyond the bounds of reading, in words."""
    finished: bool = False
    """The trainer said that it saved its last file, or its record says finished."""
    interrupted: bool = False
    """Stopped by the user."""

    @property
    def is_silent(self) -> bool:
        """Nothing in it speaks of a run: no step, no file, no error, nothing known."""
        signs = (self.losses, self.last_step, self.checkpoints, self.folders, self.train_items, self.trainer)
        ending = (self.counts, self.tracebacks, self.fatal, self.finished, self.interrupted)
        return not any((*signs, *ending, self.planned_steps))

    @property
    def name(self) -> str:
        return self.path.name

    def matches_of(self, code: str) -> tuple[LogMatch, ...]:
        """Return the lines of one failure."""
        return tuple(match for match in self.matches if match.code == code)

    def checkpoint_before(self, step: int) -> LogCheckpoint | None:
        """Return the last checkpoint saved before `step`, or None."""
        earlier = [saved for saved in self.checkpoints if saved.step is not None and saved.step < step]
        return max(earlier, key=lambda saved: saved.step or 0) if earlier else None

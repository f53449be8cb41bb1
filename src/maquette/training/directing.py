"""Who decides what a pack trains, and what passes between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maquette.project.settings import Settings
from maquette.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class PackTrial:
    """One trial that a pack is to train."""

    number: int
    name: str
    """As a person is told of it."""
    settings: Settings
    folder: Path
    """Its whole run's folder, whose name its files have; it goes on from its newest state where it has one."""
    rungs: tuple[int, ...] = ()
    """Steps after which its validation loss is measured and the director asked; the last step is always one."""


class Director(Protocol):
    """Decides what a pack trains."""

    def next(self, free: int) -> Sequence[PackTrial]:
        """Return at most `free` trials that begin (or go on) now; () where there is none now."""

    def measured(self, trial: PackTrial, step: int, loss: float, error: float | None) -> bool:
        """Hear the validation loss at a rung (again where a trial goes on from there); return whether the trial goes on."""

    def finished(self, trial: PackTrial, record: RunRecord) -> None:
        """Hear that a trial has come to its end."""

    def failed(self, trial: PackTrial, problem: str) -> None:
        """Hear that a trial cannot go on, and why; the others do."""

    def beat(self, trials: Sequence[PackTrial]) -> Sequence[int]:
        """Hear every few seconds which trials are at work; return the numbers of those to let go of without another word."""


@dataclass(frozen=True, kw_only=True)
class PackResult:
    """What a pack has done."""

    finished: tuple[int, ...]
    """Numbers of trials, in the order in which they ended."""
    pruned: tuple[int, ...]
    failed: tuple[int, ...]
    let_go: tuple[int, ...]
    """Those that the director asked to let go of."""
    steps: int
    """Optimizer steps of all trials together."""
    passes: int
    """Passes over the base that they took."""
    places: int
    """Places at the end: fewer than at first where the device was full."""
    seconds: float
    """From the first pass to the last."""
    device: str
    peak_memory_bytes: int

    @property
    def steps_per_second(self) -> float:
        """Optimizer steps of all trials a second."""
        return self.steps / self.seconds if self.seconds else 0.0

"""A pack: many independent trials over one frozen base in one process, each as if it were trained alone.

Each trial is a lane of its own: its settings, order of pictures, batches, captions, length and seed are what its own training
would see, from its own first step. Who trains what, and for how long, is a director's: it is asked for trials whenever places
are free, told every measurement, and may end a trial there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from maquette.project.settings import Settings
from maquette.runs.record import RunRecord

if TYPE_CHECKING:
    from maquette.events import Stage
    from maquette.stopping import Stop
    from maquette.training.outputs import SampleDrawer
    from maquette.training.prepare import Judge


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


def run_pack(
    shared: Settings,
    director: Director,
    *,
    places: int,
    judge: Judge,
    draw: SampleDrawer | None = None,
    stop: Stop | None = None,
) -> Stage[PackResult]:
    """Train what `director` hands out, at most `places` trials at once, until it hands out no more and all are through.

    `shared` says the base, the device and the precision, in which all trials agree. Raises Stopped where `stop` was asked;
    however it ends, every trial's state is saved.
    """
    raise NotImplementedError
    yield

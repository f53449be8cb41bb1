"""A job as the ledger knows it: what is to be run, where it stands, who works on it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

State = Literal["queued", "running", "paused", "done", "failed", "cancelled", "interrupted"]
STATES: tuple[State, ...] = get_args(State)
OVER: frozenset[State] = frozenset({"done", "failed", "cancelled"})
"""What a job does not leave any more."""
Asked = Literal["pause", "cancel"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a job runs: a command of `maquette`, as it would be typed."""

    kind: str
    """The command: train, evaluate, …"""
    arguments: tuple[str, ...]
    """What follows it, without --json."""
    cwd: Path
    """The folder that it was typed in: paths may be relative to it."""
    project: Path | None = None
    run: Path | None = None
    """The run's folder, where it is known beforehand."""
    device: str = "auto"
    begun: bool = False
    """Whether `run` is there already and is gone on with."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the ledger."""

    id: int
    kind: str
    arguments: tuple[str, ...]
    cwd: Path
    project: Path | None
    run: Path | None
    device: str
    state: State
    asked: Asked | None
    """What its worker is to do at the next step."""
    position: float
    """Its place in the queue; the least is taken first."""
    attempt: int
    """How often a worker was started for it."""
    strikes: int
    """Workers lost one after another without getting further than the ones before."""
    begun: bool
    """Whether the run's folder is this job's own: who comes after a lost worker goes on with it."""
    worker: str | None
    """Who runs it, or ran it last (`processes.py`)."""
    done: int
    total: int | None
    unit: str
    stage: str
    reached: float
    """The furthest that any worker came, in parts of the whole command."""
    values: dict[str, Any]
    """What stands beside the progress: loss, speed."""
    result: dict[str, Any] | None
    """What the command answered."""
    error: str | None
    created_at: str
    started_at: str | None
    ended_at: str | None

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def command(self) -> str:
        """The command as a person types it."""
        return shlex.join(["maquette", self.kind, *self.arguments])

    @property
    def progress(self) -> float | None:
        """The part of its present stage that is done, 0 to 1; 1 once it is all done."""
        if self.state == "done":
            return 1.0
        return min(1.0, self.done / self.total) if self.total else None

    def to_json(self) -> dict[str, Any]:
        """Return what programs are told of it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": self.progress,
            "run": None if self.run is None else str(self.run),
            "error": self.error,
            "command": self.command,
            "project": None if self.project is None else str(self.project),
            "folder": str(self.cwd),
            "device": self.device,
            "asked": self.asked,
            "attempt": self.attempt,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "values": self.values,
            "result": self.result,
            "created_at": self.created_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
        }

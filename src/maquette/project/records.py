"""The run record: one JSON file a run, written atomically as the run goes, that says all that made its weights.

`RunFolder` knows where everything of a run lies:

    RUN/run.json            the record (this file's `RunRecord`)
    RUN/metrics.jsonl       one line a step
    RUN/checkpoints/        NAME-step00000200.safetensors, NAME-000002.safetensors, NAME.safetensors
    RUN/samples/            pictures drawn while training
    RUN/evaluation/         what was drawn and measured afterwards
    RUN/events/             TensorBoard
    RUN/state/              what resuming needs
    RUN/run.log             messages and tracebacks
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from maquette import __version__
from maquette.errors import OutputError, Problem
from maquette.files import write_json

RECORD_VERSION = 1
RunState = Literal["prepared", "running", "interrupted", "failed", "finished"]
RECORDED_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "pillow")


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run below its folder."""

    path: Path

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    @property
    def events(self) -> Path:
        return self.path / "events"

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def log(self) -> Path:
        return self.path / "run.log"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A LoRA file of a run: after `step` optimizer steps, in epoch `epoch` (1-based)."""

    path: str
    step: int
    epoch: int
    final: bool = False
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that made a run's weights, and what came of it. Paths in it are relative to the run where they lie in it."""

    run: str
    state: RunState = "prepared"
    record_version: int = RECORD_VERSION
    maquette_version: str = __version__
    created_at: str = ""
    finished_at: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    device: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0
    final_loss: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    peak_memory_bytes: int | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    samples: tuple[Mapping[str, Any], ...] = ()
    resumed_at_steps: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None

    def write(self, folder: RunFolder) -> None:
        """Replace `folder`'s record with this one, whole or not at all."""
        write_json(folder.record, asdict(self))

    def with_(self, **changes: Any) -> RunRecord:
        """Return a copy with `changes`."""
        return replace(self, **changes)


def read_record(run: Path) -> RunRecord:
    """Return the record of the run folder `run` (or of its run.json). Raises OutputError if it is none."""
    path = run if run.name == "run.json" else run / "run.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            Problem(
                str(path),
                f"cannot be read ({error})",
                "the record of a run",
                "Name a run's folder: the one that holds run.json.",
            )
        ) from error
    if data.get("record_version") != RECORD_VERSION:
        raise OutputError(
            Problem(
                str(path),
                f"record version {data.get('record_version')!r}",
                f"version {RECORD_VERSION}",
                "It was written by another release of Maquette; read it with that one.",
            )
        )
    known = {entry.name for entry in fields(RunRecord)}
    data["checkpoints"] = tuple(Checkpoint(**entry) for entry in data.get("checkpoints", ()))
    for name in ("samples", "resumed_at_steps", "notes"):
        data[name] = tuple(data.get(name, ()))
    return RunRecord(**{name: value for name, value in data.items() if name in known})


def environment() -> dict[str, Any]:
    """Return the versions that decide what numbers come out."""
    versions = {}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {"python": platform.python_version(), "platform": platform.platform(), "packages": versions}


def now() -> str:
    """Return the present moment as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def checkpoint_path(folder: RunFolder, checkpoint: Checkpoint) -> Path:
    """Return where `checkpoint` lies."""
    return folder.path / checkpoint.path

"""What a stage says while it works. Terminal, web page and tests read the same events; no stage prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Started:
    """A stage begins; `total` counts `unit`s, None when unknown."""

    stage: str
    total: int | None = None
    unit: str = "step"


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units are finished; `values` are shown beside (loss, speed)."""

    stage: str
    done: int
    total: int | None = None
    unit: str = "step"
    values: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """A sentence for the person who waits."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Artifact:
    """A file that now exists: a checkpoint, a sample, a report."""

    kind: str
    path: Path


@dataclass(frozen=True)
class Finished:
    """A stage ended; `result` is its typed record."""

    stage: str
    result: Any = None


Event = Started | Progress | Message | Artifact | Finished

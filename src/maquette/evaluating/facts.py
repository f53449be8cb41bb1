"""What a report is about: a run, its LoRA, what was drawn with it, where it was installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from maquette.measuring.looks import FirstLook
from maquette.measuring.scorecards import Scorecards
from maquette.runs.choice import Choice
from maquette.runs.notes import Note
from maquette.runs.record import RunRecord


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where a drawing program finds the LoRA, and how it is used there."""

    program: str
    lora: str
    lora_name: str
    workflow: str | None = None
    prompts: str | None = None
    steps: tuple[str, ...] = ()
    """What a person does, in order."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """Everything that a report shows. Pictures are read from their files when the page is written."""

    title: str
    trigger: str
    record: RunRecord
    run: Path
    lora: Path
    """The LoRA file that this report speaks for."""
    lora_sha256: str
    lora_bytes: int
    strength: float = 1.0
    metrics: Sequence[Mapping[str, Any]] = ()
    """Rows of metrics.jsonl: step, loss, learning rates."""
    look: FirstLook | None = None
    cards: Scorecards | None = None
    """The scorecards of the look, where it was measured."""
    choice: Choice | None = None
    """The choice among the checkpoints, where one was made."""
    pictures: Sequence[tuple[Path, str]] = ()
    """The training pictures with their captions."""
    deliveries: tuple[Delivery, ...] = ()
    prompt_template: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, beyond the record's own."""
    notes: tuple[str, ...] = ()
    notebook: Sequence[Note] = ()
    """What was decided about the run, and why."""


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What a report of LoRA files outside a run shows: what was drawn with them and measured."""

    title: str
    look: FirstLook
    cards: Scorecards
    choice: None = None


class Drawn(Protocol):
    """What sections about drawings need of a report's facts."""

    @property
    def look(self) -> FirstLook | None: ...
    @property
    def cards(self) -> Scorecards | None: ...
    @property
    def choice(self) -> Choice | None: ...

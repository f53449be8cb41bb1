"""Where everything of a run lies.

RUN/run.json            the record (runs/record.py)
RUN/metrics.jsonl       one line a step
RUN/events.jsonl        what was told while it trained, one line an event (runs/events.py)
RUN/checkpoints/        NAME-step00000200.safetensors, NAME-000002.safetensors, NAME.safetensors
RUN/samples/            pictures drawn while training
RUN/masks.png           what its masks hide, over its pictures as they are trained
RUN/notes.jsonl         what was decided about it and why, one line each (runs/notes.py)
RUN/deliveries.jsonl    where its LoRAs were installed, one line each (runs/deliveries.py)
RUN/choice.json         which checkpoint was chosen, and why (runs/choice.py)
RUN/judging/            what was drawn and judged while it trained, to stop early (choosing/early.py)
RUN/votes.jsonl         a person's votes between its checkpoints' pictures (runs/votes.py)
RUN/evaluation/         what was drawn and measured afterwards
RUN/events/             TensorBoard
RUN/state/              what resuming needs
RUN/run.log             messages and tracebacks
RUN/.maquette/          while it is being trained: who does (locking.py), and room for its record's end (runs/reserve.py)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.locking import OWN_FOLDER

RECORD_NAME = "run.json"
BEFORE_A_RECORD = {OWN_FOLDER, "events.jsonl", "run.log"}
"""What a run may leave that was killed before its record was on the disk."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run below its folder."""

    path: Path

    @property
    def record(self) -> Path:
        return self.path / RECORD_NAME

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def event_log(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def masks(self) -> Path:
        return self.path / "masks.png"

    @property
    def notes(self) -> Path:
        return self.path / "notes.jsonl"

    @property
    def deliveries(self) -> Path:
        return self.path / "deliveries.jsonl"

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

    @property
    def reserve(self) -> Path:
        return self.path / OWN_FOLDER / "reserve"


def has_begun_at_most(folder: Path) -> bool:
    """Return whether a folder is empty, or holds no more than a run that was killed before it had a record."""
    return all(
        entry.name in BEFORE_A_RECORD
        or entry.suffix == ".part"
        # Names are tried on the disk before a run begins; a kill may leave the empty file.
        or (entry.is_file() and entry.stat().st_size == 0)
        for entry in folder.iterdir()
    )

"""What a run is before it starts: the records that preparation makes and that the loop, checkpoints and states read."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from maquette.dataset.config import BucketSettings
from maquette.dataset.records import Dataset, Item
from maquette.dataset.repeats import Schedule
from maquette.events import Message
from maquette.project.records import RunFolder, RunRecord
from maquette.project.settings import Settings
from maquette.training.checkpoints import PlannedCheckpoint
from maquette.training.config import TrialSettings

if TYPE_CHECKING:
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.families.protocol import LoraPart as Part
    from maquette.lora.config import TrialSpec
    from maquette.training.state import SavedState


@dataclass(frozen=True, kw_only=True)
class TrainingDataset:
    """The pictures of a run with their buckets, and how they come to batches."""

    dataset: Dataset
    items: tuple[Item, ...]
    buckets: tuple[BucketSettings, ...]
    batch_size: tuple[int, ...]
    seed: int
    cache_folder: Path | None
    cached: bool
    schedule: Schedule


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is ready to start. As a context manager it clears away what a smoke run leaves."""

    settings: Settings
    trials: tuple[TrialSettings, ...]
    parts: tuple[Part, ...]
    name: str
    folder: RunFolder
    info: ModelInfo
    spec: FamilySpec
    base_file: Path | None
    clip_skip: int
    dataset: TrainingDataset
    schedule: Schedule
    checkpoints: tuple[PlannedCheckpoint, ...]
    device: str
    precision: str
    digest: str
    record: RunRecord
    messages: tuple[Message, ...] = ()
    resume: SavedState | None = None
    smoke_steps: int | None = None

    def trial_specs(self) -> list[TrialSpec]:
        """Return each trial's adapter."""
        from maquette.lora.config import TrialSpec

        return [
            TrialSpec(
                rank=trial.rank,
                alpha=trial.alpha,
                conv_rank=trial.conv_rank,
                conv_alpha=trial.conv_alpha,
                dropout=trial.dropout,
                seed=trial.seed,
                parts=trained_parts(trial),
            )
            for trial in self.trials
        ]

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.smoke_steps is not None:
            shutil.rmtree(self.folder.path.parent, ignore_errors=True)


def trained_parts(trial: TrialSettings) -> tuple[Part, ...]:
    """Return the parts of the model that `trial` trains: those whose rate is above zero."""
    text: tuple[Part, ...] = ("text_encoder",) if trial.text_encoder_lr > 0 else ()
    denoiser: tuple[Part, ...] = ("denoiser",) if trial.unet_lr > 0 else ()
    return text + denoiser

"""What a run is before it starts: the records that preparation makes and that the loop, checkpoints and states read."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from maquette.dataset.config import BucketSettings
from maquette.dataset.records import Dataset, Item
from maquette.dataset.repeats import Schedule
from maquette.events import Message
from maquette.lora.choosing import choice_of
from maquette.lora.config import PARTS, TrialSpec
from maquette.lora.facts import LoraFacts
from maquette.lora.matching import layers_of, sizes_on
from maquette.project.checkpoints import PlannedCheckpoint
from maquette.project.settings import Settings
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord
from maquette.training.claiming import Claim
from maquette.training.config import FIRST_ENCODER, SECOND_ENCODER, TrialSettings

if TYPE_CHECKING:
    from maquette.dataset.cache_folder import CacheFolder
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.families.protocol import LoraPart as Part
    from maquette.training.state import SavedState
    from maquette.training.validating import ValidationPlan


@dataclass(frozen=True, kw_only=True)
class TrainingDataset:
    """The pictures of a run with their buckets, and how they come to batches."""

    dataset: Dataset
    items: tuple[Item, ...]
    buckets: tuple[BucketSettings, ...]
    batch_size: tuple[int, ...]
    seed: int
    cache_folder: CacheFolder | None
    """Where latents and encoded captions stay between runs."""
    cached: bool
    schedule: Schedule
    vae_batch_size: int = 1
    skip_cache_check: bool = False
    caches_texts: bool = True


@dataclass(frozen=True, kw_only=True)
class TrialRun:
    """One trial of a job: what it trains with, where its files go, and what is known of it so far."""

    settings: Settings
    """The job's settings with this trial's own `[lora]` and rates in them."""
    trial: TrialSettings
    name: str
    """Of its folder and its LoRA files."""
    folder: RunFolder
    """The job's own folder where it has one trial, else one of its own below it."""
    checkpoints: tuple[PlannedCheckpoint, ...]
    digest: str
    """Hash of all that decides its weights."""
    record: RunRecord
    weights: LoraFacts | None = None
    """The LoRA file that it goes on from, where it does."""
    resume: SavedState | None = None
    messages: tuple[Message, ...] = ()
    """What a person should know of how it goes on."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the model that it trains."""
        return trained_parts(self.trial)

    def spec(self, family: FamilySpec, info: ModelInfo) -> TrialSpec:
        """Return its adapter, over a base of `family`."""
        return spec_of(self.settings, self.trial, self.weights, family, info)


@dataclass(frozen=True, kw_only=True)
class Job:
    """P trials that are ready to train over one base and the same pictures; an ordinary run has one.

    As a context manager it lets its folder go, and clears away what a smoke run leaves.
    """

    settings: Settings
    """What all trials share: base, pictures, lengths, places. A trial's own values are in its `TrialRun.settings`."""
    trials: tuple[TrialRun, ...]
    name: str
    folder: RunFolder
    claim: Claim
    """The folder, held for this job until it is run or closed."""
    info: ModelInfo
    spec: FamilySpec
    base_file: Path | None
    options: Mapping[str, Any]
    """The family's own settings, each with its value."""
    dataset: TrainingDataset
    schedule: Schedule
    device: str
    precision: str
    validation: ValidationPlan | None = None
    messages: tuple[Message, ...] = ()
    smoke_steps: int | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of the model that any trial trains."""
        return parts_of([trial.trial for trial in self.trials])

    @property
    def first_step(self) -> int:
        """The 0-based optimizer step that training begins with: trials are resumed from one and the same."""
        return max(trial.resume.step if trial.resume else 0 for trial in self.trials)

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.claim.close()
        if self.smoke_steps is not None:
            shutil.rmtree(self.folder.path.parent, ignore_errors=True)


def spec_of(
    settings: Settings, trial: TrialSettings, weights: LoraFacts | None, family: FamilySpec, info: ModelInfo
) -> TrialSpec:
    """Return the adapter of a trial over a base of `family`; `weights`: the file that it goes on from."""
    spec = adapter_spec(trial, family)
    if weights is None or not settings.lora.dim_from_weights:
        return spec
    return replace(spec, modules=sizes_on(layers_of(info), weights))


def parts_of(trials: Iterable[TrialSettings]) -> tuple[Part, ...]:
    """Return the parts of the model that any of `trials` trains."""
    found = {part for trial in trials for part in trained_parts(trial)}
    return tuple(part for part in PARTS if part in found)


def trained_parts(trial: TrialSettings) -> tuple[Part, ...]:
    """Return the parts of the model that `trial` trains: those whose rate is above zero."""
    text_rates = (trial.text_encoder_lr, trial.text_encoder_2_lr or 0.0)
    text: tuple[Part, ...] = ("text_encoder",) if any(text_rates) else ()
    denoiser: tuple[Part, ...] = ("denoiser",) if trial.denoiser_lr > 0 else ()
    return text + denoiser


def adapter_spec(trial: TrialSettings, family: FamilySpec) -> TrialSpec:
    """Return the adapter that `trial` trains over a base of `family`."""
    # A text encoder of its own rate may be left untrained by itself.
    second = trial.text_encoder_2_lr
    untrained = [FIRST_ENCODER] if second and not trial.text_encoder_lr else []
    untrained += [SECOND_ENCODER] if second == 0 and trial.text_encoder_lr else []
    exclude = (*trial.exclude_layers, *untrained)
    return TrialSpec(
        kind=trial.kind,
        factor=trial.factor,
        rank=trial.rank,
        alpha=trial.alpha,
        conv_rank=trial.conv_rank,
        conv_alpha=trial.conv_alpha,
        dropout=trial.dropout,
        rank_dropout=trial.rank_dropout,
        module_dropout=trial.module_dropout,
        seed=trial.seed,
        parts=trained_parts(trial),
        choice=choice_of(trial.include_layers, exclude, trial.blocks, family.layer_sets),
    )

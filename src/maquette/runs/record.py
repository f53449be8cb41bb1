"""The run record: one JSON file a run, rewritten whole as the run goes, that says all that made its weights.

Its parts are the program's own records (`Settings`, `ModelInfo`, `SubsetSource`), read back strictly; whoever changes
one of them in a way that older files do not fit adds a migration (runs/migrations.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from maquette import __version__
from maquette.dataset.config import DatasetSource, SubsetSource
from maquette.dataset.records import Dataset
from maquette.dataset.repeats import Schedule
from maquette.errors import OutputError, Problem
from maquette.families.protocol import ModelInfo
from maquette.files import json_text, write_atomic
from maquette.project.settings import SECTIONS, Settings
from maquette.project.validation import checked
from maquette.reading import FileKind, read_table
from maquette.runs.environment import EnvironmentRecord
from maquette.runs.folder import RECORD_NAME, RunFolder, has_begun_at_most
from maquette.runs.foreign import ForeignRecord
from maquette.runs.migrations import RECORD_VERSION, WITHOUT_EFFECT_ON_WEIGHTS, migrated, weights_digest
from maquette.runs.picture_losses import PictureLoss
from maquette.runs.validation import ValidationRecord

RunState = Literal["prepared", "running", "stopped", "interrupted", "failed", "pruned", "finished"]
"""`stopped`: it was asked to; `interrupted`: it was cut off (by a second Ctrl-C, or a consumer that left); `pruned`: a search
ended it, since others had left it behind."""
PACKED = "Trained in a pack: by itself it comes to the same weights up to rounding, not to the bit."
"""Note in the record of a run that was trained beside other trials in the same passes."""
FILE = FileKind(
    "the record of a run",
    "Name a run's folder: the one that holds run.json.",
    OutputError,
    damaged="The record is damaged, or something else changed it: put a copy of it back.",
)


@dataclass(frozen=True, kw_only=True)
class PictureRecord:
    """A picture that is trained on, with its caption."""

    path: str
    subset: int
    """Its folder's place in the record's subsets, from 0."""
    size_wh: tuple[int, int]
    sha256: str
    """Of the picture file's bytes."""
    caption: str
    """As read, before it is prefixed, shuffled or dropped."""
    caption_sha256: str | None
    """Of the caption file's bytes; None for a fallback."""
    mask_path: str | None = None
    """Its mask's file, or its own where its transparency is the mask; None where all of it counts."""
    mask_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """All that decides what is trained on: tables, folders, options, fingerprints."""

    datasets: tuple[DatasetSource, ...]
    subsets: tuple[SubsetSource, ...]
    pictures: tuple[PictureRecord, ...]
    warnings: tuple[str, ...] = ()
    """Of older records; rules warn of pictures now, and what they say is no part of them."""

    @property
    def subject(self) -> tuple[PictureRecord, ...]:
        """The pictures of the subject: all but regularization."""
        return tuple(each for each in self.pictures if not self.subsets[each.subset].is_regularization)

    @property
    def captions(self) -> list[str]:
        """The subject's captions, each once, in order."""
        return list(dict.fromkeys(each.caption for each in self.subject if each.caption))

    @cached_property
    def text(self) -> str:
        """The dataset as JSON, indented as it stands in a record: of many pictures it is made once, not at every change."""
        plain = TypeAdapter(DatasetRecord).dump_python(self, mode="json")
        return json_text(plain).rstrip().replace("\n", "\n  ")

    def shows_the_same_as(self, other: DatasetRecord) -> bool:
        """Return whether the same is trained on, wherever it lies; what a release warns of makes no difference."""
        return self._without_folders() == other._without_folders()

    def _without_folders(self) -> DatasetRecord:
        """Return the record with names alone in the place of paths: what the files hold is in their hashes and captions."""
        pictures = tuple(
            replace(each, path=Path(each.path).name, mask_path=each.mask_path and Path(each.mask_path).name)
            for each in self.pictures
        )
        subsets = tuple(
            replace(
                each,
                path=Path(each.path.name),
                metadata_file=each.metadata_file and Path(each.metadata_file.name),
                options=replace(each.options, mask_folder=None),
            )
            for each in self.subsets
        )
        return replace(self, pictures=pictures, subsets=subsets, warnings=())


@dataclass(frozen=True, kw_only=True)
class ScheduleRecord:
    """How pictures became steps."""

    sum: str
    """The arithmetic, written out."""
    train_items: int
    regularization_items: int
    batches_per_epoch: int
    steps_per_epoch: int
    accumulation: int
    epochs: int
    steps: int
    checkpoints: tuple[str, ...]
    """Names of the LoRA files that the run writes, in order."""
    pictures_seed: int | None = None
    """What orders the pictures where it is not the run's own seed: trials of one run see them alike."""


@dataclass(frozen=True, kw_only=True)
class DeviceRecord:
    """What the run computed on."""

    kind: str
    """cpu, cuda or mps."""
    name: str
    """The card's as a person knows it, or the kind."""
    precision: str
    forward_device: str = ""
    """Where the losses really came out; empty before the first step."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A LoRA file of a run: after `step` optimizer steps, in epoch `epoch` (1-based)."""

    path: str
    step: int
    epoch: int
    final: bool = False
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A picture that was drawn after `step` optimizer steps; its path is relative to the run."""

    path: str
    step: int
    prompt: str
    seed: int


class RunRecord(BaseModel):
    """All that made a run's weights, and what came of it. Paths in it are relative to the run where they lie in it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    run: str
    state: RunState = "prepared"
    record_version: int = RECORD_VERSION
    maquette_version: str = __version__
    created_at: str
    finished_at: str | None = None
    digest: str
    """Of all that decides the weights, as it was when the run began; its states carry it too."""
    settings: Settings
    base: ModelInfo
    base_sha256: str = ""
    """Of the base model's file, once a checkpoint or the end needed it."""
    lora_files: Mapping[str, str] = {}
    """SHA-256 of the LoRA files that its weights come from, by path."""
    dataset: DatasetRecord
    schedule: ScheduleRecord
    environment: EnvironmentRecord
    device: DeviceRecord | None = None
    step: int = 0
    final_loss: float | None = None
    timings: Mapping[str, float] = {}
    peak_memory_bytes: int | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    samples: tuple[Sample, ...] = ()
    validation: ValidationRecord | None = None
    picture_losses: tuple[PictureLoss, ...] = ()
    """How each picture was fitted, the highest loss for its noise first; of a finished run that has enough steps to tell."""
    resumed_at_steps: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    error: str | None = None
    foreign: ForeignRecord | None = None
    """Of a run that another trainer made and that was imported."""

    def path_of(self, file: str) -> str:
        """Return a LoRA file's path below the run, by its name; of one that is none of the run's what was given."""
        name = PurePath(file).name
        return next((entry.path for entry in self.checkpoints if PurePath(entry.path).name == name), file)

    def write(self, folder: RunFolder) -> None:
        """Replace `folder`'s record with this one, whole or not at all."""
        values = self.model_dump(mode="json", exclude={"dataset"})
        order = [name for name in type(self).model_fields if name != "dataset"]
        place = list(type(self).model_fields).index("dataset")
        before, after = (
            json_text({name: values[name] for name in names})[2:-3]
            for names in (order[:place], order[place:])
        )
        write_atomic(folder.record, f'{{\n{before},\n  "dataset": {self.dataset.text},\n{after}\n}}\n')

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return self.model_dump(mode="json")

    def with_(self, **changes: Any) -> RunRecord:
        """Return a copy with `changes`, which are checked."""
        return RunRecord(**{**dict(self), **changes})

    def makes_the_weights_of(self, other: RunRecord) -> bool:
        """Return whether both runs have the same weights after the same steps.

        Compared as records, not by digest: a release may know settings that an older one did not.
        """
        sections = [name for name in SECTIONS if name not in WITHOUT_EFFECT_ON_WEIGHTS]
        settings = self.settings.with_resumable(other.settings)
        return (
            all(getattr(settings, name) == getattr(other.settings, name) for name in (*sections, "family"))
            and sorted(self.lora_files.values()) == sorted(other.lora_files.values())
            and self.dataset.shows_the_same_as(other.dataset)
            and self.schedule.pictures_seed == other.schedule.pictures_seed
            and (self.base.family, self.base.prediction) == (other.base.family, other.base.prediction)
        )

    @property
    def last_checkpoint(self) -> Checkpoint | None:
        """The LoRA file after the most steps, the final one before another of the same step."""
        return max(self.checkpoints, key=lambda entry: (entry.step, entry.final), default=None)


def read_record(run: Path) -> RunRecord:
    """Return the record of the run folder `run` (or of its run.json), older versions lifted to today's form.

    Raises OutputError where it is none, is damaged, or is of a newer version.
    """
    return read_versioned(run)[0]


def read_versioned(run: Path) -> tuple[RunRecord, int]:
    """Return the record likewise, and the version in which it lies there."""
    path = run if run.name == RECORD_NAME else run / RECORD_NAME
    table = read_table(path, FILE)
    version = table.get("record_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise OutputError(
            Problem(f"{path} record_version", f"{version!r}", "a whole number from 1", FILE.remedy)
        )
    if version > RECORD_VERSION:
        raise OutputError(
            Problem(
                f"{path} record_version",
                f"{version}",
                f"at most {RECORD_VERSION}",
                "A newer release of Maquette wrote it; read it with that one.",
            )
        )
    return checked(RunRecord, migrated(table, version), str(path), FILE), version


def require_begun(run: Path) -> None:
    """Raise OutputError for a folder that a run began in and left without a record: there is nothing to go on with."""
    if run.is_dir() and not (run / RECORD_NAME).exists() and has_begun_at_most(run):
        raise OutputError(
            Problem(
                str(run),
                "a run was begun here and left before its record was written",
                "a run's folder with its run.json",
                "Start it again with the command that began it: it takes this folder again.",
            )
        )


def digest_of(
    settings: Settings, dataset: DatasetRecord, info: ModelInfo, pictures_seed: int | None = None
) -> str:
    """Return a hash of all that decides the weights."""
    plain = TypeAdapter(DatasetRecord).dump_python(dataset, mode="json")
    base = (info.family, info.prediction)
    return weights_digest(settings.model_dump(mode="json"), plain, *base, pictures_seed)


def dataset_record(dataset: Dataset) -> DatasetRecord:
    """Return what a record says of `dataset`."""
    return DatasetRecord(
        datasets=dataset.datasets,
        subsets=dataset.subsets,
        pictures=tuple(
            PictureRecord(
                path=str(picture.path),
                subset=dataset.subsets.index(picture.subset),
                size_wh=picture.size_wh,
                sha256=picture.sha256,
                caption=picture.caption,
                caption_sha256=picture.caption_sha256,
                mask_path=None if picture.mask_path is None else str(picture.mask_path),
                mask_sha256=picture.mask_sha256,
            )
            for picture in dataset.pictures
        ),
    )


def schedule_record(
    schedule: Schedule, checkpoints: tuple[str, ...], pictures_seed: int | None = None
) -> ScheduleRecord:
    """Return what a record says of `schedule`, with the names of the files that will be written."""
    return ScheduleRecord(
        sum=schedule.explain(),
        train_items=schedule.train_items,
        regularization_items=schedule.regularization_items,
        batches_per_epoch=schedule.batches_per_epoch,
        steps_per_epoch=schedule.steps_per_epoch,
        accumulation=schedule.accumulation,
        epochs=schedule.epochs,
        steps=schedule.steps,
        checkpoints=checkpoints,
        pictures_seed=pictures_seed,
    )


def now() -> str:
    """Return the present moment as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")

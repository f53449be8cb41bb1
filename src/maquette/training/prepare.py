"""From settings to a job: everything that can be wrong is found here, before the base model is loaded.

Problems of settings, base model, pictures, captions and output are gathered and raised together.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from maquette.dataset.buckets import assign_buckets
from maquette.dataset.config import BucketSettings, SubsetOptions, bucket_settings
from maquette.dataset.records import Dataset, Item
from maquette.dataset.repeats import Schedule, make_schedule, plan_items
from maquette.dataset.scan import scan_dataset
from maquette.dataset.summary import dataset_record
from maquette.errors import ConfigError, MaquetteError, OutputError, Problem
from maquette.events import Message
from maquette.files import require_writable_folder
from maquette.logs.metrics import writes_tensorboard
from maquette.project.config_file import dump_settings
from maquette.project.records import RunFolder, RunRecord, environment, now, read_record
from maquette.project.settings import Settings
from maquette.training.checkpoints import plan_checkpoints
from maquette.training.config import trial_of
from maquette.training.job import Job, TrainingDataset, trained_parts

if TYPE_CHECKING:
    from maquette.families.protocol import FamilySpec, ModelInfo
    from maquette.training.state import SavedState

DEFAULT_STEPS = 1000


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a run."""

    problems: tuple[Problem, ...]
    messages: tuple[Message, ...]


class Judge(Protocol):
    """Says what the rules think of a run; they live above training, so whoever prepares a run hands them in."""

    def __call__(
        self, settings: Settings, *, info: ModelInfo | None, schedule: Schedule | None, pictures: bool
    ) -> Verdict: ...


def prepare(
    settings: Settings, *, judge: Judge, resume: Path | None = None, smoke_steps: int | None = None
) -> Job:
    """Return the job that `settings` ask for, checked through. Raises MaquetteError with every problem.

    `judge` is asked with as much of the run as could be worked out (`rules.verdict.judge`).

    With `resume`, the run of that folder goes on from its latest state; with `smoke_steps` it takes that many steps in
    a temporary folder.
    """
    gathered = _Gathered()
    info = spec = dataset = None
    with gathered.part():
        info, spec = _inspect(settings)
    with gathered.part():
        dataset = _scan(settings)
    with gathered.part():
        _require_output(settings, resume, smoke_steps)
    schedule_items: tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]] | None = None
    if dataset is not None and info is not None:
        with gathered.part():
            schedule_items = bucketed_items(settings, dataset, info.vae_factor)
    verdict = Verdict((), ())
    with gathered.part():
        verdict = _verdict(judge, settings, info, dataset, schedule_items[0] if schedule_items else None)
        gathered.problems += verdict.problems
    gathered.raise_all()
    assert info is not None and spec is not None and dataset is not None and schedule_items is not None
    job = _job(settings, info, spec, dataset, schedule_items, resume, smoke_steps)
    return replace(job, messages=(*job.messages, *verdict.messages))


def _verdict(
    judge: Judge,
    settings: Settings,
    info: ModelInfo | None,
    dataset: Dataset | None,
    items: Sequence[Item] | None,
) -> Verdict:
    """Return what the rules say, with as much of the run as could be worked out."""
    training = settings.training
    schedule = None
    if dataset is not None and items is not None and not (training.steps and training.epochs):
        schedule = schedule_of(settings, dataset, items)
    return judge(settings, info=info, schedule=schedule, pictures=dataset is not None)


class _Gathered:
    """Problems of several stages, raised as one error of the first stage's kind."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.kind: type[MaquetteError] = ConfigError

    @contextmanager
    def part(self) -> Iterator[None]:
        try:
            yield
        except MaquetteError as error:
            if not self.problems:
                self.kind = type(error)
            self.problems += error.problems

    def raise_all(self) -> None:
        if self.problems:
            raise self.kind(self.problems)


def _inspect(settings: Settings) -> tuple[ModelInfo, FamilySpec]:
    from maquette import families

    info = families.inspect(settings.model.base)
    return info, families.FAMILIES[info.family].spec


def _scan(settings: Settings) -> Dataset:
    wanted = settings.dataset
    return scan_dataset(
        wanted.images,
        regularization=wanted.regularization,
        options=subset_options(settings),
        fallback_caption=wanted.caption_fallback or None,
        regularization_caption=settings.subject.class_word or None,
    )


def subset_options(settings: Settings) -> SubsetOptions:
    """Return how pictures are shown where folder names and a TOML say nothing."""
    wanted = settings.dataset
    return SubsetOptions(
        num_repeats=wanted.repeats,
        caption_extension=None if _is_toml(wanted.images) else wanted.caption_extension,
        shuffle_caption=wanted.shuffle_caption,
        keep_tokens=wanted.keep_tokens,
    )


def _is_toml(path: Path) -> bool:
    return path.suffix.lower() in (".toml", ".json") and path.is_file()


def bucketed_items(
    settings: Settings, dataset: Dataset, grid_px: int
) -> tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]]:
    """Return an epoch's items with their buckets, each dataset's bucket settings, and what a person should know.

    `grid_px` is what the base model needs sides to be a multiple of. Raises MaquetteError with every problem.
    """
    wanted = settings.dataset
    buckets: list[BucketSettings] = []
    messages: list[Message] = []
    for source in dataset.datasets:
        bucket, said = bucket_settings(
            wanted.resolution,
            source=source,
            enabled=_bucketing(settings),
            min_bucket_px=wanted.min_bucket_px,
            max_bucket_px=wanted.max_bucket_px,
            step_px=wanted.bucket_step_px,
            no_upscale=wanted.bucket_no_upscale,
            grid_px=grid_px,
        )
        buckets.append(bucket)
        messages += said
    items = assign_buckets(plan_items(dataset.pictures), buckets)
    return items, tuple(buckets), messages


def _bucketing(settings: Settings) -> bool:
    """A kohya TOML that says nothing means no buckets, as in sd-scripts; folders are bucketed."""
    wanted = settings.dataset
    return not _is_toml(wanted.images) if wanted.bucketing is None else wanted.bucketing


def _require_output(settings: Settings, resume: Path | None, smoke_steps: int | None) -> None:
    if resume is not None or smoke_steps is not None:
        return
    writes_tensorboard(settings.saving.tensorboard)
    output = settings.saving.output
    if settings.saving.name:
        _require_free(output / settings.saving.name, settings.saving.name)
    require_writable_folder(output)


def _require_free(folder: Path, name: str) -> None:
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        raise OutputError(
            Problem(
                str(folder),
                "a run of that name exists",
                "a new name, since a run is never overwritten",
                f"Choose another --name than '{name}', or go on with it: maquette train --resume {folder}",
            )
        )


def run_name(settings: Settings) -> str:
    """Return the name of the run and its files: as given, else made from the trigger and numbered past existing runs."""
    if settings.saving.name:
        return settings.saving.name
    letters = [letter if letter.isalnum() or letter in "-_." else "_" for letter in settings.subject.trigger]
    stem = "".join(letters).strip("._-") or "lora"
    number = 1
    while (settings.saving.output / f"{stem}-{number:03d}").exists():
        number += 1
    return f"{stem}-{number:03d}"


def _job(
    settings: Settings,
    info: ModelInfo,
    spec: FamilySpec,
    dataset: Dataset,
    bucketed: tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]],
    resume: Path | None,
    smoke_steps: int | None,
) -> Job:
    from maquette.devices import resolve_device, resolve_precision

    items, buckets, messages = bucketed
    training = settings.training
    device = resolve_device(training.device)
    schedule = schedule_of(settings, dataset, items)
    name = resume.resolve().name if resume is not None else run_name(settings)
    folder = RunFolder(_run_path(settings, name, resume, smoke_steps))
    trial = trial_of(settings)
    clip_skip = settings.model.clip_skip or spec.default_clip_skip
    fingerprint = _fingerprint(dataset)
    digest = _digest(settings, fingerprint, info)
    checkpoints = plan_checkpoints(
        name,
        total_steps=schedule.steps,
        steps_per_epoch=schedule.steps_per_epoch,
        every_steps=settings.saving.save_every_steps,
        every_epochs=settings.saving.save_every_epochs,
    )
    record, state = _record_and_state(folder, digest, resume)
    record = record.with_(
        run=name,
        settings=dump_settings(settings),
        base={**record.base, **info.to_json()},
        dataset=fingerprint,
        schedule={**_schedule_facts(schedule), "checkpoints": [planned.file_name for planned in checkpoints]},
        environment=environment(),
    )
    precision = resolve_precision(training.precision, device)
    return Job(
        settings=settings,
        trials=(trial,),
        parts=trained_parts(trial),
        name=name,
        folder=folder,
        info=info,
        spec=spec,
        base_file=Path(info.path) if info.layout == "single-file" else None,
        clip_skip=clip_skip,
        dataset=TrainingDataset(
            dataset=dataset,
            items=items,
            buckets=buckets,
            batch_size=schedule.batch_sizes,
            seed=training.seed,
            cache_folder=settings.dataset.cache_folder,
            cached=settings.dataset.cache_latents,
            schedule=schedule,
        ),
        schedule=schedule,
        checkpoints=checkpoints,
        device=device,
        precision=precision,
        digest=digest,
        record=record,
        messages=(*dataset.warnings, *messages, Message(schedule.explain())),
        resume=state,
        smoke_steps=smoke_steps,
    )


def schedule_of(settings: Settings, dataset: Dataset, items: Sequence[Item]) -> Schedule:
    """Return the arithmetic of the run over `items`, which have buckets; 1000 steps where no length is given."""
    training = settings.training
    return make_schedule(
        items,
        batch_size=tuple(source.batch_size or training.batch_size for source in dataset.datasets),
        accumulation=training.accumulation,
        steps=training.steps if training.steps or training.epochs else DEFAULT_STEPS,
        epochs=training.epochs,
    )


def _run_path(settings: Settings, name: str, resume: Path | None, smoke_steps: int | None) -> Path:
    if smoke_steps is not None:
        return Path(tempfile.mkdtemp(prefix="maquette-smoke-")) / name
    return resume.resolve() if resume is not None else (settings.saving.output / name).resolve()


def _fingerprint(dataset: Dataset) -> dict[str, Any]:
    """Return what identifies every picture, caption and folder of the run."""
    return {**dataset_record(dataset), "warnings": [message.text for message in dataset.warnings]}


def _schedule_facts(schedule: Schedule) -> dict[str, Any]:
    return {
        "sum": schedule.explain(),
        "train_items": schedule.train_items,
        "regularization_items": schedule.regularization_items,
        "batches_per_epoch": schedule.batches_per_epoch,
        "steps_per_epoch": schedule.steps_per_epoch,
        "accumulation": schedule.accumulation,
        "epochs": schedule.epochs,
        "steps": schedule.steps,
    }


WITHOUT_EFFECT_ON_WEIGHTS = ("saving", "samples", "check")


def _digest(settings: Settings, fingerprint: dict[str, Any], info: ModelInfo) -> str:
    """Return a hash of all that decides the weights; a state resumes only the run that it belongs to."""
    values = {
        key: value for key, value in dump_settings(settings).items() if key not in WITHOUT_EFFECT_ON_WEIGHTS
    }
    text = json.dumps([values, fingerprint, info.family, info.prediction], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _record_and_state(
    folder: RunFolder, digest: str, resume: Path | None
) -> tuple[RunRecord, SavedState | None]:
    if resume is None:
        return RunRecord(run="", created_at=now()), None
    from maquette.training.state import latest_state

    record = read_record(folder.path)
    if record.state == "finished":
        raise OutputError(
            Problem(
                str(folder.path),
                "this run is finished",
                "an interrupted run",
                "Start a new run to train longer.",
            )
        )
    state = latest_state(folder.state)
    if state is not None and state.digest != digest:
        raise OutputError(
            Problem(
                str(folder.path),
                "pictures, captions or settings changed since the run began",
                "the same ones: a resumed run equals an uninterrupted one",
                "Put them back as they were, or start a new run.",
            )
        )
    step = state.step if state else 0
    kept = tuple(entry for entry in record.checkpoints if entry.step <= step)
    resumed = (*record.resumed_at_steps, step)
    return record.with_(
        checkpoints=kept, resumed_at_steps=resumed, error=None, finished_at=None, step=step
    ), state

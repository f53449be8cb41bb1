"""From settings to a job: everything that can be wrong is found here, before the base model is loaded.

Problems of settings, base model, pictures, captions and output are gathered and raised together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from maquette.dataset.augment import said_of_varying
from maquette.dataset.config import BucketSettings
from maquette.dataset.facts import DatasetFacts, DatasetInput
from maquette.dataset.planned import bucketed, input_of, schedule_over
from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Dataset, Item
from maquette.dataset.repeats import Schedule, plan_items
from maquette.dataset.strict import dataset_of
from maquette.drawing.samplers import sampler_named
from maquette.errors import ConfigError, MaquetteError, MissingExtra, Problem, did_you_mean
from maquette.events import Message
from maquette.families.options import family_options
from maquette.files import require_name_fits, require_writable_folder
from maquette.kohya.drawn_prompts import drawing_problems, drawn_prompt
from maquette.kohya.prompts import prompt_of
from maquette.logs.metrics import writes_tensorboard
from maquette.logs.trackers import require_trackers
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.project.settings import DatasetSettings, Settings
from maquette.training.adapting import require_layers
from maquette.training.claiming import Claim, claim, require_free
from maquette.training.continuing import require_base_weights, told_of_base_weights, told_of_weights
from maquette.training.job import Job, TrainingDataset
from maquette.training.optimizing_checks import require_optimizers
from maquette.training.process_checks import require_processes
from maquette.training.trials import Shared, require_alike, trial_runs
from maquette.training.validating import validation_plan

if TYPE_CHECKING:
    from maquette.dataset.cache_folder import CacheFolder
    from maquette.families.protocol import FamilySpec, ModelInfo


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a run."""

    problems: tuple[Problem, ...]
    messages: tuple[Message, ...]


class Judge(Protocol):
    """Says what the rules think of a run; they live above training, so whoever prepares a run hands them in."""

    def __call__(
        self,
        settings: Settings,
        *,
        info: ModelInfo | None,
        schedule: Schedule | None,
        facts: DatasetFacts | None,
    ) -> Verdict: ...


def prepare(
    settings: Settings,
    *,
    judge: Judge,
    trials: Sequence[Settings] = (),
    resume: Path | None = None,
    smoke_steps: int | None = None,
    next_name: bool = False,
    recorded: Dataset | None = None,
    facts: DatasetFacts | None = None,
) -> Job:
    """Return the job that `settings` ask for, checked through. Raises MaquetteError with every problem.

    `judge` is asked with as much of the run as could be worked out (`rules.verdict.judge`).

    With `trials`, one adapter is trained for each of them over the same base and pictures, in one pass (see `trials.py`);
    without, `settings` are the only trial. With `resume`, the run of that folder goes on from its latest state; with
    `smoke_steps` it takes that many steps in a temporary folder; with `next_name` a new run whose name is taken has the next
    free number. With `recorded`, that dataset is trained on, whatever captions and folders say today, and nothing is measured
    beside; with `facts`, what was read of the pictures before. The job holds its folder from here on until it is run or closed.
    """
    gathered = _Gathered()
    info = spec = dataset = None
    with gathered.part():
        info, spec = _inspect(settings)
    if recorded is None and facts is None:
        facts = read_dataset(dataset_input(settings))
    with gathered.part():
        dataset = recorded if facts is None else dataset_of(facts)
    with gathered.part():
        require_alike(settings, trials)
    if spec is not None and info is not None:
        for own in trials or (settings,):
            with gathered.part():
                _require_family(own, spec)
            with gathered.part():
                _require_samples(own, spec, info.vae_factor)
        for own in trials or (settings,):
            with gathered.part():
                require_layers(own, spec, info)
        with gathered.part():
            require_base_weights(settings.model, info)
    with gathered.part():
        require_processes(settings)
    with gathered.part():
        _require_output(settings, new=resume is None and smoke_steps is None, next_name=next_name)
    schedule_items: tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]] | None = None
    validation = None
    if dataset is not None and info is not None:
        with gathered.part():
            schedule_items = bucketed_items(settings, dataset, info.vae_factor)
        with gathered.part():
            validation = validation_plan(settings, facts, dataset, info.vae_factor) if facts else None
    with gathered.part():
        require_optimizers(trials or (settings,), _length(settings, dataset, schedule_items))
    verdict = Verdict((), ())
    with gathered.part():
        items = schedule_items[0] if schedule_items else None
        known = facts if dataset is not None else None
        verdict = _verdict(judge, trials or (settings,), info, known, dataset, items)
        gathered.problems += verdict.problems
    gathered.raise_all()
    assert info is not None and spec is not None and dataset is not None and schedule_items is not None
    claimed = claim(
        settings,
        next_name=next_name,
        resume=resume,
        smoke=smoke_steps is not None,
        num_trials=len(trials) or 1,
    )
    with ExitStack() as undo:
        undo.callback(claimed.close)
        job = _job(
            settings, info, spec, dataset, schedule_items, trials or (settings,), claimed, resume, smoke_steps
        )
        undo.pop_all()
    messages = (*job.messages, *((validation.message(),) if validation else ()), *verdict.messages)
    return replace(job, validation=validation, messages=messages)


def _length(
    settings: Settings,
    dataset: Dataset | None,
    schedule_items: tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]] | None,
) -> int:
    """Return the run's steps; 1 where its pictures are what is wrong."""
    training = settings.training
    if dataset is None or schedule_items is None or (training.steps and training.epochs):
        return training.steps or 1
    return schedule_of(settings, dataset, schedule_items[0]).steps


def _verdict(
    judge: Judge,
    trials: Sequence[Settings],
    info: ModelInfo | None,
    facts: DatasetFacts | None,
    dataset: Dataset | None,
    items: Sequence[Item] | None,
) -> Verdict:
    """Return what the rules say of every trial, each thing once, with as much of the run as could be worked out."""
    said = []
    for settings in trials:
        training = settings.training
        schedule = None
        if dataset is not None and items is not None and not (training.steps and training.epochs):
            schedule = schedule_of(settings, dataset, items)
        said.append(judge(settings, info=info, schedule=schedule, facts=facts))
    return Verdict(
        tuple(dict.fromkeys(problem for verdict in said for problem in verdict.problems)),
        tuple(dict.fromkeys(message for verdict in said for message in verdict.messages)),
    )


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
                self.kind = ConfigError if isinstance(error, MissingExtra) else type(error)
            self.problems += error.problems

    def raise_all(self) -> None:
        if self.problems:
            raise self.kind(self.problems)


def _inspect(settings: Settings) -> tuple[ModelInfo, FamilySpec]:
    from maquette import families

    info = families.inspect(settings.model.base, families.stated_by(settings.objective, settings.model))
    if settings.model.vae:
        families.require_vae(settings.model.vae, info)
    return info, families.FAMILIES[info.family].spec


def _require_family(settings: Settings, spec: FamilySpec) -> None:
    """Raise ConfigError for settings and samplers that the base's family does not have."""
    family_options(spec, settings.family_values())
    sampler = settings.samples.sampler
    if sampler is not None and sampler not in spec.samplers:
        raise ConfigError(
            Problem(
                "sampler", f"'{sampler}'", f"a sampler of {spec.title}", did_you_mean(sampler, spec.samplers)
            )
        )


def _require_samples(settings: Settings, spec: FamilySpec, vae_factor: int) -> None:
    """Raise ConfigError with all that sample prompts say of their drawing and cannot be drawn."""
    problems: list[Problem] = []
    for number, text in enumerate(settings.samples.sample_prompts, start=1):
        line, where = prompt_of(text), f"sample_prompts {number}"
        problems += drawing_problems(where, line, vae_factor)
        sampler = drawn_prompt(line).sampler
        if sampler is not None and sampler_named(spec, sampler) not in spec.samplers:
            required, remedy = f"a sampler of {spec.title}", did_you_mean(sampler, spec.samplers)
            problems.append(Problem(where, f"--ss {sampler}", required, remedy))
    if problems:
        raise ConfigError(problems)


def dataset_input(settings: Settings) -> DatasetInput:
    """Return which dataset the settings mean, and how it is shown where folder names and a TOML say nothing."""
    wanted = settings.dataset
    return input_of(request_of(settings, UNSAVED), wanted.images, wanted.regularization)


def bucketed_items(
    settings: Settings, dataset: Dataset, grid_px: int
) -> tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]]:
    """Return an epoch's items with their buckets, each dataset's bucket settings, and what a person should know.

    `grid_px` is what the base model needs sides to be a multiple of. Raises MaquetteError with every problem.
    """
    request = request_of(settings, UNSAVED)
    return bucketed(plan_items(dataset.pictures), dataset.datasets, request, grid_px)


def _require_output(settings: Settings, *, new: bool, next_name: bool) -> None:
    require_trackers(settings.saving.trackers)
    if not new:
        return
    writes_tensorboard(settings.saving.tensorboard)
    output, name = settings.saving.output, settings.saving.name
    if name and not next_name:
        require_free(output / name, name)
    require_writable_folder(output)


def _job(
    settings: Settings,
    info: ModelInfo,
    spec: FamilySpec,
    dataset: Dataset,
    bucketed: tuple[tuple[Item, ...], tuple[BucketSettings, ...], list[Message]],
    trials: Sequence[Settings],
    claimed: Claim,
    resume: Path | None,
    smoke_steps: int | None,
) -> Job:
    from maquette.devices import resolve_device, resolve_precision

    items, buckets, messages = bucketed
    training = settings.training
    device = resolve_device(training.device)
    schedule = schedule_of(settings, dataset, items)
    shared = Shared(
        settings=settings,
        name=claimed.name,
        folder=claimed.folder,
        dataset=dataset,
        schedule=schedule,
        info=info,
        resume=resume is not None,
    )
    precision = resolve_precision(training.precision, device)
    why = [_why_precision(device)] if training.precision == "auto" else []
    runs = trial_runs(shared, trials)
    if resume is None and smoke_steps is None:
        names = [planned.file_name for run in runs for planned in run.checkpoints]
        require_name_fits(claimed.folder.path, max(names, key=lambda name: len(os.fsencode(name))))
    return Job(
        settings=settings,
        trials=runs,
        name=claimed.name,
        folder=claimed.folder,
        claim=claimed,
        info=info,
        spec=spec,
        base_file=Path(info.path) if info.layout == "single-file" else None,
        options=family_options(spec, settings.family_values()),
        dataset=TrainingDataset(
            dataset=dataset,
            items=items,
            buckets=buckets,
            batch_size=schedule.batch_sizes,
            seed=training.seed,
            cache_folder=_cache_folder(settings.dataset),
            cached=settings.dataset.cache_latents,
            schedule=schedule,
            vae_batch_size=settings.dataset.vae_batch_size,
            skip_cache_check=settings.dataset.skip_cache_check,
            caches_texts=settings.dataset.cache_text_encoder_outputs,
        ),
        schedule=schedule,
        device=device,
        precision=precision,
        messages=(
            *claimed.messages,
            *messages,
            *why,
            *(said_of_varying(items) if settings.dataset.cache_latents else ()),
            *(message for run in runs for message in run.messages),
            *(
                each
                for run in runs
                if run.weights
                for each in told_of_weights(run.weights, run.spec(spec, info), info)
            ),
            *(Message(text, "warning") for text in told_of_base_weights(settings.model)),
            Message(schedule.explain()),
        ),
        smoke_steps=smoke_steps,
    )


def _cache_folder(dataset: DatasetSettings) -> CacheFolder | None:
    from maquette.dataset.cache_folder import CacheFolder

    if dataset.cache_folder is None:
        return None
    limit = dataset.cache_limit_gb
    return CacheFolder(dataset.cache_folder, None if limit is None else round(limit * 1e9))


def _why_precision(device: str) -> Message:
    """Return which precision `auto` chose, and why."""
    from maquette.devices import precision_here

    chosen = precision_here(device)
    name = {"no": "float32"}.get(chosen.precision, chosen.precision)
    return Message(f"Precision: {name} on {device}: {chosen.reason}.")


def schedule_of(settings: Settings, dataset: Dataset, items: Sequence[Item]) -> Schedule:
    """Return the arithmetic of the run over `items`, which have buckets; 1000 steps where no length is given."""
    return schedule_over(items, dataset.datasets, request_of(settings, UNSAVED))

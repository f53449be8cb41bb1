"""`maquette plan`: from settings to steps, checkpoints, memory, time and disk, before anything runs.

The arithmetic, buckets and names are training's own functions; nothing here is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from maquette import families
from maquette.dataset.buckets import assign_buckets
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.folders import names_of
from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Dataset, Item
from maquette.dataset.repeats import Schedule, plan_items
from maquette.dataset.strict import sized_dataset
from maquette.dataset.targets import StepTarget
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.evaluating.holding_back import HoldBack
from maquette.events import Finished, Message, Stage, Started, run_stage
from maquette.families.protocol import ModelInfo
from maquette.footprint.advice import Change, changes_to_fit, fits_after
from maquette.footprint.disk import DiskPlan, disk_plan
from maquette.footprint.memory import MemoryPlan
from maquette.footprint.run import Footprint, footprint_of
from maquette.footprint.timing import TimePlan
from maquette.planning.device import PlannedDevice, planned_device
from maquette.planning.duration import TimeRequest, estimate_time
from maquette.planning.holding_back import proposal_for, reminder
from maquette.planning.options import PlanOptions
from maquette.planning.presets import Preset, fitting_presets
from maquette.planning.proposals import Proposal, length_advice, propose, target_steps
from maquette.planning.validation import PlannedValidation, planned_validation
from maquette.project.checkpoints import PlannedCheckpoint
from maquette.project.machine import Machine
from maquette.project.request import TrainingRequest
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.project.settings import Settings
from maquette.rules.verdict import judge, machine_here, remarks
from maquette.training.claiming import run_name
from maquette.training.prepare import bucketed_items, dataset_input, schedule_of

STAGE = "plan"
NO_BASE = "no base given"


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """What a run will take. Sizes are bytes, durations seconds; `seconds` is None where nothing tells."""

    schedule: Schedule
    pictures: int
    checkpoints: tuple[PlannedCheckpoint, ...]
    memory: MemoryPlan
    time: TimePlan | None
    disk: DiskPlan
    device: PlannedDevice
    changes: tuple[Change, ...]
    fits: bool
    proposals: tuple[Proposal, ...]
    target: StepTarget
    presets: tuple[Preset, ...]
    advice: tuple[str, ...]
    info: ModelInfo
    assumed: str | None
    """What stands in for a base that was not given, in words."""
    checkpoint_bytes: int
    settings: Settings
    facts: DatasetFacts | None = None
    """The pictures as they were read for it."""
    validation: PlannedValidation | None = None
    hold_back: HoldBack | None = None
    """Where it was asked for: which pictures to hold out of training."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the first eight are the command's contract."""
        schedule = self.schedule
        return {
            "train_items": schedule.train_items,
            "regularization_items": schedule.regularization_items,
            "steps_per_epoch": schedule.steps_per_epoch,
            "steps": schedule.steps,
            "checkpoints": [planned.file_name for planned in self.checkpoints],
            "memory_bytes": self.memory.peak_bytes,
            "disk_bytes": self.disk.total_bytes,
            "seconds": round(self.time.seconds, 1) if self.time else None,
            "sum": schedule.explain(),
            "epochs": schedule.epochs,
            "batches_per_epoch": schedule.batches_per_epoch,
            "pictures": self.pictures,
            "buckets": schedule.num_buckets,
            "advice": list(self.advice),
            "memory": {**self.memory.to_json(), "available_bytes": self.device.memory_bytes, "fits": self.memory_fits},
            "changes": [change.to_json() for change in self.changes],
            "fits_after_changes": self.fits,
            "time": self.time.to_json() if self.time else None,
            "disk": self.disk.to_json(),
            "device": self.device.to_json(),
            "proposals": [proposal.to_json() for proposal in self.proposals],
            "target_steps": [self.target.low, self.target.high],
            "presets": [preset.name for preset in self.presets],
            "checkpoint_bytes": self.checkpoint_bytes,
            "validation": self.validation.to_json() if self.validation else None,
            "hold_back": self.hold_back.to_json() if self.hold_back else None,
            "base": {"title": self.info.title, "native_px": self.info.resolution, "assumed": self.assumed},
        }  # fmt: skip

    @property
    def memory_fits(self) -> bool:
        return self.device.memory_bytes is None or self.memory.needed_bytes <= self.device.memory_bytes


def plan(
    settings: Settings, options: PlanOptions | None = None, machine: Machine | None = None
) -> PlanResult:
    """Return what the run of `settings` will take; see `plan_events`."""
    return run_stage(plan_events(settings, options, machine))


def plan_events(
    settings: Settings, options: PlanOptions | None = None, machine: Machine | None = None
) -> Stage[PlanResult]:
    """Work out what the run of `settings` will take.

    An empty `base` stands for the ordinary model of the family whose size the resolution fits. `machine` None: this
    one. Raises MaquetteError with every problem that would keep the run from starting, a missing device excepted.
    """
    options, machine = options or PlanOptions(), machine or machine_here()
    yield Started(STAGE)
    facts = read_dataset(dataset_input(settings), "headers", captions=False)
    info, dataset = _look(settings, facts)
    yield from _known_by_name(info)
    yield from (*remarks(settings, facts, ("STP",)), *_not_counted(facts))
    items, _, messages = bucketed_items(settings, dataset, info.vae_factor)
    yield from messages
    schedule = schedule_of(settings, dataset, items)
    request = request_of(settings, UNSAVED)
    device = planned_device(request, machine, options, info.resolution)
    if options.measure and device.is_here and not options.device_like:
        yield Message(
            "Without an earlier run to tell, this machine's speed is measured for about two seconds."
        )
    asked = _Asked(
        settings=settings,
        options=options,
        machine=machine,
        info=info,
        dataset=dataset,
        items=items,
        schedule=schedule,
        device=device,
        footprint=_footprint(request, info, items, schedule, device, run_name(settings)),
        facts=facts,
    )
    result = asked.result()
    yield Finished(STAGE)
    return result


def _not_counted(facts: DatasetFacts) -> Iterator[Message]:
    unread = [path for path in facts.looks if path not in facts.sizes_wh]
    if unread:
        yield Message(
            f"{len(unread)} pictures cannot be opened and are not counted ({names_of(unread)}). "
            "Training will refuse them: run maquette check.",
            "warning",
        )


def _look(settings: Settings, facts: DatasetFacts) -> tuple[ModelInfo, Dataset]:
    """Return base and pictures; the problems of both are raised together."""
    gathered: list[MaquetteError] = []
    info: ModelInfo | None = None
    dataset: Dataset | None = None
    try:
        info = base_info(settings.model.base, largest_resolution(settings, facts))
    except MaquetteError as error:
        gathered.append(error)
    try:
        dataset = sized_dataset(facts)
    except MaquetteError as error:
        gathered.append(error)
    if info is None or dataset is None:
        raise type(gathered[0])(problem for error in gathered for problem in error.problems)
    return info, dataset


def _footprint(
    request: TrainingRequest,
    info: ModelInfo,
    items: tuple[Item, ...],
    schedule: Schedule,
    device: PlannedDevice,
    name: str,
) -> Footprint:
    footprint = footprint_of(
        request, info, items, schedule, device=device.kind, name=name, memory_bytes=device.memory_bytes
    )
    if footprint is None:
        remedy = "Give a learning rate above 0 to one of them: --learning-rate 1e-4"
        raise ConfigError(
            Problem("training", "no part is trained", "the denoiser or the text encoder", remedy)
        )
    return footprint


def _known_by_name(info: ModelInfo) -> Iterator[Message]:
    """Say where the figures are those of the published model, because the base is only known by its hub name."""
    if info.source == "hub" and families.known_by_name(info.path) == info:
        family = families.FAMILIES[info.family].spec.title
        yield Message(
            f"{info.path} is not on this machine: the figures are those of {family} as it is published."
        )


def largest_resolution(settings: Settings, facts: DatasetFacts) -> tuple[int, int]:
    """Return the size that pictures are trained at, the largest where a dataset TOML says several of its own."""
    said = [source.resolution_wh or settings.dataset.resolution for source in facts.plan.datasets]
    return max(said, key=lambda size: size[0] * size[1], default=settings.dataset.resolution)


def base_info(base: str, resolution_wh: tuple[int, int]) -> ModelInfo:
    """Return what the base is; for an empty name the ordinary model of the largest native size within the resolution."""
    if base:
        return families.inspect_or_known(base)
    specs = [family.spec for family in families.FAMILIES.values()]
    edge = (resolution_wh[0] * resolution_wh[1]) ** 0.5
    # Of families of one size the first of the table counts: it is the most used.
    within = [spec for spec in specs if spec.native_resolution_px <= edge]
    spec = max(within, key=lambda spec: spec.native_resolution_px, default=specs[0])
    return replace(families.published_info(spec.name), path=NO_BASE)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A run as far as it is looked at, from which every figure follows."""

    settings: Settings
    options: PlanOptions
    machine: Machine
    info: ModelInfo
    dataset: Dataset
    items: tuple[Item, ...]
    schedule: Schedule
    device: PlannedDevice
    footprint: Footprint
    facts: DatasetFacts

    @property
    def pictures(self) -> int:
        own = (picture for picture in self.dataset.pictures if not picture.subset.is_regularization)
        return len({picture.path for picture in own})

    @property
    def target(self) -> StepTarget:
        per_step = max(self.schedule.batch_sizes) * self.schedule.accumulation
        return target_steps(self.pictures, self.options.kind, per_step, self.options.target_steps)

    def result(self) -> PlanResult:
        """Return the plan."""
        footprint, memory, budget = self.footprint, self.footprint.memory, self.device.memory_bytes
        bf16, trainer = self.device.bf16, self.options.trainer
        changes = changes_to_fit(footprint.memory_request, budget, trainer, bf16=bf16) if budget else ()
        disk = disk_plan(footprint.disk, self.settings.saving.output, self.machine)
        assumed = f"the ordinary {self.info.title}, whose size the resolution fits"
        return PlanResult(
            schedule=self.schedule,
            pictures=self.pictures,
            checkpoints=footprint.checkpoints,
            memory=memory,
            time=estimate_time(self.time_request(), self.device, self.options),
            disk=disk,
            device=self.device,
            changes=changes,
            fits=budget is None or fits_after(changes, memory.needed_bytes, budget),
            proposals=self.proposals(),
            target=self.target,
            presets=fitting_presets(self.info.resolution, self.options.kind, self.pictures),
            advice=(
                *self.refusals(),
                *length_advice(self.schedule, self.target, self.pictures, len(footprint.checkpoints)),
                *disk.problems,
                *reminder(self.settings, self.facts),
            ),
            info=self.info,
            assumed=assumed if self.info.path == NO_BASE else None,
            checkpoint_bytes=footprint.checkpoint_bytes,
            settings=self.settings,
            facts=self.facts,
            validation=self.validation,
            hold_back=proposal_for(self.settings) if self.options.hold_back else None,
        )

    @property
    def validation(self) -> PlannedValidation | None:
        return planned_validation(self.settings, self.facts, self.schedule, self.footprint.checkpoints)

    def time_request(self) -> TimeRequest:
        return TimeRequest(
            settings=self.settings,
            info=self.info,
            items=self.items,
            schedule=self.schedule,
            memory=self.footprint.memory_request,
            draws=self.footprint.draws,
            validation_passes=self.validation.passes if self.validation else 0,
        )

    def proposals(self) -> tuple[Proposal, ...]:
        """Return ways to the target where the plan misses it; the arithmetic of each is training's own."""
        if self.schedule.steps in self.target:
            return ()
        buckets = bucketed_items(self.settings, self.dataset, self.info.vae_factor)[1]

        def schedule_with(changed: Dataset, epochs: int | None) -> Schedule:
            length: dict[str, int | None] = {"epochs": epochs, "steps": None} if epochs else {}
            training = self.settings.training.model_copy(update=length)
            items = assign_buckets(plan_items(changed.pictures), buckets)
            return schedule_of(self.settings.model_copy(update={"training": training}), changed, items)

        is_toml = self.settings.dataset.images.is_file()
        return propose(self.target, self.schedule, self.dataset, schedule_with, is_toml=is_toml)

    def refusals(self) -> list[str]:
        """Return why training would refuse the run, as its own rules say; a device that is elsewhere cannot be asked."""
        if not self.device.is_here:
            return []
        info = self.info if self.info.path != NO_BASE else None
        verdict = judge(self.settings, info=info, schedule=self.schedule)
        return [f"Training will refuse this: {problem}" for problem in verdict.problems]

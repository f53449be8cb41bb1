"""A run's validation: which pictures it asks, when, and where the answers go. The loop has one of these, or none."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from maquette.dataset.facts import DatasetFacts
from maquette.dataset.held_out import in_order
from maquette.dataset.held_pictures import held_pictures, items_of, plainly
from maquette.dataset.planned import bucketed
from maquette.dataset.records import Dataset, Item, Picture
from maquette.events import Event, Message
from maquette.logs.metrics import VALIDATION, MetricsLog, read_metrics
from maquette.project.checkpoints import is_due
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.project.settings import Settings
from maquette.runs.validation import MeasuredOn, MeasuredPicture, ValidationPoint, ValidationRecord
from maquette.spoken import counted

if TYPE_CHECKING:
    from maquette.dataset.cache_folder import CacheFolder
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.training.engine import Engine
    from maquette.training.outputs import TrialOutput
    from maquette.training.texts import CaptionEncoder
    from maquette.training.validation import Validator

MEASURED_OF_TRAINING = 32
"""Training pictures that are measured where nobody says how many."""


@dataclass(frozen=True, kw_only=True)
class ValidationPlan:
    """What a run measures: pictures in their buckets, and when."""

    items: tuple[Item, ...]
    measured_on: MeasuredOn
    timesteps: int
    seed: int
    every_steps: int | None
    every_epochs: int | None

    def is_due(self, step: int, total: int, steps_per_epoch: int, at_checkpoint: bool) -> bool:
        """Return whether it is time after `step` steps: as asked, else with each checkpoint; always at 0 and the end."""
        if self.every_steps is None and self.every_epochs is None:
            return at_checkpoint or step in (0, total)
        return step == 0 or is_due(step, total, steps_per_epoch, self.every_steps, self.every_epochs)

    def points(self, total: int, steps_per_epoch: int, checkpoints: Sequence[int]) -> int:
        """Return how often a whole run measures, the base included."""
        known = set(checkpoints)
        return sum(self.is_due(step, total, steps_per_epoch, step in known) for step in range(total + 1))

    def message(self) -> Message:
        """Return what a person should know of it before the run."""
        number = counted(len(self.items), "picture")
        if self.measured_on == "training":
            return Message(
                f"Validation measures {number} that the run trains on: how well they are fitted, which always goes on. "
                "Only pictures that are held out tell whether what is learnt carries over (--validation-split).",
                "warning",
            )
        alone = " One picture alone has no standard error." if len(self.items) == 1 else ""
        return Message(
            f"{number} held out: never trained on, measured at {counted(self.timesteps, 'level')} of noise.{alone}"
        )


def validation_plan(
    settings: Settings, facts: DatasetFacts, dataset: Dataset, grid_px: int
) -> ValidationPlan | None:
    """Return what a run of `settings` measures, None where nothing. Raises DatasetError for pictures that cannot be."""
    wanted = settings.validation
    if wanted.validation_training:
        pictures = _of_training(dataset, wanted.validation_pictures or MEASURED_OF_TRAINING)
    else:
        pictures = _first(held_pictures(facts), wanted.max_validation_pictures)
    if not pictures:
        return None
    items, _, _ = bucketed(items_of(pictures), dataset.datasets, request_of(settings, UNSAVED), grid_px)
    return ValidationPlan(
        items=items,
        measured_on="training" if wanted.validation_training else "held-out",
        timesteps=wanted.validation_timesteps,
        seed=wanted.validation_seed,
        every_steps=wanted.validate_every_steps,
        every_epochs=wanted.validate_every_epochs,
    )


def _of_training(dataset: Dataset, most: int) -> tuple[Picture, ...]:
    return _first(plainly(each for each in dataset.pictures if not each.subset.is_regularization), most)


def _first(pictures: Sequence[Picture], most: int | None) -> tuple[Picture, ...]:
    """Return at most so many pictures, chosen as those that are held out are."""
    chosen = set(in_order(picture.sha256 for picture in pictures)[:most])
    return tuple(picture for picture in pictures if picture.sha256 in chosen)


class RunValidation:
    """Measures the trials of a run as it goes."""

    def __init__(self, plan: ValidationPlan, outputs: Sequence[TrialOutput]) -> None:
        self.plan = plan
        self.outputs = outputs
        self.seconds = 0.0
        self._validator: Validator | None = None
        self._base: list[float] | None = None
        self._previous: list[list[float] | None] = [None] * len(outputs)

    def encode(
        self, model: BaseModel, placement: Placement, texts: CaptionEncoder, cache: CacheFolder | None
    ) -> Iterator[Event]:
        """Encode the pictures while there is a VAE, and recall what a resumed run measured before."""
        validator = validator_of(self.plan, model, placement, texts, cache)
        yield from validator.encode()
        self.use(validator)

    def use(self, validator: Validator) -> None:
        """Measure with `validator`, whose pictures are encoded; recall what a resumed run measured before."""
        self._validator, plan = validator, self.plan
        fresh = ValidationRecord(
            measured_on=plan.measured_on,
            seed=plan.seed,
            timesteps=tuple(float(timestep) for timestep in validator.timesteps_T),
            pictures=tuple(_named(item) for item in plan.items),
        )
        for index, output in enumerate(self.outputs):
            self._recall(index, output, fresh)

    def _recall(self, index: int, output: TrialOutput, fresh: ValidationRecord) -> None:
        known = output.record.validation
        if known is None or _question(known) != _question(fresh):
            output.record = output.record.with_(validation=fresh)
            return
        steps = {point.step for point in known.points}
        for row in read_metrics(output.run.folder.metrics, VALIDATION):
            losses = row.get("pictures")
            if row["step"] in steps and isinstance(losses, list) and len(losses) == len(fresh.pictures):
                self._previous[index] = losses
                self._base = losses if row["step"] == 0 else self._base

    def after_step(
        self, engine: Engine, step: int, at_checkpoint: bool, logs: Sequence[MetricsLog]
    ) -> Iterator[Event]:
        """Measure after `step` steps where it is time and was not done yet; at step 0 the base alone."""
        if not self.is_due(step, at_checkpoint):
            return
        began = time.perf_counter()
        for index, losses in enumerate(self._measured(engine, step)):
            yield from self.take_in(index, step, losses, logs[index])
        self.seconds += time.perf_counter() - began

    def is_due(self, step: int, at_checkpoint: bool) -> bool:
        """Return whether it is time after `step` steps, and was not done yet."""
        schedule = self.outputs[0].job.schedule
        due = self.plan.is_due(step, schedule.steps, schedule.steps_per_epoch, at_checkpoint)
        return due and not all(output.has_validation(step) for output in self.outputs)

    def take_in(self, index: int, step: int, losses: list[float], log: MetricsLog) -> Iterator[Message]:
        """Write down what was measured of a trial after `step` steps; at step 0 that is the base."""
        self._base = losses if step == 0 else self._base
        output = self.outputs[index]
        point = output.log_validation(log, step, losses, self._base, self._previous[index])
        self._previous[index] = losses
        if step == output.job.schedule.steps:
            yield Message(told(output, point))

    @property
    def validator(self) -> Validator:
        """What measures; there after `encode` or `use`."""
        assert self._validator is not None
        return self._validator

    def captions(self) -> list[str]:
        """Return the captions of the pictures that are measured; none before `encode`."""
        return self._validator.captions() if self._validator is not None else []

    def _measured(self, engine: Engine, step: int) -> list[list[float]]:
        """Return each trial's loss of each picture."""
        if step == 0:
            base = self.validator.measure_base(engine.adapter).tolist()
            return [base] * len(self.outputs)
        with engine.judged():
            found: list[list[float]] = self.validator.measure(len(self.outputs)).tolist()
        return found

    def shown(self) -> dict[str, float | str]:
        """Return what the progress line says: the newest loss and its change from the base; of several trials their mean."""
        points = [
            output.record.validation.points[-1]
            for output in self.outputs
            if output.record.validation and output.record.validation.points
        ]
        if len(points) < len(self.outputs):
            return {}
        loss = fmean(point.loss for point in points)
        changes = [point.from_base for point in points if point.from_base is not None]
        change = f" ({_share(fmean(changes), loss):+.1%} from base)" if changes else ""
        return {"validation": f"{loss:.4f}{change}"}


def validator_of(
    plan: ValidationPlan,
    model: BaseModel,
    placement: Placement,
    texts: CaptionEncoder,
    cache: CacheFolder | None,
) -> Validator:
    """Return what measures as `plan` says; its pictures are not encoded yet."""
    from maquette.training.validation import Validator

    return Validator(
        model,
        placement,
        plan.items,
        timesteps=plan.timesteps,
        seed=plan.seed,
        texts=texts,
        cache_folder=cache,
    )


def told(output: TrialOutput, last: ValidationPoint) -> str:
    """Return what a finished run's validation says, in one line."""
    record = output.record.validation
    assert record is not None
    name = f"{output.run.name}: " if len(output.job.trials) > 1 else ""
    best = min(record.points, key=lambda point: point.loss)
    text = f"{name}validation loss {last.loss:.4f}"
    if last.from_base is not None:
        error = "" if last.from_base_error is None else f" ± {last.from_base_error:.4f}"
        text += f", {last.from_base:+.4f}{error} from the base ({_share(last.from_base, last.loss):+.1%})"
    if best.step != last.step:
        where = "the base" if best.step == 0 else f"step {best.step}"
        text += f"; lowest at {where} ({best.loss:.4f})"
    return f"{text}. It tells where a LoRA stops carrying over, not which checkpoint draws best."


def _share(change: float, now: float) -> float:
    return change / (now - change) if now != change else 0.0


def _named(item: Item) -> MeasuredPicture:
    picture = item.picture
    return MeasuredPicture(path=str(picture.path), sha256=picture.sha256, caption=picture.caption)


def _question(record: ValidationRecord) -> tuple[object, ...]:
    """Return what must be the same for losses to compare."""
    pictures = [(each.sha256, each.caption) for each in record.pictures]
    return record.seed, record.timesteps, pictures

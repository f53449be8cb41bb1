"""What measuring the validation's pictures adds to a planned run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from maquette.dataset.facts import DatasetFacts
from maquette.dataset.repeats import Schedule
from maquette.project.checkpoints import PlannedCheckpoint
from maquette.project.settings import Settings
from maquette.spoken import counted
from maquette.training.validating import MEASURED_OF_TRAINING, ValidationPlan


@dataclass(frozen=True, kw_only=True)
class PlannedValidation:
    """How many pictures are measured, at how many levels of noise, how often (the base once)."""

    pictures: int
    timesteps: int
    points: int
    is_training: bool

    @property
    def passes(self) -> int:
        """Pictures that go forward through the model over the whole run."""
        return self.pictures * self.timesteps * self.points

    def told(self) -> str:
        """Return it in words, without its time."""
        pictures = counted(self.pictures, "training picture" if self.is_training else "held-out picture")
        return f"{pictures} at {counted(self.timesteps, 'level')} of noise, {counted(self.points, 'time')}"

    def to_json(self) -> dict[str, Any]:
        return {"pictures": self.pictures, "timesteps": self.timesteps, "points": self.points}


def planned_validation(
    settings: Settings, facts: DatasetFacts, schedule: Schedule, checkpoints: Sequence[PlannedCheckpoint]
) -> PlannedValidation | None:
    """Return what the run of `settings` measures, None where nothing."""
    wanted = settings.validation
    if wanted.validation_training:
        number = min(len(facts.files), wanted.validation_pictures or MEASURED_OF_TRAINING)
    else:
        number = len(facts.held_out) + len(facts.held_elsewhere)
        number = min(number, wanted.max_validation_pictures or number)
    if not number:
        return None
    plan = ValidationPlan(
        items=(),
        measured_on="training" if wanted.validation_training else "held-out",
        timesteps=wanted.validation_timesteps,
        seed=wanted.validation_seed,
        every_steps=wanted.validate_every_steps,
        every_epochs=wanted.validate_every_epochs,
    )
    steps = [planned.step for planned in checkpoints]
    return PlannedValidation(
        pictures=number,
        timesteps=wanted.validation_timesteps,
        points=plan.points(schedule.steps, max(1, schedule.steps_per_epoch), steps),
        is_training=wanted.validation_training,
    )

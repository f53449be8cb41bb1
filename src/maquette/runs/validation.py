"""What a run's record says of its validation: which pictures were measured, how, and what each time gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MeasuredOn = Literal["held-out", "training"]
"""Pictures that are never trained on, or the training pictures themselves."""


@dataclass(frozen=True, kw_only=True)
class MeasuredPicture:
    """A picture that is measured, with its caption."""

    path: str
    sha256: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class ValidationPoint:
    """The loss after `step` optimizer steps; at step 0 the base alone. Errors are standard errors over pictures.

    Changes are paired picture by picture, at the same noise: their errors are far smaller than the loss's own, which is mostly
    that some pictures are harder than others. None where there is nothing to compare with, or one picture alone.
    """

    step: int
    loss: float
    error: float | None = None
    from_base: float | None = None
    from_base_error: float | None = None
    from_previous: float | None = None
    from_previous_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class ValidationRecord:
    """The fixed questions, and the answers so far. Each picture's own losses stand in metrics.jsonl."""

    measured_on: MeasuredOn
    seed: int
    timesteps: tuple[float, ...]
    pictures: tuple[MeasuredPicture, ...]
    points: tuple[ValidationPoint, ...] = ()

    def point_at(self, step: int) -> ValidationPoint | None:
        """Return what was measured after `step` steps, None where nothing was."""
        return next((point for point in self.points if point.step == step), None)

    def up_to(self, step: int) -> tuple[ValidationPoint, ...]:
        """Return the points that lie no later than `step`."""
        return tuple(point for point in self.points if point.step <= step)

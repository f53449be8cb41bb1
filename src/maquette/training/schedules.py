"""Learning-rate schedules: the factor on the base rate at each optimizer step.

Steps are 0-based: the first update uses factor(0), so a warm-up's first update has rate 0. The definitions are those of
diffusers' `optimization.py`, which sd-scripts uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from maquette.training.config import TrialSettings

POLYNOMIAL_END_LR = 1e-7
WITHOUT_LENGTH = ("constant", "constant_with_warmup")
"""Schedules whose rates are the same however long the run is."""


@dataclass(frozen=True, kw_only=True)
class ScheduleShape:
    """What a schedule needs to know.

    `base_lr` is the optimizer's own rate. It matters to polynomial alone, which ends at 1e-7 for a group with that rate.
    """

    total_steps: int
    warmup_steps: int = 0
    cycles: int = 1
    power: float = 1.0
    base_lr: float = 1e-4


def shape_of(trial: TrialSettings, total_steps: int) -> ScheduleShape:
    """Return what the schedule of `trial` needs to know of a run of `total_steps`."""
    return ScheduleShape(
        total_steps=total_steps,
        warmup_steps=trial.warmup_steps,
        cycles=trial.lr_cycles,
        power=trial.lr_power,
        base_lr=trial.schedule_lr or 1e-4,
    )


def learning_rate_factor(name: str, step: int, shape: ScheduleShape) -> float:
    """Return the factor of schedule `name` at 0-based optimizer step `step`."""
    if name == "constant":
        return 1.0
    if step < shape.warmup_steps:
        return step / max(1, shape.warmup_steps)
    return _AFTER_WARMUP[name](step, shape)


def _progress(step: int, shape: ScheduleShape) -> float:
    return (step - shape.warmup_steps) / max(1, shape.total_steps - shape.warmup_steps)


def _linear(step: int, shape: ScheduleShape) -> float:
    return max(0.0, (shape.total_steps - step) / max(1, shape.total_steps - shape.warmup_steps))


def _cosine(step: int, shape: ScheduleShape) -> float:
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * _progress(step, shape))))


def _cosine_with_restarts(step: int, shape: ScheduleShape) -> float:
    progress = _progress(step, shape)
    if progress >= 1.0:
        return 0.0
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((shape.cycles * progress) % 1.0))))


def _polynomial(step: int, shape: ScheduleShape) -> float:
    if step > shape.total_steps:
        return POLYNOMIAL_END_LR / shape.base_lr
    remaining = 1 - (step - shape.warmup_steps) / max(1, shape.total_steps - shape.warmup_steps)
    rate = (shape.base_lr - POLYNOMIAL_END_LR) * remaining**shape.power + POLYNOMIAL_END_LR
    return rate / shape.base_lr


_AFTER_WARMUP: dict[str, Callable[[int, ScheduleShape], float]] = {
    "constant_with_warmup": lambda step, shape: 1.0,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
}

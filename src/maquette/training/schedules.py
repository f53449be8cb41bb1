"""Learning-rate schedules: the factor on the base rate at each optimizer step.

Steps are 0-based: the first update uses factor(0), so a warm-up's first update has rate 0. The definitions are those of
transformers' and diffusers' `optimization.py`, which sd-scripts uses, with its accounting: warm-up and decay may be shares of
all steps, and cosines with a least rate count their cycles in halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from maquette.project.idle import follows_schedule
from maquette.project.schedules import SCHEDULES, parse_step_rules
from maquette.project.values import steps_of
from maquette.training.config import TrialSettings

POLYNOMIAL_END_LR = 1e-7
WITHOUT_LENGTH = ("constant", "constant_with_warmup", "inverse_sqrt", "piecewise_constant")
"""Schedules whose rates are the same however long the run is, unless a setting is a share of it."""
TIMESCALE = 10_000
"""Of inverse_sqrt where neither timescale nor warm-up is given."""


@dataclass(frozen=True, kw_only=True)
class ScheduleShape:
    """What a schedule needs to know.

    `base_lr` is the optimizer's own rate. It matters where an end is given as a rate: polynomial ends at 1e-7 for a group with
    that rate.
    """

    total_steps: int
    warmup_steps: int = 0
    decay_steps: int = 0
    cycles: int = 1
    power: float = 1.0
    timescale: int | None = None
    min_ratio: float | None = None
    base_lr: float = 1e-4
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def least(self) -> float:
        """The least factor, where a schedule has one: a ratio, or a rate among its arguments."""
        if "min_lr" in self.arguments:
            return float(self.arguments["min_lr"]) / self.base_lr
        return self.min_ratio or 0.0


def shape_of(trial: TrialSettings, total_steps: int) -> ScheduleShape:
    """Return what the schedule of `trial` needs to know of a run of `total_steps`."""
    return ScheduleShape(
        total_steps=total_steps,
        warmup_steps=steps_of(trial.warmup_steps, total_steps),
        decay_steps=steps_of(trial.lr_decay_steps, total_steps),
        cycles=trial.lr_cycles,
        power=trial.lr_power,
        timescale=trial.lr_timescale,
        min_ratio=trial.lr_min_ratio,
        base_lr=trial.schedule_lr or 1e-4,
        arguments=trial.lr_scheduler_args,
    )


def finds_relative_steps(trial: TrialSettings) -> bool:
    """Return whether Adafactor finds its rate from the step's number, which a slow start by `warmup_init` needs."""
    return trial.optimizer == "adafactor" and not follows_schedule(trial.optimizer, trial.optimizer_args)


def schedule_in_force(trial: TrialSettings) -> str:
    """Return the schedule that is applied: none where the optimizer needs none."""
    return trial.lr_scheduler if follows_schedule(trial.optimizer, trial.optimizer_args) else "constant"


def depends_on_length(trial: TrialSettings) -> bool:
    """Return whether the rates of `trial` would be others in a longer run. Of a class nobody knows it: then True."""
    name, shares = schedule_in_force(trial), (trial.warmup_steps, trial.lr_decay_steps)
    return name not in WITHOUT_LENGTH or (name != "constant" and any(0 < each < 1 for each in shares))


def learning_rate_factor(name: str, step: int, shape: ScheduleShape) -> float:
    """Return the factor of schedule `name` at 0-based optimizer step `step`."""
    if name in _WITH_OWN_WARMUP:
        return _WITH_OWN_WARMUP[name](step, shape)
    if step < shape.warmup_steps:
        return step / max(1, shape.warmup_steps)
    return _AFTER_WARMUP[name](step, shape)


def _progress(step: int, shape: ScheduleShape) -> float:
    return (step - shape.warmup_steps) / max(1, shape.total_steps - shape.warmup_steps)


def _linear(step: int, shape: ScheduleShape) -> float:
    return max(0.0, (shape.total_steps - step) / max(1, shape.total_steps - shape.warmup_steps))


def _wave(cycles: float, progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * progress))


def _cosine(step: int, shape: ScheduleShape) -> float:
    return max(0.0, _wave(float(shape.arguments.get("num_cycles", 0.5)), _progress(step, shape)))


def _cosine_with_restarts(step: int, shape: ScheduleShape) -> float:
    progress = _progress(step, shape)
    if progress >= 1.0:
        return 0.0
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((shape.cycles * progress) % 1.0))))


def _cosine_with_min_lr(step: int, shape: ScheduleShape) -> float:
    factor = _wave(shape.cycles / 2, _progress(step, shape))
    return max(0, factor * (1 - shape.least) + shape.least)


def _polynomial(step: int, shape: ScheduleShape) -> float:
    end = float(shape.arguments.get("lr_end", POLYNOMIAL_END_LR))
    if step > shape.total_steps:
        return end / shape.base_lr
    remaining = 1 - (step - shape.warmup_steps) / max(1, shape.total_steps - shape.warmup_steps)
    rate = (shape.base_lr - end) * remaining**shape.power + end
    return rate / shape.base_lr


def _inverse_sqrt(step: int, shape: ScheduleShape) -> float:
    timescale = shape.timescale or shape.warmup_steps or TIMESCALE
    return 1.0 / math.sqrt((step + timescale - shape.warmup_steps) / timescale)


_AFTER_WARMUP: dict[str, Callable[[int, ScheduleShape], float]] = {
    "constant_with_warmup": lambda step, shape: 1.0,
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _cosine_with_restarts,
    "polynomial": _polynomial,
    "inverse_sqrt": _inverse_sqrt,
    "cosine_with_min_lr": _cosine_with_min_lr,
}


def _cosine_warmup_with_min_lr(step: int, shape: ScheduleShape) -> float:
    """The warm-up begins above zero: at `warmup_lr_rate`, or with the first of its equal steps."""
    if step < shape.warmup_steps:
        start = shape.arguments.get("warmup_lr_rate")
        if start is None:
            return (step + 1.0) / max(1.0, shape.warmup_steps)
        return float(start) + (1.0 - float(start)) * step / max(1, shape.warmup_steps - 1)
    progress = (step - shape.warmup_steps + 1.0) / max(1.0, shape.total_steps - shape.warmup_steps)
    factor = _wave(shape.cycles / 2, progress)
    return max(0, factor * (1 - shape.least) + shape.least)


def _warmup_stable_decay(step: int, shape: ScheduleShape) -> float:
    """Up, level, down; the level part is what warm-up and decay leave of the run."""
    decay_starts = shape.total_steps - shape.decay_steps
    if step < shape.warmup_steps:
        share = step / max(1, shape.warmup_steps)
        kind = shape.arguments.get("warmup_type", "linear")
        factor = _RISING[kind](share)
    elif step < decay_starts:
        return 1.0
    elif step < shape.total_steps:
        share = (step - decay_starts) / max(1, shape.decay_steps)
        kind = shape.arguments.get("decay_type", "cosine")
        factor = _wave(shape.cycles / 2, share) if kind == "cosine" else _FALLING[kind](share)
    else:
        return shape.least
    return max(0.0, factor * (1.0 - shape.least) + shape.least)


_RISING: dict[str, Callable[[float], float]] = {
    "linear": lambda share: share,
    "cosine": lambda share: 0.5 * (1.0 - math.cos(math.pi * share)),
    "1-sqrt": lambda share: 1.0 - math.sqrt(1.0 - share),
}
_FALLING: dict[str, Callable[[float], float]] = {
    "linear": lambda share: 1.0 - share,
    "1-sqrt": lambda share: 1.0 - math.sqrt(share),
}


def _piecewise_constant(step: int, shape: ScheduleShape) -> float:
    rules, last = parse_step_rules(str(shape.arguments["step_rules"]))
    return next((rules[end] for end in sorted(rules) if step < end), last)


_WITH_OWN_WARMUP: dict[str, Callable[[int, ScheduleShape], float]] = {
    "constant": lambda step, shape: 1.0,
    "cosine_warmup_with_min_lr": _cosine_warmup_with_min_lr,
    "warmup_stable_decay": _warmup_stable_decay,
    "piecewise_constant": _piecewise_constant,
}
assert SCHEDULES.keys() == _AFTER_WARMUP.keys() | _WITH_OWN_WARMUP.keys()

"""How trials stand to one another: by their values, or where most of them were pruned by their places.

A pruned trial has no value, and its last loss is none of a finished one. But it has a place: behind everything that got further,
and among those that ended at the same rung by its loss there. So what was tried tells something of all its settings, not only of
the few that were trained to their end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maquette.searching.records import Direction, SearchTrial, StudyRecord

LEAST_FINISHED = 0.5
"""Share of the trained trials of which on values are set beside one another."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A number for each trial that was trained, less is better unless `is_more_better`."""

    values: Mapping[int, float]
    is_place: bool
    label: str
    is_more_better: bool = False

    @property
    def direction(self) -> Direction:
        return "maximize" if self.is_more_better else "minimize"


def standing(record: StudyRecord) -> Standing:
    """Return how the trials of a study stand to one another."""
    order = in_order(record)
    finished = [each for each in order if each.state == "finished"]
    if len(finished) >= LEAST_FINISHED * len(order):
        return Standing(
            values={each.number: each.value or 0.0 for each in finished},
            is_place=False,
            label="validation loss" if record.objective == "loss" else "score",
            is_more_better=record.direction == "maximize",
        )
    places = {each.number: float(place) for place, each in enumerate(order, 1)}
    return Standing(values=places, is_place=True, label="place")


def in_order(record: StudyRecord) -> list[SearchTrial]:
    """Return the trained trials of the space, the best first; finalists' further seeds are none of them."""
    sign = 1 if record.direction == "minimize" else -1
    known = [each for each in record.trials if each.of is None and each.params and _is_trained(each)]
    return sorted(known, key=lambda each: _key(each, sign))


def _is_trained(trial: SearchTrial) -> bool:
    if trial.state == "finished":
        return trial.value is not None and math.isfinite(trial.value)
    return trial.state == "pruned" and bool(trial.points) and math.isfinite(trial.points[-1].loss)


def _key(trial: SearchTrial, sign: int) -> tuple[int, float]:
    if trial.state == "finished":
        return (-1_000_000, sign * (trial.value or 0.0))
    return (-len(trial.points), trial.points[-1].loss)


def chosen(record: StudyRecord, stand: Standing) -> Sequence[SearchTrial]:
    """Return the trials that stand there, the best first."""
    return [each for each in in_order(record) if each.number in stand.values]

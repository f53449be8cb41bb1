"""Scorecards: every column of a look with its headlines, on their own scale and on the common one, and one score.

FOLDER/scorecards.json
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from maquette.errors import OutputError
from maquette.files import write_json
from maquette.measuring.headlines import HEADLINES, WEIGHTS, Anchor, Headline
from maquette.measuring.looks import FLOOR, Column, FirstLook
from maquette.measuring.protocol import Measure
from maquette.measuring.statistics import Estimate, t975
from maquette.measuring.tables import Array, Drawn, ScoreTable, table_of
from maquette.project.validation import read_as
from maquette.reading import FileKind

VERSION = 1
NAME = "scorecards.json"
FILE = FileKind("a scorecards.json", "Evaluate again.", OutputError, damaged="Evaluate again.")
_LEAST_SCALE = 1e-6
"""Where zero and one of a headline lie closer than this share of its range, nothing can be said on the common scale."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One headline of one column: on its own scale, and on the common one (`normalised`: 0 is nothing gained, 1 all there is)."""

    value: Estimate
    floor: float | None = None
    """What the base alone scores there."""
    ceiling: float | None = None
    """What the references score among themselves."""
    normalised: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """What is known of one column. `total` is the weighted score from 0 to 1; `failures` are said whatever it is."""

    column: Column
    scores: Mapping[str, Score] = field(default_factory=dict)
    total: Estimate | None = None
    failures: tuple[str, ...] = ()

    @property
    def is_floor(self) -> bool:
        """Whether this is the base alone."""
        return self.column.label == FLOOR


@dataclass(frozen=True, kw_only=True)
class Scorecards:
    """All columns of an evaluation, the base alone first where it was drawn."""

    cards: tuple[Scorecard, ...]
    headlines: tuple[Headline, ...]
    measures: tuple[Measure, ...]
    weights: Mapping[str, float]
    notes: tuple[str, ...] = ()
    """What a reader must know: what was not measured and why, how few the references were."""

    @property
    def tells_subject(self) -> bool:
        """Whether anything measured the subject or its style: without that a score says which checkpoint changes least."""
        return any(headline.aspect in ("identity", "style") for headline in self.headlines)

    def card(self, label: str) -> Scorecard:
        """Return the card of a column."""
        return next(card for card in self.cards if card.column.label == label)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return {"scorecards_version": VERSION, **asdict(self)}

    def write(self, folder: Path) -> Path:
        """Write scorecards.json into `folder` and return its path."""
        return write_json(folder / NAME, self.to_json())


@dataclass(frozen=True, kw_only=True)
class _File(Scorecards):
    scorecards_version: Literal[1]


def read_scorecards(folder: Path) -> Scorecards:
    """Return the scorecards written into `folder`. Raises OutputError where there are none."""
    found = read_as(_File, folder / NAME, FILE)
    return Scorecards(
        cards=found.cards,
        headlines=found.headlines,
        measures=found.measures,
        weights=found.weights,
        notes=found.notes,
    )


def scorecards_of(
    look: FirstLook,
    *,
    headlines: Sequence[Headline] = HEADLINES,
    weights: Mapping[str, float] = WEIGHTS,
    notes: Sequence[str] = (),
    beside: Mapping[str, Mapping[str, Score]] = MappingProxyType({}),
    beside_measures: Sequence[Measure] = (),
) -> Scorecards:
    """Return the scorecards of a measured look. Headlines whose measure or prompts are not there are left out.

    `beside` holds, by column and measure, what was learned of a LoRA without drawing (`beside_measures` define it).
    """
    reading = Reading(table_of(look), look.measures, look.ceilings, headlines, weights)
    totals = reading.totals()
    cards = []
    for index, label in enumerate(reading.table.columns):
        scores = {
            headline.name: score
            for headline in reading.headlines
            if (score := reading.score(headline, index)) is not None
        }
        scores |= beside.get(label, {})
        cards.append(
            Scorecard(
                column=look.column(label),
                scores=scores,
                total=totals[index],
                failures=tuple(_failures(scores, reading.headlines, look.measures)),
            )
        )
    return Scorecards(
        cards=tuple(cards),
        headlines=tuple(reading.headlines),
        measures=(*look.measures, *beside_measures),
        weights=dict(weights),
        notes=tuple(notes),
    )


def _failures(
    scores: Mapping[str, Score], headlines: Sequence[Headline], measures: Sequence[Measure]
) -> Iterator[str]:
    """Yield what a column's pictures lack, where a measure asks for a least share of sound ones and the base alone has it."""
    known = {measure.name: measure for measure in measures}
    for headline in headlines:
        measure, score = known[headline.measure], scores.get(headline.name)
        if measure.least is None or score is None or score.value.mean >= measure.least:
            continue
        if score.floor is not None and score.floor < measure.least:
            continue
        count = score.value.count
        yield f"{round((1 - score.value.mean) * count)} of {count} {measure.lack}"


class Reading:
    """Headlines read off a table of scores, with intervals, for columns and for differences between them."""

    def __init__(
        self,
        table: ScoreTable,
        measures: Sequence[Measure],
        ceilings: Mapping[str, float],
        headlines: Sequence[Headline] = HEADLINES,
        weights: Mapping[str, float] = WEIGHTS,
    ) -> None:
        self.table = table
        self.weights = weights
        self._measures = {measure.name: measure for measure in measures}
        self._ceilings = ceilings
        self.headlines = [
            headline
            for headline in headlines
            if headline.measure in table.scores and self._count(headline).any()
        ]
        self._values: dict[str, list[Estimate]] = {}
        self._on_scale: dict[str, list[Estimate]] = {}

    def score(self, headline: Headline, column: int) -> Score | None:
        """Return what a column scores on a headline, None where none of its pictures was measured."""
        value = self._value(headline)[column]
        if np.isnan(value.mean):
            return None
        common = self._common(headline)[column]
        floor = self.table.floor
        base = self._value(headline)[floor].mean if floor is not None else np.nan
        return Score(
            value=value,
            floor=None if np.isnan(base) else base,
            ceiling=self._ceilings.get(headline.measure),
            normalised=None if np.isnan(common.mean) else common,
        )

    def totals(self) -> list[Estimate | None]:
        """Return the weighted score of each column, None where nothing that counts was measured."""
        found = self.table.estimates_of(self._drawn_totals, self._pictures())
        return [None if np.isnan(each.mean) else _cut(each, 0.0, 1.0, each.count) for each in found]

    def of_shared(self, labels: Sequence[str]) -> Reading:
        """Return the reading of these columns and the base over the pictures that all of `labels` have."""
        return self._of(self.table.of_shared(labels))

    def of_pictures(self) -> Reading:
        """Return the reading of what was scored picture by picture, without whole sets."""
        return self._of(self.table.without(self.table.of_sets))

    def _of(self, table: ScoreTable) -> Reading:
        return Reading(table, tuple(self._measures.values()), self._ceilings, self.headlines, self.weights)

    def total_difference(self, column: int, other: int) -> Estimate:
        """Return by how much the score of `column` exceeds that of `other`, paired over prompts and seeds."""
        return self.table.estimates_of(self._drawn_difference(column, other), self._pictures())[0]

    def difference_by_prompts(self, column: int, other: int) -> Estimate:
        """Return `total_difference` with an interval that takes each prompt with all its pictures as one observation (jackknife).

        It needs no second seed and no second prompt of a role; what seeds have in common over all prompts it does not see.
        """
        count = len(self.table.prompts)
        weights_DN = np.vstack([np.ones((1, count)), 1.0 - np.eye(count)])
        seeds_DS = np.ones((count + 1, len(self.table.seeds)))
        totals_DC = self._total(weights_DN, seeds_DS)
        found_D = totals_DC[:, column] - totals_DC[:, other]
        without_N = found_D[1:][~np.isnan(found_D[1:])]
        if len(without_N) < 2 or np.isnan(found_D[0]):
            return Estimate(mean=float(found_D[0]), low=None, high=None, count=self._pictures())
        free = len(without_N) - 1
        variance = free / len(without_N) * float(((without_N - without_N.mean()) ** 2).sum())
        half = t975(free) * np.sqrt(variance)
        mean = float(found_D[0])
        return Estimate(mean=mean, low=mean - half, high=mean + half, count=self._pictures())

    def total_variances(self, column: int, other: int) -> tuple[float, float, float]:
        """Return `total_difference`'s number, and its variance over prompts and over seeds."""
        value, prompts, seeds = self.table.variances_of(self._drawn_difference(column, other))
        return float(value[0]), float(prompts[0]), float(seeds[0])

    def _drawn_difference(self, column: int, other: int) -> Drawn:
        one, prompts, seeds = (each[:, [column]] - each[:, [other]] for each in self._drawn_totals)
        return one, prompts, seeds

    @cached_property
    def _drawn_totals(self) -> Drawn:
        return self.table.drawn(self._total)

    def difference(self, headline: Headline, column: int, other: int) -> Estimate:
        """Return by how much `column` exceeds `other` on a headline's own scale, paired over prompts and seeds."""

        def difference(prompts_DN: Array, seeds_DS: Array) -> Array:
            means_DC = self.table.means(headline.measure, headline.roles, prompts_DN, seeds_DS)
            return means_DC[:, [column]] - means_DC[:, [other]]

        return self.table.estimates(difference, int(self._count(headline)[column]))[0]

    def _value(self, headline: Headline) -> list[Estimate]:
        if headline.name not in self._values:
            measure = self._measures[headline.measure]
            found = self.table.estimates(
                lambda prompts, seeds: self.table.means(headline.measure, headline.roles, prompts, seeds), 0
            )
            counts = self._count(headline)
            self._values[headline.name] = [
                _cut(each, measure.low, measure.high, int(count))
                for each, count in zip(found, counts, strict=True)
            ]
        return self._values[headline.name]

    def _common(self, headline: Headline) -> list[Estimate]:
        if headline.name not in self._on_scale:
            self._on_scale[headline.name] = self.table.estimates(
                lambda prompts, seeds: self._normalised(headline, prompts, seeds), self._pictures()
            )
        return self._on_scale[headline.name]

    def _normalised(self, headline: Headline, prompts_DN: Array, seeds_DS: Array) -> Array:
        """Return a headline on the common scale, [D, C]; NaN where its zero and one are the same."""
        means_DC = self.table.means(headline.measure, headline.roles, prompts_DN, seeds_DS)
        zero_D1 = self._anchor(headline.zero, headline, means_DC)
        one_D1 = self._anchor(headline.one, headline, means_DC)
        measure = self._measures[headline.measure]
        scale_D1 = one_D1 - zero_D1
        scale_D1 = np.where(np.abs(scale_D1) < _LEAST_SCALE * (measure.high - measure.low), np.nan, scale_D1)
        return (means_DC - zero_D1) / scale_D1

    def ends(self, headline: Headline) -> tuple[float, float]:
        """Return what a headline's zero and one are on its own scale; NaN where nothing says."""
        prompts_1N, seeds_1S = np.ones((1, len(self.table.prompts))), np.ones((1, len(self.table.seeds)))
        means_1C = self.table.means(headline.measure, headline.roles, prompts_1N, seeds_1S)
        zero, one = (self._anchor(each, headline, means_1C).item() for each in (headline.zero, headline.one))
        return zero, one

    def _anchor(self, anchor: Anchor, headline: Headline, means_DC: Array) -> Array:
        measure = self._measures[headline.measure]
        if anchor == "base":
            if self.table.floor is None:
                return np.full((len(means_DC), 1), np.nan)
            return means_DC[:, [self.table.floor]]
        constants = {
            "low": measure.low,
            "high": measure.high,
            "ceiling": self._ceilings.get(headline.measure, measure.high),
        }
        return np.full((len(means_DC), 1), constants[anchor])

    def _total(self, prompts_DN: Array, seeds_DS: Array) -> Array:
        """Return the weighted score [D, C]: the mean of each aspect's headlines, cut to [0, 1], then of the aspects."""
        aspects: dict[str, list[Array]] = {}
        for headline in self.headlines:
            if headline.aspect is not None:
                found = np.clip(self._normalised(headline, prompts_DN, seeds_DS), 0.0, 1.0)
                aspects.setdefault(headline.aspect, []).append(found)
        shape = (len(prompts_DN), len(self.table.columns))
        summed, weighed = np.zeros(shape), np.zeros(shape)
        for aspect, parts in aspects.items():
            value = _mean_of_known(np.stack(parts))
            weight = np.where(np.isnan(value), 0.0, self.weights.get(aspect, 0.0))
            summed += weight * np.nan_to_num(value)
            weighed += weight
        with np.errstate(invalid="ignore", divide="ignore"):
            total: Array = np.where(weighed > 0, summed / weighed, np.nan)
        return total

    def _count(self, headline: Headline) -> Array:
        """Return how many pictures of each column the headline rests on, [C]."""
        there = ~np.isnan(self.table.scores[headline.measure][:, self.table.of_roles(headline.roles), :])
        counted: Array = there.sum(axis=(1, 2)).astype(float)
        return counted

    def _pictures(self) -> int:
        return len(self.table.prompts) * len(self.table.seeds)


def _mean_of_known(parts_KDC: Array) -> Array:
    known = ~np.isnan(parts_KDC)
    count = known.sum(axis=0)
    summed = np.where(known, parts_KDC, 0.0).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(count > 0, summed / count, np.nan)
    return found


def _cut(estimate: Estimate, low: float, high: float, count: int) -> Estimate:
    if estimate.low is None or estimate.high is None:
        return Estimate(mean=estimate.mean, low=None, high=None, count=count)
    return Estimate(
        mean=estimate.mean, low=max(estimate.low, low), high=min(estimate.high, high), count=count
    )

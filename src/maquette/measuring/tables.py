"""Scores as arrays, and how sure any number made of them is.

A number of a scorecard is a function of all the scores, not a mean: it is divided by the base's own, and summed with others. Its
standard error comes from drawing prompts (within their role) and seeds anew, each level for itself, with replacement:

    variance = variance over prompts drawn anew × N / (N − R) + variance over seeds drawn anew × S / (S − 1)

N prompts of R roles, S seeds; a level with nothing to vary adds nothing. Degrees of freedom follow Satterthwaite, as in
`statistics`. What neither level explains is in both terms, so the interval is a little wide rather than narrow.

Legend: C columns, N prompts, S seeds, D draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.measuring.looks import FLOOR, FirstLook
from maquette.measuring.statistics import Estimate, t975

DRAWS = 400
Array = NDArray[np.float64]
Statistic = Callable[[Array, Array], Array]
"""Weights of prompts [D, N] and of seeds [D, S] to numbers [D, …]."""
Drawn = tuple[Array, Array, Array]
"""A statistic of the scores as they are [1, K], with prompts drawn anew and with seeds drawn anew [D, K]."""


@dataclass(frozen=True)
class ScoreTable:
    """All scores of a look: each measure's as [C, N, S], NaN where there is none. The base alone is a column like others."""

    columns: tuple[str, ...]
    prompts: tuple[str, ...]
    roles: tuple[str, ...]
    """Of each prompt."""
    seeds: tuple[int, ...]
    scores: dict[str, Array]
    of_sets: frozenset[str] = frozenset()
    """Measures of whole sets, which all seeds of a column and prompt share: seeds say nothing of how sure they are."""

    @property
    def floor(self) -> int | None:
        """The column of the base alone."""
        return self.columns.index(FLOOR) if FLOOR in self.columns else None

    def of_roles(self, roles: Sequence[str]) -> NDArray[np.bool_]:
        """Return which prompts have one of `roles`, bool [N]."""
        return np.array([role in roles for role in self.roles], dtype=bool)

    def of_shared(self, labels: Sequence[str]) -> ScoreTable:
        """Return the table of these columns and the base, with the scores that every one of `labels` has."""
        wanted = [FLOOR, *labels] if FLOOR in self.columns else list(labels)
        places = [self.columns.index(label) for label in dict.fromkeys(wanted)]
        shared = [self.columns.index(label) for label in labels]
        scores = {}
        counts = {
            tuple((~np.isnan(values[place])).sum() for values in self.scores.values()) for place in shared
        }
        for name, values_CNS in self.scores.items():
            if name in self.of_sets and len(counts) > 1:
                continue  # sets of different sizes do not compare
            # A sum with a missing score is missing: NaN spreads over the columns, and is laid on each of them.
            missing_1NS = 0 * values_CNS[shared].sum(axis=0, keepdims=True)
            scores[name] = values_CNS[places] + missing_1NS
        columns = tuple(self.columns[place] for place in places)
        return replace(self, columns=columns, scores=scores)

    def without(self, measures: Collection[str]) -> ScoreTable:
        """Return the table without some measures."""
        return replace(
            self, scores={name: each for name, each in self.scores.items() if name not in measures}
        )

    @property
    def varies_by_prompt(self) -> bool:
        """Whether some role has several prompts, so that drawing prompts anew says how sure a number is."""
        return self._free_prompts > 0

    def means(self, measure: str, roles: Sequence[str], prompts_DN: Array, seeds_DS: Array) -> Array:
        """Return the weighted mean of a measure over the prompts of `roles`, [D, C]; NaN where there is none."""
        values_CNS = self.scores[measure]
        there_CNS = ~np.isnan(values_CNS) & self.of_roles(roles)[None, :, None]
        seen = np.einsum("cns,dn,ds->dc", there_CNS.astype(float), prompts_DN, seeds_DS, optimize=True)
        summed = np.einsum(
            "cns,dn,ds->dc", np.where(there_CNS, values_CNS, 0.0), prompts_DN, seeds_DS, optimize=True
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Array = np.where(seen > 0, summed / seen, np.nan)
        return found

    def estimates(self, statistic: Statistic, count: int) -> list[Estimate]:
        """Return the statistic [1, K] of the scores as they are with 95 % intervals, one for each of its K numbers."""
        return self.estimates_of(self.drawn(statistic), count)

    def drawn(self, statistic: Statistic) -> Drawn:
        """Return the statistic of the scores as they are, with prompts drawn anew, and with seeds drawn anew."""
        ones_N, ones_S = np.ones((1, len(self.prompts))), np.ones((1, len(self.seeds)))
        with np.errstate(invalid="ignore"):
            every_N = np.repeat(ones_N, DRAWS, axis=0)
            every_S = np.repeat(ones_S, DRAWS, axis=0)
            return (
                statistic(ones_N, ones_S),
                statistic(self._prompts_anew, every_S),
                statistic(every_N, self._seeds_anew),
            )

    def estimates_of(self, drawn: Drawn, count: int) -> list[Estimate]:
        """Return the numbers of a statistic that was drawn, with 95 % intervals."""
        return [
            self._estimate(float(value), float(prompts), float(seeds), count)
            for value, prompts, seeds in zip(*self.variances_of(drawn), strict=True)
        ]

    def variances_of(self, drawn: Drawn) -> tuple[Array, Array, Array]:
        """Return the numbers of a statistic that was drawn, and their variances over prompts and over seeds, [K] each."""
        values_1K, prompts_DK, seeds_DK = drawn
        with np.errstate(invalid="ignore"):
            over_prompts_K = _spread(prompts_DK) * self._prompts_factor
            over_seeds_K = _spread(seeds_DK) * self._seeds_factor
        return values_1K[0], over_prompts_K, over_seeds_K

    @cached_property
    def _prompts_anew(self) -> Array:
        draws = np.random.default_rng(1)
        weights = np.zeros((DRAWS, len(self.prompts)))
        for role in dict.fromkeys(self.roles):
            members = np.flatnonzero(self.of_roles([role]))
            weights[:, members] = draws.multinomial(
                len(members), [1 / len(members)] * len(members), size=DRAWS
            )
        return weights

    @cached_property
    def _seeds_anew(self) -> Array:
        count = len(self.seeds)
        drawn: Array = (
            np.random.default_rng(2).multinomial(count, [1 / count] * count, size=DRAWS).astype(float)
        )
        return drawn

    @property
    def _free_prompts(self) -> int:
        return len(self.prompts) - len(set(self.roles))

    @property
    def _prompts_factor(self) -> float:
        return len(self.prompts) / self._free_prompts if self._free_prompts else 0.0

    @property
    def _seeds_factor(self) -> float:
        count = len(self.seeds)
        return count / (count - 1) if count > 1 else 0.0

    def _estimate(self, value: float, prompts: float, seeds: float, count: int) -> Estimate:
        terms = [
            (variance, free)
            for variance, free in ((prompts, self._free_prompts), (seeds, len(self.seeds) - 1))
            if free
        ]
        if not terms or math.isnan(value):
            return Estimate(mean=value, low=None, high=None, count=count)
        variance = sum(each for each, _ in terms)
        spread = sum(each**2 / free for each, free in terms)
        half = t975(variance**2 / spread if spread else math.inf) * math.sqrt(variance)
        return Estimate(mean=value, low=value - half, high=value + half, count=count)


def _spread(values_DK: Array) -> Array:
    """Return the variance over draws; draws that hold none of the scores (a role that lost its seeds) are left out."""
    known = ~np.isnan(values_DK)
    count = known.sum(axis=0)
    mean = np.where(known, values_DK, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, values_DK - mean, 0.0) ** 2
    found: Array = squares.sum(axis=0) / np.maximum(count - 1, 1)
    return found


def table_of(look: FirstLook) -> ScoreTable:
    """Return the scores of a look, those of whole sets spread over their seeds."""
    columns, prompts = look.checkpoints(), look.prompts()
    roles = {entry.prompt: entry.role for entry in look.looks}
    seeds = tuple(dict.fromkeys(entry.seed for entry in look.looks))
    rows = {name: index for index, name in enumerate(columns)}
    places = {name: index for index, name in enumerate(prompts)}
    lanes = {seed: index for index, seed in enumerate(seeds)}
    scores: dict[str, Array] = {}

    def table(measure: str) -> Any:
        shape = (len(columns), len(prompts), len(seeds))
        return scores.setdefault(measure, np.full(shape, np.nan))

    for entry in look.looks:
        for measure, value in entry.scores.items():
            table(measure)[rows[entry.checkpoint], places[entry.prompt], lanes[entry.seed]] = value
    drawn: dict[tuple[str, str], list[int]] = {}
    for entry in look.looks:
        drawn.setdefault((entry.checkpoint, entry.prompt), []).append(lanes[entry.seed])
    for each in look.sets:
        own = drawn[each.checkpoint, each.prompt]
        table(each.measure)[rows[each.checkpoint], places[each.prompt], own] = each.value
    of_sets = frozenset(each.measure for each in look.sets)
    return ScoreTable(columns, prompts, tuple(roles[prompt] for prompt in prompts), seeds, scores, of_sets)

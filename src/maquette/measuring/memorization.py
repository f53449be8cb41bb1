"""Memorisation without drawing: does a LoRA know its training pictures better than others of the same subject?

Every picture is asked at the same levels of noise under the base and under the LoRA. Its gain is how far its calibrated loss
falls, c = −log(squared error + δ), Δ = c(LoRA) − c(base), the mean over levels. A LoRA that learned a subject gains on pictures
of it that it never saw as much as on those it was trained on; one that memorised gains more on the latter. The measure is the
chance that a training picture gains more than a held-out one (area under the ROC curve): 0.5 is none, 1 is every one of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.files import write_json
from maquette.measuring.protocol import Measure
from maquette.measuring.scorecards import Score
from maquette.measuring.statistics import Estimate, t975

NAME = "memorisation"
GAP = "generalisation_gap"
DELTA = 1e-3
"""δ: below it a loss says nothing more; latents are of unit variance."""
SUSPECT = 0.65
"""The area from which a LoRA is said to memorise, where it is more than chance and its training pictures gained EXCESS times what
the others did: any training leaves a trace of its pictures, and enough held-out ones find the slightest.
"""
EXCESS = 1.5
CHANCE = 0.05
LEAST_HELD_OUT, ENOUGH_HELD_OUT = 3, 8
PERMUTATIONS = 4000
MEASURE = Measure(
    name=NAME,
    title="Memorisation",
    definition=(
        "the chance that a training picture gained more from the LoRA than a picture of the same subject that was held out: "
        "0.5 where it learned the subject, 1 where it learned the pictures."
    ),
    formula="AUC of Δ = c(LoRA) − c(base), c = −log(squared error + 0.001) at fixed noise, antithetic",
    direction="lower",
    blind_to="whether what is remembered is ever drawn; held-out pictures of another kind look like it",
)
GAP_MEASURE = Measure(
    name=GAP,
    title="Generalisation gap",
    definition=(
        "by how much more the loss of held-out pictures exceeds that of training pictures than it did under the base alone, at "
        "the same fixed noise: 0 where the LoRA fits unseen pictures as well as those it was trained on."
    ),
    formula="mean change of loss from the base, held-out pictures less training pictures",
    low=-1.0,
    direction="lower",
    blind_to="what a loss does not see: a LoRA may fit both worse, or both too well",
)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """How much a picture gained."""

    path: str
    gain: float


@dataclass(frozen=True, kw_only=True)
class Memorization:
    """What the gains of one LoRA say. `chance` is the probability of such an area where nothing is memorised."""

    area: Estimate
    chance: float
    members: tuple[Gain, ...]
    """The training pictures, the highest gain first."""
    held_out: tuple[Gain, ...]
    gap: Estimate
    """The generalisation gap that training opened."""

    @property
    def is_found(self) -> bool:
        """Whether it memorises, more than chance would have it and more than any training does."""
        return self.area.mean > SUSPECT and self.chance < CHANCE and self.excess > EXCESS

    @property
    def excess(self) -> float:
        """How many times what held-out pictures gained the training pictures did, in the mean; infinite over no gain at all."""
        ours, theirs = (fmean(each.gain for each in group) for group in (self.members, self.held_out))
        return ours / theirs if theirs > 0 else math.inf if ours > 0 else 0.0

    @property
    def copied(self) -> tuple[Gain, ...]:
        """The training pictures that gained more than any held-out one, where it memorises at all."""
        most = max(each.gain for each in self.held_out)
        return tuple(each for each in self.members if each.gain > most) if self.is_found else ()

    @property
    def idle(self) -> tuple[Gain, ...]:
        """The training pictures that the LoRA knows no better than the base: they taught nothing."""
        return tuple(each for each in self.members if each.gain <= 0)

    def scores(self) -> dict[str, Score]:
        """Return both numbers as a scorecard has them."""
        return {NAME: self.score(), GAP: Score(value=self.gap, floor=0.0)}

    def score(self) -> Score:
        """Return the area as a scorecard has it."""
        scaled = [
            None if value is None else min(1.0, 2.0 - 2.0 * value)
            for value in (self.area.mean, self.area.high, self.area.low)
        ]
        assert scaled[0] is not None
        normalised = Estimate(mean=scaled[0], low=scaled[1], high=scaled[2], count=self.area.count)
        return Score(value=self.area, floor=0.5, normalised=normalised)


def memorization(
    members: Mapping[str, Sequence[float]],
    held_out: Mapping[str, Sequence[float]],
    base: Mapping[str, Sequence[float]],
) -> Memorization:
    """Return what losses by picture and level say, of training and held-out pictures under a LoRA and of all under the base."""
    gained = _gains(members, base)
    others = _gains(held_out, base)
    ours = np.array([each.gain for each in gained])
    theirs = np.array([each.gain for each in others])
    value = area(ours, theirs)
    low, high = _interval(value, len(ours), len(theirs))
    return Memorization(
        area=Estimate(mean=value, low=low, high=high, count=len(ours) + len(theirs)),
        chance=chance_of(ours, theirs),
        members=gained,
        held_out=others,
        gap=gap_of(_changes(members, base), _changes(held_out, base)),
    )


def gap_of(members: NDArray[Any], held_out: NDArray[Any]) -> Estimate:
    """Return the mean change of `held_out` less that of `members` with Welch's 95 % interval; none of a single picture."""
    value, count = float(held_out.mean() - members.mean()), len(members) + len(held_out)
    terms = [
        (float(each.var(ddof=1)) / len(each), len(each) - 1) for each in (members, held_out) if len(each) > 1
    ]
    if len(terms) < 2:
        return Estimate(mean=value, low=None, high=None, count=count)
    variance = sum(each for each, _ in terms)
    spread = sum(each**2 / free for each, free in terms)
    half = t975(variance**2 / spread if spread else math.inf) * math.sqrt(variance)
    return Estimate(mean=value, low=value - half, high=value + half, count=count)


def _changes(losses: Mapping[str, Sequence[float]], base: Mapping[str, Sequence[float]]) -> NDArray[Any]:
    """Return by how much the mean loss of each picture changed from the base."""
    return np.array([np.mean(under) - np.mean(base[path]) for path, under in losses.items()], np.float64)


def _gains(losses: Mapping[str, Sequence[float]], base: Mapping[str, Sequence[float]]) -> tuple[Gain, ...]:
    found = [
        Gain(path=path, gain=float(np.mean(_calibrated(under)) - np.mean(_calibrated(base[path]))))
        for path, under in losses.items()
    ]
    return tuple(sorted(found, key=lambda each: -each.gain))


def _calibrated(losses: Sequence[float]) -> NDArray[Any]:
    return -np.log(np.asarray(losses, np.float64) + DELTA)


def area(members: NDArray[Any], held_out: NDArray[Any]) -> float:
    """Return the chance that one of `members` exceeds one of `held_out`; ties count half."""
    above = (members[:, None] > held_out[None, :]).mean()
    return float(above + (members[:, None] == held_out[None, :]).mean() / 2)


def chance_of(members: NDArray[Any], held_out: NDArray[Any]) -> float:
    """Return the share of divisions of all pictures into two such groups, drawn at random, whose area is as large."""
    everyone = np.concatenate([members, held_out])
    ranks = _ranks(everyone)
    draws = np.random.default_rng(0)
    shuffled = draws.permuted(np.tile(ranks, (PERMUTATIONS, 1)), axis=1)[:, : len(members)].sum(axis=1)
    return float((1 + (shuffled >= ranks[: len(members)].sum() - 1e-9).sum()) / (1 + PERMUTATIONS))


def _ranks(values: NDArray[Any]) -> NDArray[Any]:
    """Return the rank of each value, equal ones sharing theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: NDArray[Any] = (ends - (counts - 1) / 2)[group]
    return ranks


def _interval(value: float, members: int, held_out: int) -> tuple[float, float]:
    """Return the 95 % interval of an area by inverting its score (Newcombe 2006, method 5): never of no width."""

    def edge(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(value - middle) <= 1.959964 * _error(middle, members, held_out):
                inside = middle
            else:
                outside = middle
        return inside

    return edge(value, 0.0), edge(value, 1.0)


def _error(area_: float, members: int, held_out: int) -> float:
    size = (members + held_out) / 2 - 1
    part = 1 + size * ((1 - area_) / (2 - area_) + area_ / (1 + area_))
    return math.sqrt(max(area_ * (1 - area_), 0.0) * part / (members * held_out))


def write_memorization(folder: Path, found: Mapping[str, Memorization]) -> Path:
    """Write memorization.json: by column, what was found and every picture's gain."""
    told = {
        column: {
            **asdict(each),
            "is_found": each.is_found,
            "excess": each.excess if math.isfinite(each.excess) else None,
            "copied": [gain.path for gain in each.copied],
            "idle": [gain.path for gain in each.idle],
        }
        for column, each in found.items()
    }
    return write_json(folder / "memorization.json", {"memorization_version": 1, "columns": told})

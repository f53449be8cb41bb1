"""The decision of an evaluation: which checkpoint at which strength, the runner-up, and whether they can be told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from statistics import NormalDist
from types import MappingProxyType

import numpy as np

from maquette.choosing.pictures_needed import MorePictures, more_pictures
from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.measuring.looks import FLOOR, Column, FirstLook
from maquette.measuring.scorecards import Reading, Scorecards
from maquette.measuring.statistics import Estimate
from maquette.measuring.tables import table_of
from maquette.runs.choice import Ranked
from maquette.runs.validation import ValidationRecord

TIE = 0.005
"""Scores, which go from 0 to 1, that lie closer are the same to anybody who looks: the earlier checkpoint wins."""
NEAR = 0.02
"""Of checkpoints whose scores lie closer, and which the pictures cannot tell apart, the loss of held-out pictures chooses, where
it was measured: it knows nothing of the drawings, but it is hardly noise. `benchmarks/judging.py` measures what that is worth.
"""

LEAST_SPREAD = 0.05
"""Standard deviation of one picture's difference in score, at the least."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A checkpoint at the strength at which it scores best."""

    column: Column
    score: Estimate
    failures: tuple[str, ...] = ()
    """Floors that it does not hold, whatever its score."""
    strengths: tuple[tuple[float, float], ...] = ()
    """Every strength that was drawn, with its score."""

    @property
    def label(self) -> str:
        return self.column.label

    @property
    def step(self) -> int:
        return self.column.step or 0


@dataclass(frozen=True, kw_only=True)
class Gap:
    """By how much the chosen candidate's score exceeds another's, paired over prompts and seeds."""

    other: Candidate
    difference: Estimate

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than noise."""
        return self.difference.low is not None and self.difference.low > 0


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was chosen, and how sure that is."""

    chosen: Candidate
    gaps: tuple[Gap, ...]
    """To every other candidate, the best of them first."""
    tied_with: tuple[str, ...] = ()
    """Later checkpoints whose score is the same or a hair better: the earlier one won."""
    by_loss_of: tuple[str, ...] = ()
    """Those that the pictures cannot tell from it, and whose held-out pictures have a higher loss: that decided."""
    more: MorePictures | None = None
    """What would tell it from the runner-up; None where it is told apart already, or where no number of pictures would."""

    @property
    def runner_up(self) -> Gap | None:
        return self.gaps[0] if self.gaps else None

    @property
    def distinguishable(self) -> bool:
        """Whether the best is better than the runner-up by more than noise; a checkpoint without a rival is."""
        return self.runner_up is None or self.runner_up.is_clear

    @property
    def undecided(self) -> tuple[Gap, ...]:
        """Those that the chosen one cannot be told apart from."""
        return tuple(gap for gap in self.gaps if not gap.is_clear)

    def gap_to(self, label: str) -> Gap | None:
        """Return the gap to a column, None for the chosen one and for what was not measured."""
        return next((gap for gap in self.gaps if gap.other.label == label), None)


def reading_of(look: FirstLook, cards: Scorecards) -> Reading:
    """Return the reading that the scorecards of `look` were made with."""
    return Reading(table_of(look), look.measures, look.ceilings, cards.headlines, cards.weights)


def candidates_of(cards: Scorecards) -> list[Candidate]:
    """Return each checkpoint that has a score, at its best strength, in the order of steps."""
    files: dict[str, list[Candidate]] = {}
    for card in cards.cards:
        if not card.is_floor and card.total is not None:
            known = Candidate(column=card.column, score=card.total, failures=card.failures)
            files.setdefault(card.column.file or card.column.label, []).append(known)
    found = [_at_best_strength(group) for group in files.values()]
    return sorted(found, key=lambda each: each.step)


def _at_best_strength(group: Sequence[Candidate]) -> Candidate:
    """Return a file's best strength; of those that tie with it the one nearest to 1."""
    sound = [each for each in group if not each.failures] or list(group)
    best = max(each.score.mean for each in sound)
    tied = [each for each in sound if best - each.score.mean < TIE]
    chosen = min(tied, key=lambda each: (abs(each.column.strength - 1), each.column.strength))
    strengths = tuple(sorted((each.column.strength, each.score.mean) for each in group))
    return Candidate(column=chosen.column, score=chosen.score, failures=chosen.failures, strengths=strengths)


def held_out_losses(validation: ValidationRecord | None) -> dict[int, float]:
    """Return the loss of held-out pictures by step; nothing where training pictures were measured, or none."""
    if validation is None or validation.measured_on != "held-out":
        return {}
    return {point.step: point.loss for point in validation.points}


def decide(
    cards: Scorecards, reading: Reading, losses: Mapping[int, float] = MappingProxyType({})
) -> Decision | None:
    """Return the decision, None where no checkpoint has a score.

    Those that hold every floor come before those that fail one, whatever they score. `losses` of held-out pictures by step
    choose between checkpoints that the pictures cannot tell apart.
    """
    found = candidates_of(cards)
    if not found:
        return None
    counts = pictures_by_column(reading)
    most = max(counts[each.label] for each in found)
    # Who left a race has fewer pictures, and left it because it was behind.
    running = [each for each in found if counts[each.label] == most]
    sound = [each for each in running if not each.failures] or running
    best = max(each.score.mean for each in sound)
    tied = [each for each in sound if best - each.score.mean < TIE]
    rivals = _near(reading, sound, best, losses)
    chosen = min(rivals, key=lambda each: (losses[each.step], each.step)) if rivals else tied[0]
    order = sorted(
        (each for each in found if each is not chosen), key=lambda each: _rank(each, bool(chosen.failures))
    )
    gaps = tuple(Gap(other=each, difference=_difference(reading, chosen, each)) for each in order)
    decision = Decision(
        chosen=chosen,
        gaps=gaps,
        tied_with=() if rivals else tuple(each.label for each in tied[1:]),
        by_loss_of=tuple(each.label for each in rivals if each is not chosen),
    )
    if decision.distinguishable or decision.runner_up is None:
        return decision
    more = more_pictures(reading, _place(reading, chosen), _place(reading, decision.runner_up.other))
    return replace(decision, more=more)


def _near(
    reading: Reading, sound: Sequence[Candidate], best: float, losses: Mapping[int, float]
) -> list[Candidate]:
    """Return those that score nearly best and cannot be told from the best; none where not all of several have a loss."""
    top = next(each for each in sound if each.score.mean == best)
    near = [
        each
        for each in sound
        if each is top
        or (
            best - each.score.mean < NEAR
            and not Gap(other=each, difference=_difference(reading, top, each)).is_clear
        )
    ]
    return near if len(near) > 1 and all(each.step in losses for each in near) else []


def _rank(candidate: Candidate, failing_counts: bool) -> tuple[bool, float, int]:
    """Return the sorting key of rivals: those that hold their floors, then the higher score, then the earlier step."""
    return bool(candidate.failures) and not failing_counts, -candidate.score.mean, candidate.step


def _difference(reading: Reading, one: Candidate, other: Candidate) -> Estimate:
    """Return the paired difference over the pictures that both have: who left a race has fewer."""
    labels = (one.label, other.label)
    known = reading if _is_full(reading, labels) else reading.of_shared(labels)
    return sure_difference(known, one.label, other.label)


def sure_difference(reading: Reading, one: str, other: str, *, spread: float = LEAST_SPREAD) -> Estimate:
    """Return the paired difference of two columns' scores, its interval never narrower than so many pictures allow.

    Scores come in coarse grains, so that a few pictures may all agree by chance; `spread` is the least standard deviation that a
    picture's difference is taken to have. Where no role has a second prompt, nothing says how sure the score of a whole set
    (variety) is: then the difference must be there without it too.
    """
    places = (reading.table.columns.index(one), reading.table.columns.index(other))
    found = reading.total_difference(*places)
    if found.low is None or found.high is None:
        return found
    pictures = max(
        1,
        min(
            pictures_by_column(reading)[label] // max(1, len(reading.table.scores)) for label in (one, other)
        ),
    )
    half = NormalDist().inv_cdf(0.975) * spread / math.sqrt(pictures)
    low, high = min(found.low, found.mean - half), max(found.high, found.mean + half)
    if reading.table.of_sets and not reading.table.varies_by_prompt:
        alone = reading.of_pictures().total_difference(*places)
        low = min(low, alone.low) if alone.low is not None else low
        high = max(high, alone.high) if alone.high is not None else high
    return Estimate(mean=found.mean, low=low, high=high, count=found.count)


def _is_full(reading: Reading, labels: Sequence[str]) -> bool:
    counts = pictures_by_column(reading)
    return len({counts[label] for label in labels}) == 1


def pictures_by_column(reading: Reading) -> dict[str, int]:
    """Return how many scored pictures each column has."""
    table = reading.table
    return {
        label: sum(int((~np.isnan(scores[place])).sum()) for scores in table.scores.values())
        for place, label in enumerate(table.columns)
    }


def _place(reading: Reading, candidate: Candidate) -> int:
    return reading.table.columns.index(candidate.label)


def floor_of(reading: Reading) -> int | None:
    """Return the base's own column, None where it was not drawn."""
    return reading.table.columns.index(FLOOR) if FLOOR in reading.table.columns else None


def widened(estimate: Estimate, looks: int) -> Estimate:
    """Return the interval as it must be where the largest of `looks` differences was picked (Bonferroni)."""
    if estimate.low is None or estimate.high is None or looks < 2:
        return estimate
    factor = NormalDist().inv_cdf(1 - 0.025 / looks) / NormalDist().inv_cdf(0.975)
    low = estimate.mean - factor * (estimate.mean - estimate.low)
    high = estimate.mean + factor * (estimate.high - estimate.mean)
    return Estimate(mean=estimate.mean, low=low, high=high, count=estimate.count)


def named_in(ranking: Sequence[Ranked], name: str) -> Ranked:
    """Return the ranked checkpoint called `name`, by its file's name or its label. Raises ConfigError naming what there is."""
    wanted = name.removesuffix(".safetensors").split("/")[-1].split("\\")[-1]
    for each in ranking:
        if wanted in (PurePath(each.checkpoint).stem, each.label) or name in (each.checkpoint, each.label):
            return each
    known = [PurePath(each.checkpoint).stem for each in ranking]
    raise ConfigError(
        Problem(
            f"checkpoint '{name}'",
            "is none of those that were measured",
            "its file's name",
            did_you_mean(name, known),
        )
    )

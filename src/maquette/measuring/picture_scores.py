"""The score of a column picture by picture: what each picture adds to it, so that two columns compare in pairs.

A score is made of means over the pictures of some roles, each on the scale between its zero and its one. Picture i therefore adds

    value(i) = sum over headlines h that i belongs to of  weight(h) × N / N(h) × (x_h(i) - zero(h)) / (one(h) - zero(h))

with N pictures in all and N(h) of headline h: the mean of the values is the score, as far as no headline was cut to [0, 1] and
without what is scored for whole sets. The terms (weight, zero, one) are one column's; under them any column's pictures compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maquette.measuring.looks import FirstLook, Look
from maquette.measuring.scorecards import Reading

PictureKey = tuple[str, int]
"""Prompt and seed."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """What a picture of some roles adds to the score for one measure."""

    measure: str
    roles: tuple[str, ...]
    zero: float
    one: float
    weight: float
    """With the number of pictures that the headline rests on taken in."""

    def of(self, look: Look) -> float | None:
        """Return what a picture adds; None of one that has no part in it."""
        value = look.scores.get(self.measure)
        if value is None or look.role not in self.roles:
            return None
        return self.weight * (value - self.zero) / (self.one - self.zero)


def terms_of(reading: Reading, look: FirstLook, label: str) -> tuple[Term, ...]:
    """Return the terms of a column's score, those of pictures alone; none where no picture counts."""
    own = [each for each in look.looks if each.checkpoint == label]
    alone = reading.of_pictures()
    known = []
    for headline in alone.headlines:
        zero, one = alone.ends(headline)
        count = sum(each.role in headline.roles and headline.measure in each.scores for each in own)
        if headline.aspect is not None and count and math.isfinite(one - zero) and one != zero:
            known.append((headline, zero, one, count))
    aspects = [each.aspect for each, *_ in known]
    whole = sum(alone.weights.get(aspect or "", 0.0) for aspect in set(aspects))
    counted = [
        each
        for each in own
        if any(each.role in head.roles and head.measure in each.scores for head, *_ in known)
    ]
    if not whole:
        return ()
    return tuple(
        Term(
            measure=head.measure,
            roles=head.roles,
            zero=zero,
            one=one,
            weight=alone.weights.get(head.aspect or "", 0.0)
            / whole
            / aspects.count(head.aspect)
            * len(counted)
            / count,
        )
        for head, zero, one, count in known
    )


def picture_scores(look: FirstLook, label: str, terms: Sequence[Term]) -> Mapping[PictureKey, float]:
    """Return what each of a column's pictures adds to its score, those that have a part in it."""
    found: dict[PictureKey, float] = {}
    for each in look.looks:
        if each.checkpoint == label:
            parts = [part for term in terms if (part := term.of(each)) is not None]
            if parts:
                found[each.prompt, each.seed] = sum(parts)
    return found

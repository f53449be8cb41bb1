"""How many more pictures would tell two columns apart, if the difference that was seen is the true one.

With the variances that prompts and seeds give the paired difference, V_p and V_s, a design with N′ prompts and S′ seeds has

    variance ≈ V_p · N / N′ + V_s · S / S′

and shows the difference with 95 % confidence in 8 of 10 repetitions where its square root is at most
|difference| / (1.96 + 0.84).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from maquette.measuring.scorecards import Reading

_CONFIDENT = 1.95996 + 0.84162
MOST_PICTURES = 5000
"""Of one column: what takes more is not settled by drawing."""


@dataclass(frozen=True, kw_only=True)
class MorePictures:
    """A design that would probably settle it, in numbers that come on top of what was drawn."""

    seeds: int
    prompts: int
    pictures: int
    """Of both columns together."""


def more_pictures(reading: Reading, one: int, other: int) -> MorePictures | None:
    """Return the cheapest design that would tell two columns apart, None where none within reason would."""
    difference, over_prompts, over_seeds = reading.total_variances(one, other)
    prompts, seeds = len(reading.table.prompts), len(reading.table.seeds)
    if not difference or math.isnan(difference) or not over_prompts + over_seeds:
        return None
    allowed = (difference / _CONFIDENT) ** 2
    designs = [
        (prompts, _enough(seeds, over_seeds, allowed - over_prompts)),
        (_enough(prompts, over_prompts, allowed - over_seeds), seeds),
        _both(prompts, seeds, (over_prompts + over_seeds) / allowed),
    ]
    found = [
        MorePictures(seeds=s - seeds, prompts=p - prompts, pictures=2 * (p * s - prompts * seeds))
        for p, s in designs
        if p is not None and s is not None and prompts * seeds < p * s <= MOST_PICTURES
    ]
    return min(found, key=lambda each: each.pictures, default=None)


def _enough(now: int, variance: float, allowed: float) -> int | None:
    """Return how many there must be for `variance` to fall to `allowed`; never fewer than now."""
    if allowed <= 0:
        return None
    return max(now, math.ceil(now * variance / allowed))


def _both(prompts: int, seeds: int, factor: float) -> tuple[int | None, int | None]:
    if not math.isfinite(factor) or factor > MOST_PICTURES:
        return None, None
    return max(prompts, math.ceil(prompts * factor)), max(seeds, math.ceil(seeds * factor))

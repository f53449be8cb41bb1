"""Means of scores that were measured for every prompt and every seed, with 95 % confidence intervals.

Pictures of one prompt resemble each other, and so do pictures of one seed: treating all of them as
independent would claim far more certainty than there is. With p prompts and s seeds (both random, crossed),

    variance(mean) = V_prompts / p + V_seeds / s − V_rest / (p · s)

where V_prompts and V_seeds are the variances of the prompts' and the seeds' means and V_rest is the variance
that neither explains (it is in both of the others). Degrees of freedom follow Satterthwaite. One prompt
leaves Student's interval over seeds, and the reverse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, variance

# Student's t, 97.5 %, by degrees of freedom; between the entries 1/df is interpolated.
_T975 = {
    1: 12.7062,
    2: 4.3027,
    3: 3.1824,
    4: 2.7764,
    5: 2.5706,
    6: 2.4469,
    7: 2.3646,
    8: 2.3060,
    9: 2.2622,
    10: 2.2281,
    12: 2.1788,
    15: 2.1314,
    20: 2.0860,
    30: 2.0423,
    60: 2.0003,
    120: 1.9799,
    10**9: 1.95996,
}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its 95 % interval [low, high]; the interval is None where one number leaves nothing to
    vary.
    """

    mean: float
    low: float | None
    high: float | None
    count: int

    def shows_difference_from(self, value: float) -> bool:
        """Whether the interval excludes `value`."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


def t975(degrees_of_freedom: float) -> float:
    """Return the 97.5 % quantile of Student's t; below one degree of freedom the value for one."""
    known = sorted(_T975)
    df = max(float(degrees_of_freedom), 1.0)
    above = next((entry for entry in known if entry >= df), known[-1])
    below = max((entry for entry in known if entry <= df), default=known[0])
    if above == below:
        return _T975[above]
    share = (1 / below - 1 / df) / (1 / below - 1 / above)
    return _T975[below] + share * (_T975[above] - _T975[below])


@cache
def t_quantile(tail: float, degrees_of_freedom: int) -> float:
    """Return the value that Student's t exceeds with probability `tail` (below a half), for whole degrees of freedom."""
    low, high = 0.0, 1.0
    while _t_tail(high, degrees_of_freedom) > tail:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_tail(middle, degrees_of_freedom) > tail else (low, middle)
    return (low + high) / 2


def _t_tail(value: float, df: int) -> float:
    """Return P(T > value): the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4, with theta = atan(value / sqrt(df))."""
    theta = math.atan(value / math.sqrt(df))
    sine, squared = math.sin(theta), math.cos(theta) ** 2
    odd = df % 2 == 1
    term, total = 1.0, 0.0
    for index in range(df // 2):
        total += term
        term *= squared * ((2 * index + 2) / (2 * index + 3) if odd else (2 * index + 1) / (2 * index + 2))
    within = 2 / math.pi * (theta + sine * math.cos(theta) * total) if odd else sine * total
    return (1 - within) / 2


def estimate(scores: Sequence[Sequence[float]], *, limits: tuple[float, float] | None = None) -> Estimate:
    """Return the mean of `scores[prompt][seed]` with its 95 % interval, cut to `limits`.

    Where prompts have unlike numbers of seeds, each counts by its mean, and the interval is over prompts alone.
    """
    count = sum(len(row) for row in scores)
    if len({len(row) for row in scores}) > 1:
        scores = [[fmean(row)] for row in scores]
    prompts, seeds = len(scores), len(scores[0])
    mean = fmean(fmean(row) for row in scores)
    terms = [(value, count - 1) for value, count in _variance_terms(scores) if count > 1]
    if not terms:
        return Estimate(mean=mean, low=None, high=None, count=count)
    rest = _rest_variance(scores, mean) / (prompts * seeds) if prompts > 1 and seeds > 1 else 0.0
    squared = max(sum(value for value, _ in terms) - rest, max(value for value, _ in terms))
    spread = sum(value**2 / df for value, df in terms)
    df = squared**2 / spread if spread else math.inf
    half = t975(df) * math.sqrt(squared)
    low, high = mean - half, mean + half
    if limits:
        low, high = max(low, limits[0]), min(high, limits[1])
    return Estimate(mean=mean, low=low, high=high, count=count)


def _variance_terms(scores: Sequence[Sequence[float]]) -> list[tuple[float, int]]:
    """Return (variance of the means / their number, their number) of prompts and of seeds."""
    terms = []
    for means in ([fmean(row) for row in scores], [fmean(column) for column in zip(*scores, strict=True)]):
        terms.append((variance(means) / len(means) if len(means) > 1 else 0.0, len(means)))
    return terms


def _rest_variance(scores: Sequence[Sequence[float]], mean: float) -> float:
    """Return the variance that neither prompts nor seeds explain."""
    rows = [fmean(row) for row in scores]
    columns = [fmean(column) for column in zip(*scores, strict=True)]
    total = sum(
        (score - rows[i] - columns[j] + mean) ** 2
        for i, row in enumerate(scores)
        for j, score in enumerate(row)
    )
    return total / ((len(rows) - 1) * (len(columns) - 1))


def difference(
    after: Sequence[Sequence[float]],
    before: Sequence[Sequence[float]],
    *,
    limits: tuple[float, float] | None = None,
) -> Estimate:
    """Return the mean of `after − before`, paired by prompt and seed, with its 95 % interval.

    `limits` are those of the scores themselves.
    """
    pairs = zip(after, before, strict=True)
    changes = [[a - b for a, b in zip(row_a, row_b, strict=True)] for row_a, row_b in pairs]
    return estimate(changes, limits=(limits[0] - limits[1], limits[1] - limits[0]) if limits else None)

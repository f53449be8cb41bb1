"""Pairs that a person judged, as one strength for each thing judged (Bradley and Terry, 1952).

The chance that `a` is preferred to `b` is 1 / (1 + exp(b − a)). A tie is half a win for either. Strengths are found by Newton's
method on the log likelihood with a weak normal prior around zero, which keeps finite what won or lost every pair; their
covariance is the inverse of the negative second derivative there.

Legend: K things.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maquette.measuring.statistics import Estimate

PRIOR_SPREAD = 3.0
"""Standard deviation of the prior: strengths so far apart are preferred in 95 of 100 pairs."""
_Z = 1.95996
_ENOUGH = 1e-10
_MOST_ROUNDS = 100


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One judged pair by name; `winner` is one of the two, or None where neither was better."""

    first: str
    second: str
    winner: str | None


@dataclass(frozen=True)
class Strengths:
    """What the pairs say of each name, on the scale of log odds; they sum to zero."""

    names: tuple[str, ...]
    values_K: NDArray[np.float64]
    covariance_KK: NDArray[np.float64]
    pairs_K: NDArray[np.int64]
    """In how many pairs each stood."""

    def preferred(self, name: str, other: str) -> Estimate:
        """Return the chance that `name` is preferred to `other`, with its 95 % interval."""
        a, b = self.names.index(name), self.names.index(other)
        gap = float(self.values_K[a] - self.values_K[b])
        cov = self.covariance_KK
        error = math.sqrt(max(float(cov[a, a] + cov[b, b] - 2 * cov[a, b]), 0.0))
        count = int(self.pairs_K[a] + self.pairs_K[b])
        return Estimate(
            mean=_chance(gap), low=_chance(gap - _Z * error), high=_chance(gap + _Z * error), count=count
        )

    def against_all(self, name: str) -> Estimate:
        """Return the chance that `name` is preferred to one of middling strength, with its 95 % interval."""
        place = self.names.index(name)
        middle_K = np.full(len(self.names), -1 / len(self.names))
        middle_K[place] += 1
        error = math.sqrt(max(float(middle_K @ self.covariance_KK @ middle_K), 0.0))
        value = float(self.values_K[place])
        return Estimate(
            mean=_chance(value),
            low=_chance(value - _Z * error),
            high=_chance(value + _Z * error),
            count=int(self.pairs_K[place]),
        )

    def ranking(self) -> tuple[str, ...]:
        """Return the names, the strongest first; equal ones in the order in which they were given."""
        order = sorted(range(len(self.names)), key=lambda place: -round(float(self.values_K[place]), 9))
        return tuple(self.names[place] for place in order)


def strengths_of(pairs: Sequence[Pair], names: Sequence[str]) -> Strengths:
    """Return the strengths of `names` (at least one) by `pairs`. A pair of other names is passed over."""
    places = {name: place for place, name in enumerate(names)}
    wins_KK = np.zeros((len(names), len(names)))
    for pair in pairs:
        if pair.first not in places or pair.second not in places or pair.first == pair.second:
            continue
        a, b = places[pair.first], places[pair.second]
        share = 0.5 if pair.winner is None else float(pair.winner == pair.first)
        wins_KK[a, b] += share
        wins_KK[b, a] += 1 - share
    met_KK = wins_KK + wins_KK.T
    values_K: NDArray[np.float64] = np.zeros(len(names))
    for _ in range(_MOST_ROUNDS):
        slope_K, curve_KK = _derivatives(values_K, wins_KK, met_KK)
        change_K = np.linalg.solve(curve_KK, slope_K)
        values_K = values_K + change_K
        if float(np.abs(change_K).max(initial=0.0)) < _ENOUGH:
            break
    values_K = values_K - values_K.mean()
    _, curve_KK = _derivatives(values_K, wins_KK, met_KK)
    covariance_KK = np.linalg.inv(curve_KK).astype(np.float64)
    return Strengths(tuple(names), values_K, covariance_KK, met_KK.sum(axis=1).round().astype(np.int64))


def _derivatives(
    values_K: NDArray[np.float64], wins_KK: NDArray[np.float64], met_KK: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the slope of the log posterior [K], and its negative second derivative [K, K]."""
    chance_KK = 1 / (1 + np.exp(values_K[None, :] - values_K[:, None]))
    slope_K = (wins_KK - met_KK * chance_KK).sum(axis=1) - values_K / PRIOR_SPREAD**2
    weight_KK = met_KK * chance_KK * (1 - chance_KK)
    np.fill_diagonal(weight_KK, 0.0)
    curve_KK = np.diag(weight_KK.sum(axis=1) + 1 / PRIOR_SPREAD**2) - weight_KK
    return slope_K, curve_KK


def _chance(gap: float) -> float:
    return 1 / (1 + math.exp(-gap)) if gap > -700 else 0.0

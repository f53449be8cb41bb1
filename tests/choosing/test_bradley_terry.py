"""A person's pairs as strengths."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from maquette.choosing.bradley_terry import PRIOR_SPREAD, Pair, strengths_of

NAMES = ("a", "b", "c", "d")
TRUE = {"a": -1.0, "b": 0.0, "c": 0.2, "d": 0.8}


def drawn(count: int, seed: int, true: dict[str, float] = TRUE) -> list[Pair]:
    """Return pairs whose outcomes follow `true`."""
    chance = random.Random(seed)
    pairs = []
    for _ in range(count):
        first, second = chance.sample(list(true), 2)
        is_first = chance.random() < 1 / (1 + math.exp(true[second] - true[first]))
        pairs.append(Pair(first=first, second=second, winner=first if is_first else second))
    return pairs


def test_many_pairs_give_back_the_strengths_that_made_them() -> None:
    found = strengths_of(drawn(6000, 1), NAMES)
    assert found.values_K == pytest.approx([TRUE[name] - 0.0 for name in NAMES], abs=0.12)
    assert found.ranking() == ("d", "c", "b", "a")


def test_the_strengths_are_where_the_posterior_is_steepest_nowhere() -> None:
    pairs = drawn(60, 2)
    found = strengths_of(pairs, NAMES)

    def posterior(values: np.ndarray) -> float:
        by_name = dict(zip(NAMES, values, strict=True))
        total = -float((values**2).sum()) / (2 * PRIOR_SPREAD**2)
        for pair in pairs:
            other = pair.second if pair.winner == pair.first else pair.first
            total -= math.log1p(math.exp(by_name[other] - by_name[str(pair.winner)]))
        return total

    best = posterior(found.values_K)
    rng = np.random.default_rng(0)
    assert all(posterior(found.values_K + rng.normal(0, 0.05, 4)) < best for _ in range(50))


def test_what_won_every_pair_has_a_finite_strength_and_an_open_interval() -> None:
    found = strengths_of([Pair(first="a", second="b", winner="a")] * 5, ("a", "b"))
    chance = found.preferred("a", "b")
    assert 0.5 < chance.mean < 1 and chance.high is not None and chance.high < 1


def test_ties_alone_say_that_all_are_alike() -> None:
    found = strengths_of([Pair(first="a", second="b", winner=None)] * 8, ("a", "b"))
    chance = found.preferred("a", "b")
    assert chance.mean == pytest.approx(0.5) and not chance.shows_difference_from(0.5)


def test_neither_the_order_of_names_nor_of_a_pair_matters() -> None:
    pairs = drawn(40, 3)
    turned = [Pair(first=pair.second, second=pair.first, winner=pair.winner) for pair in pairs]
    one, other = strengths_of(pairs, NAMES), strengths_of(turned, NAMES[::-1])
    for name in NAMES:
        assert one.against_all(name).mean == pytest.approx(other.against_all(name).mean)
        assert one.against_all(name).low == pytest.approx(other.against_all(name).low)


def test_intervals_hold_what_they_promise() -> None:
    held = 0
    for seed in range(200):
        found = strengths_of(drawn(80, seed), NAMES)
        chance = found.preferred("d", "b")
        assert chance.low is not None and chance.high is not None
        held += chance.low <= 1 / (1 + math.exp(TRUE["b"] - TRUE["d"])) <= chance.high
    assert held >= 184


def test_a_name_without_a_pair_is_anywhere() -> None:
    found = strengths_of(drawn(50, 4), (*NAMES, "e"))
    chance = found.against_all("e")
    assert chance.low is not None and chance.high is not None
    assert chance.low < 0.05 and chance.high > 0.95 and chance.count == 0

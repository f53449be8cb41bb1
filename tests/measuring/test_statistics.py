"""Laws of the intervals: they hold what they promise, and do not count one picture twice."""

from __future__ import annotations

import random
from statistics import NormalDist

import pytest

from maquette.measuring.statistics import difference, estimate, t975


@pytest.mark.parametrize(
    ("df", "value"), [(1, 12.706), (4, 2.776), (11, 2.201), (25, 2.060), (40, 2.021), (1e12, 1.960)]
)
def test_students_quantiles_agree_with_the_tables(df: float, value: float) -> None:
    assert t975(df) == pytest.approx(value, abs=2e-3)


def test_one_prompt_gives_students_interval_over_seeds() -> None:
    scores = [0.2, 0.4, 0.5, 0.9]
    told = estimate([scores])
    half = 3.1824 * (0.0866667 / 4) ** 0.5
    assert told.mean == pytest.approx(0.5)
    assert (told.low, told.high) == (pytest.approx(0.5 - half, abs=1e-4), pytest.approx(0.5 + half, abs=1e-4))
    assert estimate([[score] for score in scores]) == told


def test_a_single_picture_has_no_interval() -> None:
    told = estimate([[0.7]])
    assert (told.mean, told.low, told.high) == (0.7, None, None)
    assert not told.shows_difference_from(0.0)


def test_limits_cut_the_interval() -> None:
    assert estimate([[0.0, 1.0, 1.0]], limits=(0.0, 1.0)).high == 1.0


def test_more_pictures_of_the_same_prompts_do_not_shrink_the_prompts_share() -> None:
    """Two prompts that differ leave the mean as unsure with 64 seeds as with 4: seeds are no new prompts."""
    few, many = ([[0.2] * seeds, [0.8] * seeds] for seeds in (4, 64))
    assert estimate(many).low == pytest.approx(estimate(few).low)


def test_pairing_removes_what_seeds_have_in_common() -> None:
    before = [[0.1, 0.5, 0.9]]
    after = [[0.2, 0.6, 1.0]]
    paired = difference(after, before)
    assert paired.mean == pytest.approx(0.1)
    assert paired.shows_difference_from(0.0)
    assert not estimate(after).shows_difference_from(estimate(before).mean)


@pytest.mark.parametrize(("prompts", "seeds"), [(1, 6), (5, 8)])
def test_intervals_hold_the_truth_as_often_as_they_say(prompts: int, seeds: int) -> None:
    """Crossed random prompts and seeds: about 95 of 100 intervals hold the true mean. Treating all pictures
    as
    independent would hold it about half as often in the second case."""
    generator = random.Random(1)
    draws = 600
    held = 0
    for _ in range(draws):
        of_prompt = [generator.gauss(0, 0.5) for _ in range(prompts)] if prompts > 1 else [0.0]
        of_seed = [generator.gauss(0, 0.3) for _ in range(seeds)]
        told = estimate([[row + column + generator.gauss(0, 0.2) for column in of_seed] for row in of_prompt])
        held += not told.shows_difference_from(0.0)
    # Three standard errors of a share of 600 draws, plus the approximation's own conservatism.
    assert NormalDist(0.95, (0.95 * 0.05 / draws) ** 0.5).inv_cdf(0.001) <= held / draws <= 0.995


def test_prompts_of_unlike_numbers_of_seeds_count_by_their_means() -> None:
    """A prompt file gives each prompt seeds of its own: no prompt weighs more for having more."""
    ragged = estimate([[0.2, 0.4, 0.6], [0.8], [0.5, 0.7]])
    means = estimate([[0.4], [0.8], [0.6]])
    assert (ragged.mean, ragged.low, ragged.high) == pytest.approx((means.mean, means.low, means.high))
    assert ragged.count == 6

"""Whether the best beats the baseline: planted differences are found, none is where none is, luck in choosing counts nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from maquette.measuring.statistics import t975, t_quantile
from maquette.searching.records import SearchTrial, StudyRecord
from maquette.searching.verdict import best_of, fresh_values, verdict_of, with_verdict
from tests.searching.test_records import study_of

SEEDS = (101, 102, 103)


def trial(number: int, value: float | None, **more: object) -> SearchTrial:
    known = {"state": "finished", "seed": 1, "role": "search", **more}
    return SearchTrial(number=number, value=value, **known)  # type: ignore[arg-type]


def searched(values: Sequence[float], further: dict[int, Sequence[float]], **more: object) -> StudyRecord:
    """Return a study whose trial 0 is the baseline, with further seeds of some of its trials."""
    first = [trial(number, value) for number, value in enumerate(values)]
    numbers = iter(range(len(values), 10_000))
    repeated = [
        trial(next(numbers), value, seed=seed, role="finalist", of=of)
        for of, row in further.items()
        for seed, value in zip(SEEDS, row, strict=False)
    ]
    return replace(study_of(*first, *repeated), baseline=0, **more)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 10, 30, 120])
def test_quantiles_of_students_t_are_those_of_the_table(df: int) -> None:
    assert t_quantile(0.025, df) == pytest.approx(t975(df), abs=6e-5)


def test_a_clear_gain_is_said_with_its_interval_and_number_of_seeds() -> None:
    study = searched([1.0, 0.5, 0.6], {0: (1.0, 1.1, 0.9), 1: (0.5, 0.61, 0.39), 2: (0.8, 0.9, 0.71)})
    found = with_verdict(study)
    assert (found.best, found.beats_baseline) == (1, True)
    assert found.comparison is not None and found.interval is not None
    assert found.comparison.difference == pytest.approx(-0.5)
    assert found.interval[0] < -0.5 < found.interval[1] < 0
    assert found.comparison.seeds == 3 and found.comparison.seeds_needed is None
    assert "beat the baseline" in found.comparison.told and "3 seeds" in found.comparison.told


def test_more_is_better_turns_the_signs() -> None:
    values, further = [-1.0, -0.5], {0: (-1.0, -1.1, -0.9), 1: (-0.5, -0.61, -0.39)}
    found = verdict_of(searched(values, further, direction="maximize", objective="score"))
    assert (found.best, found.beats_baseline) == (1, True)
    assert found.comparison.interval is not None and found.comparison.interval[0] > 0
    assert best_of(searched(values, {}).trials, "maximize") == trial(1, -0.5)


def test_noise_as_large_as_the_gain_cannot_be_told_and_the_seeds_that_would_are_named() -> None:
    found = verdict_of(searched([1.0, 0.5], {0: (1.0, 1.1, 0.9), 1: (1.0, 0.7, 0.9)}))
    assert (found.best, found.beats_baseline) == (1, None)
    low, high = found.comparison.interval or (0.0, 0.0)
    assert low < 0 < high
    assert found.comparison.seeds_needed is not None and found.comparison.seeds_needed > 3
    assert str(found.comparison.seeds_needed) in found.comparison.told


def test_a_finalist_that_falls_behind_leaves_the_baseline_best() -> None:
    found = verdict_of(searched([1.0, 0.5], {0: (1.0, 1.1, 0.9), 1: (1.2, 1.3, 1.0)}))
    assert (found.best, found.beats_baseline) == (0, False)
    assert "Keep the baseline" in found.comparison.told


def test_a_gain_far_below_what_a_seed_moves_is_no_gain() -> None:
    base = (1.0, 2.0, 3.0)
    found = verdict_of(searched([1.0, 0.5], {0: base, 1: (0.9999, 2.0001, 2.9997)}))
    assert (found.best, found.beats_baseline) == (1, False)
    assert "seed noise" in found.comparison.told


def test_the_seed_that_chose_and_runs_that_did_not_finish_count_nothing() -> None:
    trials = (
        trial(0, 1.0),
        trial(1, 0.5),
        trial(2, 0.1, of=1, seed=1, role="finalist"),
        trial(3, 0.7, of=1, seed=7, role="finalist"),
        trial(4, None, of=1, seed=8, role="finalist", state="failed"),
        trial(5, float("nan"), of=1, seed=9, role="finalist"),
    )
    assert fresh_values(trials) == {1: {7: 0.7}}


def test_without_further_seeds_the_best_is_named_and_nothing_is_claimed() -> None:
    found = verdict_of(searched([1.0, 0.5, 0.7], {}))
    assert (found.best, found.beats_baseline, found.comparison.seeds) == (1, None, 0)
    assert found.comparison.difference == pytest.approx(-0.5)
    assert "cannot be told" in found.comparison.told
    one = verdict_of(searched([1.0, 0.5], {0: (1.0,), 1: (0.8,)}))
    assert (one.beats_baseline, one.comparison.interval, one.comparison.seeds) == (None, None, 1)
    assert verdict_of(study_of(trial(0, None, state="failed"))).best is None


def test_a_finalist_that_failed_with_a_seed_is_no_candidate() -> None:
    found = verdict_of(searched([1.0, 0.5, 0.6], {0: (1.0, 1.1, 0.9), 1: (0.1, 0.2), 2: (0.8, 0.9, 0.71)}))
    assert (found.best, found.comparison.seeds) == (2, 3)


@pytest.mark.parametrize(("finalists", "seeds"), [(1, 2), (3, 3), (3, 2)])
def test_where_nothing_is_better_a_gain_is_claimed_in_less_than_one_search_in_twenty(
    finalists: int, seeds: int
) -> None:
    """The luckiest of 20 equal settings are chosen, and seeds move all alike and each for itself."""
    draw, studies, claims, chosen_better = random.Random(5), 600, 0, 0
    for _ in range(studies):
        values = [draw.gauss(0, 1) for _ in range(21)]
        order = sorted(range(1, 21), key=values.__getitem__)[:finalists]
        shared = [draw.gauss(0, 1) for _ in range(seeds)]
        further = {number: [each + draw.gauss(0, 1) for each in shared] for number in (0, *order)}
        chosen_better += values[order[0]] < values[0]
        claims += verdict_of(searched(values, further)).beats_baseline is True
    assert chosen_better / studies > 0.85, "by the values that chose them nearly every search has a winner"
    assert claims / studies <= 0.05

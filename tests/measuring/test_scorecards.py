"""Laws of scorecards: known tables give known numbers, and the intervals hold what they promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from maquette.measuring.headlines import HEADLINES
from maquette.measuring.looks import FLOOR, FirstLook, Look, SetScore
from maquette.measuring.protocol import Measure
from maquette.measuring.scorecards import Reading, read_scorecards, scorecards_of
from maquette.measuring.statistics import estimate, t975
from maquette.measuring.tables import table_of
from tests.choosing import making

IDENTITY = Measure(name="identity", title="Identity", definition="how alike.")
VARIETY = Measure(name="variety", title="Variety", definition="how varied.")
ADHERENCE = Measure(name="adherence", title="Adherence", definition="as asked.")


def look_of(scores: dict[tuple[str, str, str], list[float]], measure: str = "identity") -> FirstLook:
    """Return a look from (column, prompt, role) → one score a seed."""
    looks = tuple(
        Look(
            checkpoint=column,
            step=None if column == FLOOR else 100,
            prompt=prompt,
            role=role,
            seed=seed,
            path=f"{column}-{prompt}-{seed}.png",
            scores={measure: value},
        )
        for (column, prompt, role), values in scores.items()
        for seed, value in enumerate(values, start=1)
    )
    return FirstLook(folder=Path("nowhere"), looks=looks, measures=(IDENTITY, VARIETY, ADHERENCE))


def test_a_headline_lies_between_the_base_and_the_references() -> None:
    look = look_of(
        {
            (FLOOR, "zkw", "bare"): [0.2, 0.2],
            ("a", "zkw", "bare"): [0.5, 0.5],
            (FLOOR, "a person", "leak"): [0.2, 0.2],
            ("a", "a person", "leak"): [0.5, 0.5],
        }
    )
    card = scorecards_of(replace(look, ceilings={"identity": 0.8})).card("a")
    bare, leak = card.scores["identity_bare"], card.scores["leakage"]
    assert (bare.floor, bare.ceiling, bare.value.mean) == (0.2, 0.8, 0.5)
    assert bare.normalised is not None and bare.normalised.mean == pytest.approx(0.5)
    assert leak.normalised is not None and leak.normalised.mean == pytest.approx(0.5), "half of it leaks"
    assert card.total is not None and card.total.mean == pytest.approx(0.5), (
        "the leak warns and does not count"
    )
    assert "identity_novel" not in card.scores


def test_without_references_the_end_of_the_measure_is_the_ceiling() -> None:
    look = look_of({(FLOOR, "zkw", "bare"): [0.2, 0.2], ("a", "zkw", "bare"): [0.6, 0.6]})
    found = scorecards_of(look).card("a").scores["identity_bare"].normalised
    assert found is not None and found.mean == pytest.approx(0.5)


def test_a_base_as_good_as_the_references_leaves_nothing_to_say() -> None:
    look = look_of({(FLOOR, "zkw", "bare"): [0.8, 0.8], ("a", "zkw", "bare"): [0.9, 0.9]})
    card = scorecards_of(replace(look, ceilings={"identity": 0.8})).card("a")
    assert card.scores["identity_bare"].normalised is None and card.total is None


def test_aspects_weigh_as_they_are_told() -> None:
    look = look_of({(FLOOR, "zkw", "bare"): [0.0, 0.0], ("a", "zkw", "bare"): [1.0, 1.0]})
    sets = tuple(
        SetScore(checkpoint=name, prompt="zkw", role="bare", measure="variety", value=0.25)
        for name in (FLOOR, "a")
    )
    look = replace(look, sets=sets)
    total = scorecards_of(look).card("a").total
    assert total is not None and total.mean == pytest.approx((40 * 1.0 + 20 * 0.25) / 60)
    total = scorecards_of(look, weights={"variety": 1.0}).card("a").total
    assert total is not None and total.mean == pytest.approx(0.25)


def test_scores_beyond_the_ceiling_buy_nothing() -> None:
    look = look_of({(FLOOR, "zkw", "bare"): [0.1, 0.1], ("a", "zkw", "bare"): [0.9, 0.9]})
    total = scorecards_of(replace(look, ceilings={"identity": 0.6})).card("a").total
    assert total is not None and (total.mean, total.high) == (1.0, 1.0)


def test_a_score_whose_interval_is_wider_than_its_range_ends_with_it() -> None:
    look = look_of({(FLOOR, "zkw", "bare"): [0.0, 0.0], ("a", "zkw", "bare"): [0.2, 0.9]})
    total = scorecards_of(look).card("a").total
    assert total is not None and (total.low, total.high) == (0.0, 1.0)


def test_one_prompt_gives_students_interval_over_seeds() -> None:
    rng = np.random.default_rng(5)
    row = list(rng.normal(0.5, 0.05, 12))
    look = look_of({(FLOOR, "zkw", "bare"): [0.0] * 12, ("a", "zkw", "bare"): row})
    found, exact = scorecards_of(look).card("a").scores["identity_bare"].value, estimate([row])
    assert (
        exact.low is not None and exact.high is not None and found.low is not None and found.high is not None
    )
    # 400 draws know a standard deviation to 3.5 %; three times that is allowed.
    assert found.high - found.low == pytest.approx(exact.high - exact.low, rel=0.11)


def test_equal_columns_are_told_apart_no_more_often_than_promised() -> None:
    """Prompts, seeds and pictures all vary; 200 looks of two columns that differ by chance alone."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        prompts, seeds = rng.normal(0, 0.1, 6), rng.normal(0, 0.1, 4)
        scores = {
            (column, f"p{n}", "novel"): list(
                np.clip(0.5 + prompts[n] + seeds + rng.normal(0, 0.1, 4), 0.05, 0.95)
            )
            for column in ("a", "b")
            for n in range(6)
        }
        scores |= {(FLOOR, f"p{n}", "novel"): [0.0] * 4 for n in range(6)}
        look = look_of(scores)
        reading = Reading(table_of(look), look.measures, {})
        wrong += reading.total_difference(0, 1).shows_difference_from(0.0)
    # 5 % of 200 is 10, three standard deviations of the binomial 9.
    assert wrong <= 19


def test_scorecards_are_read_back_as_written(tmp_path: Path) -> None:
    look = look_of({(FLOOR, "zkw", "bare"): [0.1, 0.2], ("a", "zkw", "bare"): [0.8, 0.9]})
    cards = scorecards_of(look, notes=["few references"])
    cards.write(tmp_path)
    assert read_scorecards(tmp_path) == cards
    assert [headline.name for headline in cards.headlines] == ["identity_bare"]
    assert len({headline.name for headline in HEADLINES}) == len(HEADLINES)


def test_a_failed_floor_is_said_whatever_the_score_and_not_where_the_base_fails_it_too() -> None:
    clean = Measure(
        name="technical", title="Clean", definition="clean.", least=0.75, lack="heads are smeared"
    )

    def failures(base: float) -> tuple[str, ...]:
        look = look_of(
            {(FLOOR, "zkw", "bare"): [base] * 4, ("a", "zkw", "bare"): [1.0, 0.0, 0.0, 1.0]}, "technical"
        )
        return scorecards_of(replace(look, measures=(clean,))).card("a").failures

    assert failures(1.0) == ("2 of 4 heads are smeared",) and failures(0.5) == ()


def test_the_interval_over_prompts_is_that_of_leaving_each_out() -> None:
    """One role, one measure: a ratio of means over prompts (Tukey's jackknife with Student's t)."""
    prompts = [(f"p{number}", "prompt") for number in range(7)]
    look = making.look_of({"step 100": 2.0, "step 200": 5.0}, seeds=1, noise=0.4, prompts=prompts)
    reading = Reading(table_of(look), look.measures, look.ceilings)
    found = reading.difference_by_prompts(2, 1)
    scores = {(e.checkpoint, e.prompt): e.scores["identity"] for e in look.looks}

    def ratio(left_out: int | None) -> float:
        kept = [text for number, (text, _) in enumerate(prompts) if number != left_out]
        change = fmean(scores["step 200", text] - scores["step 100", text] for text in kept)
        return change / fmean(10.0 - scores[FLOOR, text] for text in kept)

    without = [ratio(number) for number in range(7)]
    error = (6 / 7 * sum((each - fmean(without)) ** 2 for each in without)) ** 0.5
    assert found.mean == pytest.approx(ratio(None)) and found.low is not None
    assert found.mean - found.low == pytest.approx(t975(6) * error)
    alone = making.look_of({"step 100": 2.0, "step 200": 5.0}, seeds=3, prompts=prompts[:1])
    assert Reading(table_of(alone), alone.measures, alone.ceilings).difference_by_prompts(2, 1).low is None

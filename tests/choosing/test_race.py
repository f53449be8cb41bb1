"""The race over columns whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maquette.choosing.race import (
    NOT_COUNTED,
    WORTH,
    Raced,
    behind,
    merged,
    no_better,
    pictures_of_all,
    race,
    rounds_of,
)
from maquette.events import Stage, run_stage
from maquette.measuring.looks import FLOOR, FirstLook, SetScore, choose
from maquette.measuring.protocol import Measure

from .making import decided, look_of


def raced(
    truths: dict[str, float], seed: int, *, seeds: int = 8, own: float = 0.05
) -> tuple[Raced, FirstLook]:
    """Return a race over made-up scores, and the look of everything."""
    prompts = [(f"p{number}", "full") for number in range(4)]
    whole = look_of(truths, seed=seed, seeds=seeds, own=own, prompts=prompts)

    def draw(columns: tuple[str, ...], numbers: tuple[int, ...]) -> Stage[FirstLook]:
        wanted = {FLOOR, *columns}
        looks = [each for each in whole.looks if each.checkpoint in wanted and each.seed in numbers]
        known = [each for each in whole.columns if each.label in wanted]
        return replace(whole, looks=tuple(looks), columns=tuple(known))
        yield

    return run_stage(race(tuple(truths), tuple(range(1, seeds + 1)), draw)), whole


FAR = {"step 100": 2.0, "step 200": 3.0, "step 300": 6.0, "step 400": 3.5, "step 500": 2.5, "step 600": 6.05}


def test_those_that_are_clearly_behind_get_no_more_seeds() -> None:
    found, whole = raced(FAR, 1)
    assert {label for label, _ in found.left} == {"step 100", "step 200", "step 400", "step 500"}
    assert pictures_of_all(found.look) == len(whole.looks) and len(found.look.looks) < 0.6 * len(whole.looks)
    counts = {
        label: sum(each.checkpoint == label for each in found.look.looks)
        for label in found.look.checkpoints()
    }
    assert counts[FLOOR] == counts["step 300"] == counts["step 600"] == 32 and counts["step 100"] == 8


def test_it_chooses_what_drawing_everything_chooses() -> None:
    same = sum(
        decided(found.look).chosen.label == decided(whole).chosen.label
        for seed in range(20)
        for found, whole in [raced(FAR, seed)]
    )
    assert same == 20


def test_the_best_seldom_leaves() -> None:
    truths = {f"step {number}00": 5.0 + 0.1 * (number == 3) for number in range(1, 6)}
    gone = sum("step 300" in dict(raced(truths, seed, own=0.1)[0].left) for seed in range(40))
    assert gone <= 2


def test_what_left_comes_behind_what_stayed_and_its_gap_is_of_shared_pictures() -> None:
    found, whole = raced(FAR, 2)
    decision = decided(found.look)
    assert {gap.other.label for gap in decision.gaps[1:]} == {label for label, _ in found.left}
    few = replace(whole, looks=tuple(each for each in whole.looks if each.seed in (1, 2)))
    gap, all_two = decision.gap_to("step 100"), decided(few).gap_to("step 100")
    assert gap is not None and all_two is not None
    if decided(few).chosen.label == decision.chosen.label:
        assert gap.difference.mean == pytest.approx(all_two.difference.mean)


def test_one_column_alone_ends_the_race_at_once() -> None:
    found, _ = raced({"step 100": 1.0, "step 200": 8.0}, 0)
    assert dict(found.left) == {"step 100": 2} and len(found.look.looks) == 3 * 4 * 2


def test_rounds_double_and_end_with_all() -> None:
    assert rounds_of(range(1, 9)) == [(1, 2), (1, 2, 3, 4), tuple(range(1, 9))]
    assert rounds_of(range(1, 7)) == [(1, 2), (1, 2, 3, 4), (1, 2, 3, 4, 5, 6)]
    assert rounds_of((5,)) == [(5,)]


def test_a_merged_look_holds_every_picture_once() -> None:
    whole = look_of(FAR)
    few = replace(whole, looks=tuple(each for each in whole.looks if each.seed < 3))
    assert merged([few, whole]).looks == whole.looks


def test_a_look_with_fewer_seeds_of_some_is_summed_up_over_shared_pictures() -> None:
    found, _ = raced(FAR, 1)
    look = found.look
    assert set(look.seeds_of_all("p0")) == {1, 2} and len(look.seeds("p0")) == 8
    summary = look.summary("step 100", "full", "identity")
    assert summary is not None and summary.change is not None and summary.change.count == 8
    assert choose(look, measure="identity", role="full") is not None


def with_variety(look: FirstLook, of: dict[str, float]) -> FirstLook:
    """Return the look with the variety of each column's pictures of each prompt."""
    sets = tuple(
        SetScore(checkpoint=label, prompt=prompt, role="full", measure="variety", value=value)
        for label, value in of.items()
        for prompt in look.prompts()
    )
    variety = Measure(name="variety", title="Variety", definition="how many.")
    return replace(look, sets=sets, measures=(*look.measures, variety))


def test_what_whole_sets_score_sends_nobody_out() -> None:
    look = look_of({"step 100": 5.0, "step 200": 5.0}, noise=0.0, seeds=2)
    assert behind(with_variety(look, {"step 100": 0.1, "step 200": 0.9}), ("step 100", "step 200"), 1) == ()
    far = look_of({"step 100": 1.0, "step 200": 9.0}, noise=0.0, seeds=2)
    assert behind(with_variety(far, {"step 100": 0.5, "step 200": 0.5}), ("step 100", "step 200"), 1) == (
        "step 100",
    )


def test_the_variety_of_one_prompt_alone_tells_nobody_apart() -> None:
    prompts = (("a", "full"), ("b", "bare"))
    look = look_of({"step 100": 5.0, "step 200": 5.0}, noise=0.0, prompts=prompts)
    varied = decided(with_variety(look, {FLOOR: 0.5, "step 100": 0.1, "step 200": 0.9}))
    assert varied.chosen.label == "step 200" and not varied.distinguishable


def test_sets_of_different_sizes_are_not_compared() -> None:
    found, _ = raced(FAR, 1)
    one = with_variety(found.look, {"step 100": 1.0, "step 300": 0.0, "step 600": 0.0})
    gap = decided(one).gap_to("step 100")
    assert gap is not None and gap.difference.mean > 0.3


def test_coarse_scores_that_agree_by_chance_tell_nobody_apart() -> None:
    look = look_of(
        {"step 100": 9.7, "step 200": 10.0}, noise=0.0, seeds=2, prompts=(("a", "full"), ("b", "bare"))
    )
    alike = decided(look)
    assert alike.runner_up is not None and alike.runner_up.difference.low != alike.runner_up.difference.high
    assert not alike.distinguishable


def lapped(truths: dict[str, float], seed: int) -> tuple[Raced, FirstLook]:
    """Return a race with a first lap, in which later columns that are no better leave too; prompts that warn stand beside."""
    prompts = [*((f"p{number}", "full") for number in range(6)), ("class", "leak"), ("other", "drift")]
    whole = look_of(truths, seed=seed, seeds=8, own=0.02, noise=0.02, prompts=prompts)

    def part(columns: tuple[str, ...], numbers: tuple[int, ...], without: frozenset[str]) -> FirstLook:
        wanted = {FLOOR, *columns}
        looks = [
            e for e in whole.looks if e.checkpoint in wanted and e.seed in numbers and e.role not in without
        ]
        known = [each for each in whole.columns if each.label in wanted]
        return replace(whole, looks=tuple(looks), columns=tuple(known))

    def draw(columns: tuple[str, ...], numbers: tuple[int, ...]) -> Stage[FirstLook]:
        return part(columns, numbers, frozenset())
        yield

    def lap(columns: tuple[str, ...]) -> Stage[FirstLook]:
        return part(columns, (1,), NOT_COUNTED)
        yield

    stage = race(tuple(truths), tuple(range(1, 9)), draw, lap=lap, worth=WORTH)
    return run_stage(stage), whole


PLATEAU = {
    "step 100": 1.0,
    "step 200": 3.0,
    "step 300": 6.0,
    "step 400": 6.0,
    "step 500": 6.01,
    "step 600": 6.0,
}


def test_a_plateau_is_not_drawn_in_full() -> None:
    for seed in range(6):
        found, whole = lapped(PLATEAU, seed)
        assert {label for label, _ in found.left} == {"step 100", "step 200"}
        assert found.alike, "later ones that are no better than the leader"
        assert len(found.look.looks) < 0.65 * len(whole.looks)
        truth = PLATEAU[decided(found.look).chosen.label]
        assert truth >= 6.0


def test_the_last_column_stays_through_the_first_lap_and_the_winner_is_drawn_with_every_role() -> None:
    found, whole = lapped({"step 100": 6.0, "step 200": 1.0, "step 300": 1.0}, 0)
    seen = {label: [e for e in found.look.looks if e.checkpoint == label] for label in whole.checkpoints()}
    assert {e.role for e in seen["step 200"]} == {"full"} and {e.seed for e in seen["step 200"]} == {1}
    assert (
        {e.role for e in seen["step 100"]} == {e.role for e in seen["step 300"]} == {"full", "leak", "drift"}
    )


def test_a_later_column_that_is_clearly_better_is_no_plateau() -> None:
    look = look_of({"step 100": 5.0, "step 200": 5.0, "step 300": 6.0}, noise=0.02)
    assert no_better(look, ("step 100", "step 200", "step 300"), WORTH) == ()
    level = look_of({"step 100": 5.0, "step 200": 4.99, "step 300": 4.98}, noise=0.0)
    assert no_better(level, ("step 100", "step 200", "step 300"), WORTH) == ("step 200", "step 300")

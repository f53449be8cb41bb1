"""Decisions over scores whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maquette.choosing.decide import TIE, decide, named_in, reading_of, widened
from maquette.choosing.reasons import headline_of, reasons_of
from maquette.errors import ConfigError
from maquette.measuring.looks import FirstLook
from maquette.measuring.statistics import Estimate
from maquette.runs.choice import Ranked

from .making import cards_of, decided, look_of

CLEAR = {"step 100": 2.0, "step 200": 6.0, "step 300": 4.0}


def shifted(look: FirstLook, by: float) -> FirstLook:
    """Return the look with `by` added to every score of every column, the base's too."""
    moved = [
        replace(each, scores={name: score + by for name, score in each.scores.items()}) for each in look.looks
    ]
    return replace(look, looks=tuple(moved), ceilings={"identity": 10.0 + by})


def turned(look: FirstLook, order: list[str]) -> FirstLook:
    """Return the look with its columns drawn in another order."""
    looks = sorted(look.looks, key=lambda each: order.index(each.checkpoint))
    columns = sorted(look.columns, key=lambda each: order.index(each.label))
    return replace(look, looks=tuple(looks), columns=tuple(columns))


def test_the_best_is_chosen_and_told_from_the_runner_up() -> None:
    found = decided(look_of(CLEAR))
    assert found.chosen.label == "step 200" and found.distinguishable and found.more is None
    assert found.runner_up is not None and found.runner_up.other.label == "step 300"
    assert found.runner_up.difference.mean == pytest.approx(0.2, abs=0.03)
    assert found.undecided == ()


def test_a_tie_goes_to_the_earlier() -> None:
    found = decided(look_of({"step 100": 5.0, "step 200": 5.0 + 5 * TIE, "step 300": 1.0}, noise=0.0))
    assert found.chosen.label == "step 100" and found.tied_with == ("step 200",)
    exact = decided(look_of({"step 100": 1.0, "step 200": 5.0, "step 300": 5.0}, noise=0.0))
    assert exact.chosen.label == "step 200" and not exact.distinguishable


def test_held_out_pictures_choose_between_those_that_the_drawings_cannot_tell_apart() -> None:
    look = look_of({"step 100": 5.0, "step 200": 5.1, "step 300": 1.0}, noise=0.0)
    cards = cards_of(look)
    reading = reading_of(look, cards)
    for lowest, label in ((100, "step 100"), (200, "step 200"), (300, "step 100")):
        losses = {100: 0.2, 200: 0.21, 300: 0.3} | {lowest: 0.1}
        found = decide(cards, reading, losses)
        assert (
            found is not None and found.chosen.label == label
        )  # the lowest loss of all is far behind in the drawings
        assert len(found.by_loss_of) == 1 and found.tied_with == () and not found.distinguishable
        assert found.by_loss_of[0] in headline_of(found)
        assert "the loss of held-out pictures decides" in " ".join(reasons_of(found, cards, ()))
    same = decide(cards, reading, dict.fromkeys((100, 200, 300), 0.1))
    assert same is not None and same.chosen.label == "step 100"  # the earlier
    for partly in ({}, {100: 0.1}):
        without = decide(cards, reading, partly)
        assert without is not None and without.chosen.label == "step 200" and without.by_loss_of == ()
    clear = look_of(CLEAR)
    told = decide(cards_of(clear), reading_of(clear, cards_of(clear)), {100: 0.1, 200: 0.3, 300: 0.2})
    assert told is not None and told.chosen.label == "step 200" and told.distinguishable


def test_adding_a_constant_to_all_changes_nothing() -> None:
    for seed in range(5):
        look = look_of({"step 100": 5.0, "step 200": 5.1, "step 300": 5.05}, seed=seed, own=0.05)
        one, other = decided(look), decided(shifted(look, 0.7))
        assert one.chosen.label == other.chosen.label and one.distinguishable == other.distinguishable
        assert [gap.difference.mean for gap in one.gaps] == pytest.approx(
            [gap.difference.mean for gap in other.gaps]
        )


def test_the_order_of_columns_changes_nothing() -> None:
    for seed in range(5):
        look = look_of({"step 100": 5.0, "step 200": 5.1, "step 300": 5.05}, seed=seed, own=0.05)
        order = ["step 300", "no LoRA", "step 100", "step 200"]
        one, other = decided(look), decided(turned(look, order))
        assert [one.chosen.label, *(gap.other.label for gap in one.gaps)] == [
            other.chosen.label,
            *(gap.other.label for gap in other.gaps),
        ]
        assert [gap.difference.low for gap in one.gaps] == pytest.approx(
            [gap.difference.low for gap in other.gaps]
        )


@pytest.mark.parametrize(("columns", "own"), [(2, 0.1), (6, 0.05)])
def test_pure_noise_is_seldom_told_apart(columns: int, own: float) -> None:
    truths = {f"step {100 * number}": 5.0 for number in range(1, columns + 1)}
    tables = 100
    found = sum(decided(look_of(truths, seed=seed, own=own)).distinguishable for seed in range(tables))
    # 5 % are allowed; of 100 tables more than 10 would come about in one of a hundred such tests.
    assert found <= 10


def test_more_pictures_tell_more_apart() -> None:
    truths = {"step 100": 5.0, "step 200": 5.3}

    def told(seeds: int, prompts: int) -> int:
        suite = [(f"p{number}", "full") for number in range(prompts)]
        looks = (
            look_of(truths, seed=seed, own=0.15, noise=0.15, seeds=seeds, prompts=suite) for seed in range(30)
        )
        return sum(decided(look).distinguishable for look in looks)

    few, some, many = told(2, 2), told(4, 4), told(12, 12)
    assert few < some < many and many >= 24


def test_the_pictures_that_are_asked_for_would_settle_it() -> None:
    settled = asked = 0
    for seed in range(24):
        first = [(f"p{number}", "full") for number in range(6)]
        truths = {"step 100": 5.0, "step 200": 5.15}
        few = decided(look_of(truths, seed=seed, own=0.15, noise=0.15, prompts=first, seeds=6))
        if few.more is None or few.runner_up is None or few.more.pictures > 1500:
            continue
        asked += 1
        prompts = [(f"p{number}", "full") for number in range(6 + few.more.prompts)]
        seeds = 6 + few.more.seeds
        assert few.more.pictures == 2 * (len(prompts) * seeds - 36)
        # The promise holds if the difference that was seen is the true one.
        truths = {"step 100": 5.0, "step 200": 5.0 + 10 * few.runner_up.difference.mean}
        again = look_of(truths, seed=100 + seed, own=0.15, noise=0.15, prompts=prompts, seeds=seeds)
        settled += decided(again).distinguishable
    assert asked >= 6 and settled >= 0.6 * asked


def test_what_fails_a_floor_comes_behind_whatever_it_scores() -> None:
    look = look_of(CLEAR)
    cards = cards_of(look)
    failing = replace(
        cards,
        cards=tuple(
            replace(card, failures=("heads are smeared",)) if card.column.label == "step 200" else card
            for card in cards.cards
        ),
    )
    found = decide(failing, reading_of(look, failing))
    assert found is not None and found.chosen.label == "step 300"
    assert found.runner_up is not None and found.runner_up.other.label == "step 100"
    told = " ".join(reasons_of(found, failing, ()))
    assert "step 200 scores higher" in told.lower() and "heads are smeared" in told


def test_where_all_fail_the_best_is_chosen_and_its_failure_kept() -> None:
    look = look_of(CLEAR)
    cards = cards_of(look)
    failing = replace(cards, cards=tuple(replace(card, failures=("copies",)) for card in cards.cards))
    found = decide(failing, reading_of(look, failing))
    assert found is not None and found.chosen.label == "step 200" and found.chosen.failures == ("copies",)


def test_a_checkpoint_stands_at_its_best_strength_and_is_no_rival_of_itself() -> None:
    look = look_of(
        {
            "step 100 × 0.8": 5.0,
            "step 100 × 1": 5.01,
            "step 100 × 1.2": 3.0,
            "step 200 × 0.8": 4.0,
            "step 200 × 1": 2.0,
        },
        noise=0.0,
        strengths={
            "step 100 × 0.8": 0.8,
            "step 100 × 1": 1.0,
            "step 100 × 1.2": 1.2,
            "step 200 × 0.8": 0.8,
            "step 200 × 1": 1.0,
        },
    )
    found = decided(look)
    assert found.chosen.column.strength == 1.0 and [each for each, _ in found.chosen.strengths] == [
        0.8,
        1.0,
        1.2,
    ]
    assert [gap.other.label for gap in found.gaps] == ["step 200 × 0.8"]
    assert "strength" in headline_of(found)


def test_one_checkpoint_alone_has_no_rival() -> None:
    found = decided(look_of({"step 100": 5.0}))
    assert found.runner_up is None and found.distinguishable
    assert "only checkpoint" in headline_of(found)


def test_cannot_tell_is_an_answer_with_a_number() -> None:
    truths = {"step 100": 5.0, "step 200": 5.2, "step 300": 2.0}
    looks = [look_of(truths, seed=seed, own=0.2, noise=0.2) for seed in range(8)]
    undecided = [(look, found) for look in looks if (found := decided(look)).more is not None]
    assert undecided
    for look, found in undecided:
        assert not found.distinguishable and "cannot tell" in headline_of(found)
        told = " ".join(reasons_of(found, cards_of(look), ()))
        assert "cannot tell" in told and "would settle it" in told


def test_the_best_of_many_differences_needs_a_wider_interval() -> None:
    estimate = Estimate(mean=1.0, low=0.1, high=1.9, count=8)
    wide = widened(estimate, 8)
    assert wide.low is not None and wide.high is not None
    assert wide.low < 0 < wide.mean < wide.high
    assert widened(estimate, 1) == estimate


def test_a_checkpoint_is_named_by_file_path_stem_or_label() -> None:
    ranking = (
        Ranked(
            checkpoint="checkpoints/zkw-step00000100.safetensors", label="step 100", step=100, strength=1.0
        ),
    )
    names = (
        "checkpoints/zkw-step00000100.safetensors",
        "zkw-step00000100.safetensors",
        "zkw-step00000100",
        "step 100",
    )
    assert {named_in(ranking, name) for name in names} == set(ranking)
    with pytest.raises(ConfigError, match="zkw-step00000100"):
        named_in(ranking, "zkw-step00000200")

"""What speaks against a run: planted faults, and close calls that are none."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from maquette.choosing.caption_words import words_beside
from maquette.choosing.decide import decide, reading_of
from maquette.choosing.suspicions import suspicions_of
from maquette.measuring.looks import FLOOR, Column, FirstLook, Look
from maquette.measuring.protocol import Measure
from maquette.measuring.scorecards import scorecards_of
from maquette.runs.choice import Suspicion

from .making import look_of

MEASURES = (
    Measure(name="identity", title="Identity", definition="how alike."),
    Measure(name="variety", title="Variety", definition="how many."),
)
CAPTIONS = (
    "zkw, red glove, a woman standing",
    "zkw, red glove, a woman on a bridge",
    "zkw, red glove, a woman, sitting",
    "zkw, a woman running",
)


def judged(columns: Mapping[str, Mapping[str, float]], *, novel_variety: float = 0.6) -> FirstLook:
    """Return a look whose columns have the given identity by role (and variety); pictures differ by a hundredth."""
    looks = []
    known = []
    for place, (label, by_role) in enumerate(columns.items()):
        step = None if label == FLOOR else 100 * place
        known.append(Column(label=label, step=step, file=None if step is None else f"{step}.safetensors"))
        for role, score in by_role.items():
            if role == "variety":
                continue
            for number in range(2):
                for seed in (1, 2, 3, 4):
                    off = 0.01 * ((place * 5 + number * 3 + seed * 7) % 4 - 1.5)
                    variety = by_role.get("variety", novel_variety) + off
                    prompt = f"{role} {number}" if role != "full" else f"zkw, red glove, {number}"
                    scores = {"identity": score + off, "variety": variety}
                    looks.append(
                        Look(
                            checkpoint=label,
                            step=step,
                            prompt=prompt,
                            role=role,
                            seed=seed,
                            path="",
                            scores=scores,
                        )
                    )
    return FirstLook(folder=Path(), looks=tuple(looks), measures=MEASURES, columns=tuple(known))


def found(look: FirstLook) -> dict[str, Suspicion]:
    """Return the suspicions of a look by kind."""
    cards = scorecards_of(look)
    reading = reading_of(look, cards)
    decision = decide(cards, reading)
    assert decision is not None
    told = suspicions_of(decision, cards, reading, captions=CAPTIONS, trigger="zkw", class_word="woman")
    return {each.kind: each for each in told}


GOOD = {"bare": 0.7, "full": 0.75, "novel": 0.65, "leak": 0.1}
BASE = {"bare": 0.1, "full": 0.15, "novel": 0.1, "leak": 0.1}


def test_a_good_run_is_not_suspected() -> None:
    assert found(judged({FLOOR: BASE, "step 100": {**GOOD, "bare": 0.4}, "step 200": GOOD})) == {}


def test_over_training_is_told_from_the_step_on_with_what_fell() -> None:
    late = {**GOOD, "novel": 0.3, "variety": 0.2}
    told = found(judged({FLOOR: BASE, "step 100": {**GOOD, "bare": 0.4}, "step 200": GOOD, "step 300": late}))
    assert set(told) == {"over-trained"} and told["over-trained"].step == 200
    assert "novel contexts fell" in told["over-trained"].told and "variety fell" in told["over-trained"].told


def test_a_last_checkpoint_that_is_as_good_is_not_over_trained() -> None:
    assert found(judged({FLOOR: BASE, "step 100": GOOD, "step 200": {**GOOD, "novel": 0.64}})) == {}


def test_what_draws_no_better_than_the_base_never_learned() -> None:
    told = found(judged({FLOOR: BASE, "step 100": BASE, "step 200": BASE}))
    assert set(told) == {"never learned"} and "learning rate" in told["never learned"].remedy


def test_a_decoupled_trigger_names_the_words_of_the_captions() -> None:
    told = found(judged({FLOOR: BASE, "step 100": {**GOOD, "bare": 0.12}}))
    assert set(told) == {"trigger decoupled"}
    assert set(told["trigger decoupled"].words) == {"red", "glove"}
    assert (
        "75% of the captions" in told["trigger decoupled"].told
        and "gain +0.6" in told["trigger decoupled"].told
    )


def test_a_leak_is_told_with_what_holds_it_back() -> None:
    told = found(judged({FLOOR: BASE, "step 100": {**GOOD, "leak": 0.5}}))
    assert set(told) == {"leak"} and "regularize" in told["leak"].remedy


def test_words_in_few_captions_and_words_that_say_nothing_are_not_named() -> None:
    names = [each.word for each in words_beside(CAPTIONS, "zkw", class_word="woman")]
    assert sorted(names) == ["glove", "red"]
    assert words_beside(("zkw, red glove",), "zkw") == ()


def test_a_gain_is_known_only_where_prompts_with_the_word_were_drawn() -> None:
    look = look_of({"step 100": 5.0}, prompts=(("zkw, red glove", "full"), ("zkw", "bare")), noise=0.0)
    cards = scorecards_of(look)
    words = words_beside(CAPTIONS, "zkw", class_word="woman", reading=reading_of(look, cards), column=1)
    assert {each.word: round(each.gain or 0, 1) for each in words} == {"red": 5.0, "glove": 5.0}

"""Which answers are refused, and why; what is cleaned instead."""

from __future__ import annotations

import pytest

from maquette.captioning.answers import Judge, cleaned, same_for_all
from maquette.captioning.records import Answer, Draft
from maquette.captioning.strategies import STRATEGIES
from maquette.families.common.tokenizer import count_clip_tokens
from tests.captioning.common import PUNK, SPYKE, target_for

JUDGE = Judge(strategy=STRATEGIES["character"], profile=SPYKE, count_tokens=count_clip_tokens)


def judged(text: str) -> Draft:
    return JUDGE.draft(target_for("a.png"), Answer(text=text))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "empty"),
        ("   \n ", "empty"),
        ("I'm sorry, but I can't help with that.", "no caption but"),
        ("I cannot describe this image.", "no caption but"),
        ("As an AI language model I see no picture", "no caption but"),
        (
            "full body, front view, left arm red fingerless glove",
            "said on the left, the profile has it on the right",
        ),
        ("full body, back view, smirk expression", "cannot be seen from behind"),
        ("full body, side profile, right arm red fingerless glove", "cannot be seen in this view"),
        ("full body, front view, back view", "contradict each other (view)"),
        ("ginger hair, green eyes, 1boy", "nothing is left"),
        (", ".join(f"very particular thing {n}" for n in range(30)), "too long"),
        ("word " * 500, "too long: 500 words"),
    ],
)
def test_bad_answers_are_refused_with_their_reason(said: str, reason: str) -> None:
    draft = judged(said)
    assert not draft.is_good
    assert any(reason in each for each in draft.reasons), draft.reasons
    assert not draft.changes


@pytest.mark.parametrize(
    ("said", "caption"),
    [
        ("full body, front view, standing, gloves", "standing"),
        ('Caption: "full body, standing."', "full body, standing"),
        ("Here is the caption:\nfull body, standing", "full body, standing"),
        ("<think>the hair is ginger</think>\nfull body, standing", "full body, standing"),
        ("- full body\n- standing\n- outdoors", "full body, standing, outdoors"),
        ("The image shows a boy standing. He is outdoors.", "a boy standing"),
        ("full body, standing, ginger hair", "full body, standing"),
    ],
)
def test_good_answers_are_cleaned(said: str, caption: str) -> None:
    draft = judged(said)
    assert draft.is_good, draft.reasons
    assert caption in draft.text
    assert draft.text.startswith("spyke_plasma_v1, ")


def test_the_limit_counts_tokens_as_the_text_encoder_does() -> None:
    said = ", ".join(["standing"] * 1 + [f"thing{n}" for n in range(12)])
    text = judged(said).text
    exact = count_clip_tokens(text)
    at = Judge(strategy=JUDGE.strategy, profile=SPYKE, count_tokens=count_clip_tokens, max_tokens=exact)
    below = Judge(
        strategy=JUDGE.strategy, profile=SPYKE, count_tokens=count_clip_tokens, max_tokens=exact - 1
    )
    assert at.draft(target_for("a.png"), Answer(text=said)).is_good
    assert not below.draft(target_for("a.png"), Answer(text=said)).is_good


def test_an_answer_that_never_came_is_no_final_refusal() -> None:
    draft = JUDGE.draft(target_for("a.png"), Answer(failed="no answer in time"))
    assert draft.reasons == ("no answer in time",) and not draft.is_final


def test_a_style_may_describe_everything() -> None:
    judge = Judge(strategy=STRATEGIES["style"], profile=PUNK, count_tokens=count_clip_tokens)
    draft = judge.draft(target_for("a.png"), Answer(text="portrait of a lady, brown hair, grey background"))
    assert draft.text == "pixel art, 24x24, bespoke punk, portrait of a lady, brown hair, grey background"


def test_palettes_survive_cleaning() -> None:
    assert (
        cleaned("Grey background. palette: #a0b1a6, #4f2526.") == "Grey background, palette: #a0b1a6, #4f2526"
    )


def test_one_answer_for_every_picture_is_noticed() -> None:
    same = [judged("full body, standing") for _ in range(3)]
    assert same_for_all(same)
    assert not same_for_all(same[:2])
    assert not same_for_all([*same, judged("closeup face, smirk")])

"""Laws of suites: every role is asked, nothing is new that a caption names, the small world is asked in its own words."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from maquette.evaluating.suites import Suite, SuiteName, SuiteSubject, given_prompts, suite_of
from maquette.project.profile import Detail, Profile
from maquette.world.attributes import random_character, random_scene
from maquette.world.captions import caption
from maquette.world.cast import TRIGGER, training_pictures

SPYKE = Profile(
    kind="character",
    trigger="spyke_v1",
    class_word="anime character",
    appearance=("ginger hair", "white cloak"),
    details=(
        Detail(name="red glove", side="right", part="arm", views=("front", "three quarter")),
        Detail(name="metal pauldron", side="right", part="knee"),
    ),
)
CAPTIONS = (
    "spyke_v1, standing, reading in a library, front view",
    "spyke_v1, sitting, wearing raincoats, oil-painting",
)


def subject(**changes: Any) -> SuiteSubject:
    facts: dict[str, Any] = {
        "trigger": "spyke_v1",
        "class_word": "anime character",
        "profile": SPYKE,
        "captions": CAPTIONS,
    }
    return SuiteSubject(**(facts | changes))


def texts(suite: Suite, *roles: str) -> list[str]:
    return [prompt.text for prompt in suite.prompts if prompt.role in roles]


@pytest.mark.parametrize("name", ["quick", "profile"])
def test_every_role_is_asked(name: SuiteName) -> None:
    suite = suite_of(name, subject())
    asked = {prompt.role for prompt in suite.prompts}
    assert asked == {"bare", "pose", "novel", "asymmetry", "full", "leak", "bleed", "drift"}
    assert texts(suite, "bare") == ["spyke_v1"] and not suite.notes
    own = ("pose", "novel", "asymmetry", "full")
    assert all(text.startswith("spyke_v1, ") for text in texts(suite, *own))
    assert not any("spyke" in text for text in texts(suite, "leak", "bleed", "drift"))
    assert all("anime character" in text for text in texts(suite, "leak"))
    assert all("ginger hair, white cloak, right arm red glove" in text for text in texts(suite, "full"))
    assert len({prompt.text for prompt in suite.prompts}) == len(suite.prompts)


def test_a_quick_suite_spends_its_seeds_on_the_trigger() -> None:
    suite = suite_of("quick", subject())
    assert all((prompt.num_seeds is None) == (prompt.role == "bare") for prompt in suite.prompts)
    by_role = {role: {p.num_seeds for p in suite.prompts if p.role == role} for role in ("novel", "pose")}
    assert all(len(seeds) == 1 for seeds in by_role.values()), "a role's prompts have the same seeds"
    assert all(prompt.num_seeds is None for prompt in suite_of("profile", subject()).prompts)


def test_what_a_caption_names_is_not_novel() -> None:
    """In another number, spelling or word for the same thing too; without captions all is, and that is said."""
    found = texts(suite_of("profile", subject()), "novel")
    assert len(found) == 6
    assert not [text for text in found if re.search("raincoat|library|oil painting", text)]
    unknown = suite_of("profile", subject(captions=()))
    assert any("raincoat" in text for text in texts(unknown, "novel"))
    assert any("captions" in note for note in unknown.notes)
    crowded = subject(captions=(" ".join(word for text in found for word in text.split(", ", 1)[1:]),))
    assert not set(texts(suite_of("profile", crowded), "novel")) & set(found)


def test_thirty_are_nine_categories_of_three_and_three() -> None:
    suite = suite_of("thirty", subject())
    assert len(suite.prompts) == 30
    roles = [prompt.role for prompt in suite.prompts]
    assert (roles.count("bare"), roles.count("leak"), roles.count("drift")) == (1, 1, 1)
    assert roles.count("pose") + roles.count("novel") == 27
    assert "spyke_v1, wearing a raincoat" in texts(suite, "pose"), "captions name it"
    assert len(suite_of("thirty", subject(class_word="", profile=None)).prompts) == 30


@pytest.mark.parametrize("kind", ["character", "person", "object", "style"])
def test_every_kind_of_subject_has_its_suites(kind: Any) -> None:
    profile = Profile(kind=kind, trigger="zkw", class_word="dog", style=("ink drawing",))
    asked = SuiteSubject(trigger="zkw", class_word="dog", profile=profile, captions=("zkw dog, on grass",))
    for name in ("quick", "profile", "thirty"):
        suite = suite_of(name, asked)  # type: ignore[arg-type]
        assert texts(suite, "bare") == ["zkw"]
        assert all(text.startswith("zkw dog, ") for text in texts(suite, "pose", "novel"))
        assert not any("dog" in text for text in texts(suite, "bleed")), "its own class is no other subject"
    assert len(suite_of("thirty", asked).prompts) == 30


def test_little_that_is_known_is_enough() -> None:
    """A trigger and a class word; a trigger alone; captions alone; a style that its own words mean."""
    both = suite_of("quick", SuiteSubject(trigger="sks", class_word="dog"))
    assert {"bare", "pose", "novel", "leak"} <= {prompt.role for prompt in both.prompts}
    alone = suite_of("quick", SuiteSubject(trigger="sks"))
    assert not texts(alone, "leak") and any("class word" in note for note in alone.notes)
    captions = suite_of("quick", SuiteSubject(trigger="", captions=("a red fox", "a fox in snow")))
    assert texts(captions, "prompt") == ["a red fox", "a fox in snow"] and captions.notes
    style = Profile(kind="style", trigger="", style=("ink drawing", "sepia"))
    words = suite_of("quick", SuiteSubject(trigger="", profile=style))
    assert texts(words, "bare") == ["ink drawing, sepia"]
    assert all(text.startswith("ink drawing, sepia, ") for text in texts(words, "pose"))


@pytest.mark.parametrize("name", ["quick", "profile", "thirty"])
def test_the_small_world_is_asked_in_its_own_words(name: SuiteName) -> None:
    """Every word is in its vocabulary; no scene that counts as novel was trained."""
    trained = tuple(text for _, text in training_pictures(8))
    asked = SuiteSubject(trigger=TRIGGER, class_word="character", captions=trained, is_of_small_world=True)
    suite = suite_of(name, asked)
    chance = random.Random(1)
    people = [caption(random_character(chance), random_scene(chance)) for _ in range(400)]
    known = set(re.findall(r"\w+", " ".join(people))) | {TRIGGER, "melosa", "binoru", "kefati"}
    assert not set(re.findall(r"\w+", " ".join(prompt.text for prompt in suite.prompts))) - known
    drawn = texts(suite, "novel")
    assert drawn and not set(drawn) & set(trained)
    assert all(text.startswith("tovaki character, ") for text in texts(suite, "pose", "novel", "asymmetry"))
    assert {"bare", "pose", "novel", "asymmetry", "leak", "bleed", "drift"} <= {p.role for p in suite.prompts}
    fewer = tuple(text for text in trained if "back view" not in text)
    views = texts(suite_of(name, SuiteSubject(**{**vars(asked), "captions": fewer})), "novel")
    assert all("back view" in text for text in views[:3]), "what no caption names comes first"


def test_own_prompts_take_the_trigger() -> None:
    found = given_prompts(("{trigger}", "a {trigger} on a boat", "{trigger}"), "zkw")
    assert [(each.text, each.role) for each in found] == [("zkw", "bare"), ("a zkw on a boat", "prompt")]

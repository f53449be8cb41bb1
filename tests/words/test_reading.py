"""What captions say: views and framing, appearance, sides, contradictions. Facts from real captions, and close calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.project.profile import Detail, Form, Profile
from maquette.words.appearance import _appearance_in
from maquette.words.colours import colour_difference
from maquette.words.reading import (
    appearance_in,
    asymmetric_phrases,
    contradictions,
    duplicates,
    framing_of,
    preamble_in,
    refusal_in,
    side_mistakes,
    view_of,
    views_named,
    without_duplicates,
)
from maquette.words.sides import _mentions_in, _side_mistakes
from maquette.words.text import hidden, stem
from tests.conftest import shared_data

SPYKE = Profile(
    kind="character",
    trigger="spyke_plasma_v1",
    class_word="anime character",
    appearance=(
        "ginger hair", "red bandana", "green eyes", "white sleeveless cloak", "black combat pants", "sword",
    ),
    details=(
        Detail(name="red fingerless glove", side="right", part="arm", views=("front", "three quarter")),
        Detail(name="red metallic bracer", side="left", part="arm", views=("front", "three quarter")),
        Detail(name="metal pauldron", side="right", part="knee", views=("front", "three quarter", "side")),
    ),
)  # fmt: skip
GEAR = "right arm red fingerless glove, left arm red metallic bracer, right knee metal pauldron"
LUCA = Profile(
    kind="character",
    trigger="lucapg",
    class_word="boy",
    appearance=(
        "large round brown eyes", "thick arched eyebrows", "button red-tinted nose", "rosy cheeks", "soft oval face",
        "short dark-brown wavy curls",
    ),
)  # fmt: skip
LUCA_CAPTION = (
    "a 3d animated character, pixar uniform lighting, even illumination, Luca Paguro from Pixar Luca (2021), 12-year-old "
    "Italian pre-teen boy, large round brown eyes, thick arched eyebrows, button red-tinted nose, rosy cheeks, soft oval "
    "face, short dark-brown wavy curls, neatly combed to one side, concerned expression with furrowed brows, looking down "
    "at something blue, standing barefoot near water edge, pixar film quality, smooth shading, subsurface scattering on "
    "skin, matte skin shader, casual shirt rolled."
)


def spyke_captions() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(shared_data("spyke_captions").glob("*.txt"))]


# --- views -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caption", "view", "framing"),
    [
        ("zkw, full body, front view", "front", "full body"),
        ("zkw, full body, three quarter angle", "three quarter", "full body"),
        ("zkw, 3/4 view, cowboy_shot", "three quarter", "cowboy shot"),
        ("zkw, full body, side profile", "side", "full body"),
        ("zkw, from_side, upper_body", "side", "upper body"),
        ("zkw, in profile facing right", "side", None),
        ("zkw, from behind, wide shot", "back", "full body"),
        ("zkw seen from the back, facing away", "back", None),
        ("zkw, closeup face, angry expression", None, "close-up"),
        ("zkw, close-up of hands", None, "other part"),
        ("portrait of bespoke punk lad", None, "portrait"),
        ("zkw, portrait, upper body", None, "portrait"),
        ("zkw, three-quarter back view", None, None),
        ("zkw, lit from behind, standing", None, None),
        ("zkw peeking from behind a tree", None, None),
        ("zkw looking into the rear view mirror", None, None),
        ("zkw, front view, back view", None, None),
        ("zkw, character sheet, front view, back view", None, None),
        ("zkw, standing", None, None),
    ],
)
def test_views_and_framings_are_read_in_prose_and_tags(
    caption: str, view: str | None, framing: str | None
) -> None:
    assert view_of(caption) == view
    assert framing_of(caption) == framing


def test_the_real_character_captions_name_the_views_they_were_drawn_in() -> None:
    named = [(view_of(caption), framing_of(caption)) for caption in spyke_captions()]
    close = [(None, "close-up")] * 7
    assert named == [
        ("front", "full body"), ("three quarter", "full body"), ("side", "full body"), ("back", "full body"), *close,
        ("front", "full body"), ("three quarter", "full body"), ("side", "full body"), ("back", "full body"),
    ]  # fmt: skip


# --- appearance ------------------------------------------------------------------------------------------


def test_the_real_character_captions_hold_no_appearance_and_no_mistake() -> None:
    for caption in spyke_captions():
        assert not appearance_in(caption, SPYKE), caption
        assert not side_mistakes(caption, SPYKE), caption
        assert not contradictions(caption) and not duplicates(caption)


def test_the_second_runs_detailed_captions_are_recognised() -> None:
    """What made the trigger alone draw a stranger: every feature in every caption."""
    looks = "ginger hair, red bandana, green eyes, white sleeveless cloak"
    hits = appearance_in(f"spyke_plasma_v1, {looks}, {GEAR}, black combat pants, sword, full body", SPYKE)
    assert [hit.phrase for hit in hits] == list(SPYKE.appearance)
    assert all(hit.match == "same" and hit.is_own_part for hit in hits)


def test_a_films_detailed_caption_is_recognised_phrase_by_phrase() -> None:
    hits = appearance_in(LUCA_CAPTION, LUCA)
    assert [hit.phrase for hit in hits] == list(LUCA.appearance)
    assert not contradictions(LUCA_CAPTION) and not side_mistakes(LUCA_CAPTION, LUCA)


@pytest.mark.parametrize(
    ("words", "phrase", "match"),
    [
        ("Ginger Hair", "ginger hair", "same"),
        ("ginger_hair", "ginger hair", "same"),
        ("a ginger-haired boy", "ginger hair", "same"),
        ("his eyes are green", "green eyes", "same"),
        ("long spiky orange hair", "ginger hair", "close"),
        ("a redhead", "ginger hair", "close"),
        ("sleeveless white cloak", "white sleeveless cloak", "same"),
        ("white cape", "white sleeveless cloak", "close"),
        ("a cloak", "white sleeveless cloak", "close"),
        ("wearing dark trousers", "black combat pants", "close"),
        ("sword", "sword", "same"),
        ("a boy with green eyes stands in a forest", "green eyes", "same"),
        ("brown hair", "ginger hair", "other"),
        ("blonde", "ginger hair", "other"),
        ("blue eyes", "green eyes", "other"),
    ],
)
def test_appearance_is_found_in_other_words(words: str, phrase: str, match: str) -> None:
    hits = appearance_in(f"spyke_plasma_v1, standing, {words}, white background", SPYKE)
    assert [(hit.phrase, hit.match) for hit in hits] == [(phrase, match)]
    assert words[hits[0].start - 27 : hits[0].end - 27] == hits[0].found


@pytest.mark.parametrize(
    "caption",
    [
        "spyke_plasma_v1, sword raised, combat stance",
        "spyke_plasma_v1 swinging a sword with both hands",
        "spyke_plasma_v1, hair blowing in the wind, closed eyes",
        "spyke_plasma_v1, his eyes wide with fear",
        "spyke_plasma_v1, his cloak flowing behind him",
        "spyke_plasma_v1, right arm red fingerless glove",
        "spyke_plasma_v1, green grass, red flag, white wall, ginger cat, black dog",
        "spyke_plasma_v1 next to a woman with blonde hair and blue eyes",
        "spyke_plasma_v1, a sword lying on the table",
        "spyke_plasma_v1, hairpin, eye contact, cloakroom",
        "ginger_hair, standing",
        "black combat pants brand, standing",
    ],
)
def test_pose_other_people_and_other_things_are_no_appearance(caption: str) -> None:
    """Triggers and class words are not taken for appearance either, whatever they are made of."""
    profile = SPYKE
    if caption.startswith("ginger_hair"):
        profile = Profile(kind="character", trigger="ginger_hair", appearance=("ginger hair",))
    if caption.startswith("black combat"):
        profile = Profile(
            kind="character",
            trigger="zkw",
            class_word="black combat pants brand",
            appearance=("black combat pants",),
        )
    assert not appearance_in(caption, profile)


def test_a_form_adds_its_appearance_and_brings_its_own_details() -> None:
    sea = Form(
        name="sea monster",
        trigger="lucapg_sea",
        appearance=("green scales",),
        details=(Detail(name="torn fin", side="left", part="arm"),),
    )
    profile = Profile(
        kind="character", trigger="lucapg", appearance=("brown eyes",), details=SPYKE.details, forms=(sea,)
    )
    assert [hit.phrase for hit in appearance_in("lucapg_sea, green scales, brown eyes", profile)] == [
        "green scales", "brown eyes",
    ]  # fmt: skip
    assert not appearance_in("lucapg, green scales", profile)
    missing = side_mistakes("lucapg_sea, full body, front view", profile)
    assert [mistake.detail.name for mistake in missing if mistake.detail] == ["torn fin"]


# --- sides -----------------------------------------------------------------------------------------------


def kinds(caption: str, profile: Profile = SPYKE) -> list[tuple[str, str]]:
    return [(mistake.kind, mistake.found) for mistake in side_mistakes(caption, profile)]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        (f"spyke_plasma_v1, full body, front view, {GEAR}", []),
        (
            "spyke_plasma_v1, full body, front view, left arm red fingerless glove, right arm red metallic bracer, "
            "right knee metal pauldron",
            [("wrong side", "red fingerless glove"), ("wrong side", "red metallic bracer")],
        ),
        (
            "a boy with a red glove on his left hand and a bracer on the left forearm, looking right",
            [("wrong side", "red glove")],
        ),
        ("a red glove on the right hand, a metallic bracer on the left arm", []),
        ("left arm raised, red fingerless glove on right arm, sword in left hand", []),
        ("spyke_plasma_v1, red fingerless glove", [("no side", "red fingerless glove")]),
        ("spyke_plasma_v1, bracer on viewer's left", []),
        ("spyke_plasma_v1, left shoulder pauldron", []),
        ("spyke_plasma_v1, left hand black glove", []),
        (
            "spyke_plasma_v1, full body, side view, right arm red fingerless glove",
            [("not in view", "red fingerless glove"), ("missing", "side")],
        ),
        ("spyke_plasma_v1, closeup face, right knee metal pauldron", [("not in view", "metal pauldron")]),
        ("spyke_plasma_v1, upper body, front view, right arm red fingerless glove, left arm red metallic bracer", []),
        ("spyke_plasma_v1, full body, back view, white background", []),
        ("spyke_plasma_v1, back view, angry expression", [("face from behind", "angry expression")]),
        ("spyke_plasma_v1, back view, closed eyes", [("face from behind", "closed eyes")]),
        ("spyke_plasma_v1, back view, looking back, smirk", []),
        ("spyke_plasma_v1, back view, facing a tower, clock face", []),
        ("spyke_plasma_v1, front view, standing", []),
    ],
)  # fmt: skip
def test_sides_and_views_are_held_against_the_profile(caption: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(caption) == expected


def test_two_gloves_are_told_apart_by_their_colour() -> None:
    profile = Profile(
        kind="character",
        trigger="zkw",
        details=(
            Detail(name="black glove", side="right", part="hand"),
            Detail(name="white glove", side="left", part="hand"),
        ),
    )
    assert not kinds("zkw, black glove on right hand, white glove on left hand", profile)
    swapped = kinds("zkw, white glove on right hand, black glove on left hand", profile)
    assert swapped == [("wrong side", "white glove"), ("wrong side", "black glove")]
    assert not kinds("zkw, left glove torn", profile), "which of the two is meant cannot be told"


def test_only_what_a_view_shows_belongs_into_its_caption() -> None:
    assert asymmetric_phrases(SPYKE, "front") == tuple(GEAR.split(", "))
    assert asymmetric_phrases(SPYKE, "side") == ("right knee metal pauldron",)
    assert asymmetric_phrases(SPYKE, "back") == asymmetric_phrases(SPYKE, "front", "close-up") == ()
    assert asymmetric_phrases(SPYKE, "front", "upper body") == tuple(GEAR.split(", ")[:2])
    assert asymmetric_phrases(SPYKE, None) == ()


# --- contradictions, duplicates, chatter -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("caption", "about"),
    [
        ("zkw, front view, back view", "view"),
        ("zkw, closeup face, full body", "framing"),
        ("zkw, standing, sitting", "posture"),
        ("zkw, day, night", "time of day"),
        ("zkw, indoors, outdoors", "place"),
        ("zkw, smiling, angry expression", "mood"),
        ("zkw, neutral expression, grin", "expression"),
        ("zkw, open mouth, closed mouth", "mouth"),
        ("zkw, long hair, short hair", "hair length"),
        ("zkw, white background, black background", "background"),
        ("zkw, solo, 1boy, 1girl", "number of people"),
        ("zkw, 1girl, 2girls", "number of people"),
        ("zkw, solo, multiple girls", "number of people"),
    ],
)
def test_parts_that_exclude_each_other_are_found(caption: str, about: str) -> None:
    assert [each.about for each in contradictions(caption)] == [about]


@pytest.mark.parametrize(
    "caption",
    [
        "zkw, standing, walking",
        "zkw, seiza, sitting, kneeling",
        "zkw, side view, side profile",
        "zkw, three quarter profile",
        "zkw, portrait, upper body",
        "zkw, standing next to a sitting dog",
        "zkw, neutral expression, closed mouth",
        "zkw, white background, split background, black background",
        "1boy, 1girl, zkw, holding hands",
        "2girls, standing, sitting",
        "zkw, character sheet, front view, back view",
        "zkw, day, window, night light",
        "full body portrait",
    ],
)
def test_what_can_both_be_true_is_no_contradiction(caption: str) -> None:
    assert not contradictions(caption)


def test_real_style_captions_contradict_nothing_and_repeat_nine_parts() -> None:
    folder = shared_data("pixel_portraits") / "10_bespoke_punk"
    captions = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))}
    assert len(captions) == 203
    assert not [name for name, text in captions.items() if contradictions(text)]
    repeating = {name: duplicates(text) for name, text in captions.items() if duplicates(text)}
    assert len(repeating) == 9 and repeating["lady_099_VQ"] == ["sky blue background"]
    assert not any(refusal_in(text) or preamble_in(text) for text in captions.values())


def test_repetitions_are_taken_out_and_nothing_else_changes() -> None:
    assert without_duplicates("zkw, full body,  standing, Full_Body, standing") == "zkw, full body,  standing"


@given(st.lists(st.sampled_from(["zkw", "a b", "A_B", "c", " c ", "d"]), min_size=1, max_size=9))
def test_a_cleaned_caption_repeats_nothing_and_loses_no_part(parts: list[str]) -> None:
    before = ",".join(parts)
    after = without_duplicates(before)
    assert not duplicates(after)
    assert {part.strip().lower().replace("_", " ") for part in after.split(",")} == {
        part.strip().lower().replace("_", " ") for part in parts
    }
    assert without_duplicates(after) == after


@pytest.mark.parametrize(
    "caption",
    [
        "I'm sorry, but I can't help with that.",
        "zkw, I cannot identify people in images",
        "As an AI language model, I see a boy",
        "zkw, [insert pose here], standing",
        "{trigger}, standing",
        "<image> a boy",
    ],
)
def test_refusals_and_blanks_are_found(caption: str) -> None:
    assert refusal_in(caption)


@pytest.mark.parametrize(
    "caption", ["The image shows a boy", "Caption: a boy", "Sure! a boy", "In this picture, a boy"]
)
def test_introductions_are_found(caption: str) -> None:
    assert preamble_in(caption) and not refusal_in(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "a picture on the wall shows a cat",
        "todo, standing",
        "a boy looks sorry, kneeling",
        "a {red|blue} wall, [bracketed] text",
        "zkw, holding a sign that says: yes",
        "this boy, standing",
    ],
)
def test_ordinary_captions_are_no_chatter(caption: str) -> None:
    assert not refusal_in(caption) and not preamble_in(caption)


# --- words and colours -----------------------------------------------------------------------------------


def test_words_are_compared_without_their_endings() -> None:
    assert [stem(word) for word in ("Gloves", "dress", "haired", "Spyke's", "iris", "eyes", "bus")] == [
        "glove", "dress", "hair", "spyke", "iri", "eye", "bus",
    ]  # fmt: skip


@given(st.text(max_size=40), st.lists(st.text(max_size=8), max_size=3))
def test_hiding_words_moves_nothing(text: str, phrases: list[str]) -> None:
    assert len(hidden(text, phrases)) == len(text)


@given(st.text(max_size=80))
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    views_named(text)
    framing_of(text)
    appearance_in(text, SPYKE)
    side_mistakes(text, SPYKE)
    contradictions(text)
    without_duplicates(text)


def test_colour_differences_are_those_of_the_cie() -> None:
    assert colour_difference("#000000", "#ffffff") == pytest.approx(100, abs=0.01)
    assert colour_difference("#a0b1a6", "#A0B1A6") == 0
    assert colour_difference("#ff0000", "#00ff00") == pytest.approx(
        170.6, abs=0.2
    )  # CIE76 of sRGB's primaries
    assert colour_difference("#808080", "#818181") < 1


def test_a_caption_of_thousands_of_parts_is_read_as_a_short_one_is() -> None:
    parts = ["1girl"] * 3000 + ["red cape", "2girls", "Red Cape"]
    assert duplicates(parts) == ["1girl", "red cape"]
    assert ("1girl", "2girls") in [(each.one, each.other) for each in contradictions(parts)]


def test_what_was_read_of_a_caption_is_kept_for_sets_of_a_hundred_thousand() -> None:
    """Rules go through all captions one after the other: a memory smaller than the set would never help."""
    for kept in (_side_mistakes, _mentions_in, _appearance_in):
        assert kept.cache_parameters()["maxsize"] >= 100_000

"""A profile proposed from captions: what the real sets give, and what is left to a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.dataset.measuring import measure_pictures
from maquette.dataset.profile_proposal import propose_profile
from maquette.project.profile_file import profile_toml, read_profile
from tests.conftest import shared_data

LOOKS = ("ginger hair", "red bandana", "green eyes", "white sleeveless cloak")


def texts(folder: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]


def spyke() -> list[str]:
    return texts(shared_data("spyke_captions"))


def test_the_character_sheet_s_details_and_views_are_recovered_from_its_captions() -> None:
    profile = propose_profile(spyke(), trigger="spyke_plasma_v1", class_word="anime character")
    assert profile.kind == "character" and profile.appearance == () and profile.style == ()
    assert [(detail.phrase, detail.views) for detail in profile.details] == [
        ("right arm red fingerless glove", ("front", "three quarter")),
        ("left arm red metallic bracer", ("front", "three quarter")),
        ("right knee metal pauldron", ("front", "three quarter", "side")),
    ]
    assert any("fill in `appearance`" in note for note in profile.notes)


def test_detailed_captions_give_the_appearance_and_the_advice_to_take_it_out() -> None:
    detailed = [text.replace("spyke_plasma_v1,", f"spyke_plasma_v1, {', '.join(LOOKS)},") for text in spyke()]
    profile = propose_profile(detailed, trigger="spyke_plasma_v1")
    assert profile.appearance == LOOKS
    assert any("take these words out" in note for note in profile.notes)


def test_sides_that_disagree_are_told() -> None:
    captions = [*spyke(), "spyke_plasma_v1, front view, left arm red fingerless glove"]
    profile = propose_profile(captions, trigger="spyke_plasma_v1")
    assert profile.details[0].side == "right"
    assert any("on the right in 4 captions and on the other side in 1" in note for note in profile.notes)


def test_a_set_whose_captions_begin_with_style_words_is_a_style() -> None:
    folder = shared_data("pixel_portraits") / "10_bespoke_punk"
    profile = propose_profile(texts(folder), trigger="bespoke punk")
    assert profile.kind == "style" and profile.style == ("pixel art", "24x24")
    assert profile.details == () and profile.appearance == ()


@pytest.mark.parametrize(
    ("class_word", "kind"),
    [("dog", "object"), ("anime character", "character"), ("young woman", "person"), ("", "character"),
     ("watercolor style", "style"), ("teapot", "object"), ("cartoon boy", "character")],
)  # fmt: skip
def test_the_class_word_tells_the_kind(class_word: str, kind: str) -> None:
    profile = propose_profile([], trigger="zkw", class_word=class_word)
    assert profile.kind == kind and f"'{kind}'" in profile.notes[0]


def test_words_of_pose_and_gaze_are_no_details() -> None:
    captions = [
        "zkw, left hand raised, looking left, left side view, right leg bent, holding cup in right hand"
    ] * 4
    assert propose_profile(captions, trigger="zkw").details == ()


def test_a_set_of_few_colours_has_a_palette_and_photographs_have_none(tmp_path: Path) -> None:
    colours = [(160, 177, 166), (79, 37, 38), (39, 24, 31)]
    rng = np.random.default_rng(1)
    for index in range(3):
        cells = rng.choice(3, (16, 16), p=[0.7, 0.2, 0.1])
        pixels = np.array(colours, np.uint8)[cells].repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(tmp_path / f"p{index}.png")
    measured = list(measure_pictures(sorted(tmp_path.glob("*.png")), cache=None))
    assert propose_profile([], trigger="zkw", pictures=measured).palette == ("#a0b1a6", "#4f2526", "#27181f")
    photos = measure_pictures(sorted(shared_data("photos/dog").glob("*.jpg")), cache=None)
    assert propose_profile([], trigger="zkw", pictures=photos).palette == ()


def test_a_proposal_reads_back_and_its_guesses_stand_in_it(tmp_path: Path) -> None:
    profile = propose_profile(spyke(), trigger="spyke_plasma_v1", class_word="anime character")
    path = tmp_path / "profile.toml"
    path.write_text(profile_toml(profile), encoding="utf-8")
    assert read_profile(path).details == profile.details
    assert f"# {profile.notes[0]}" in path.read_text(encoding="utf-8")

"""The subject's profile: read strictly from TOML, loosely from other programs' files, written for a person."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.errors import ConfigError
from maquette.project.profile import KINDS, SIDES, VIEWS, Detail, Form, Profile
from maquette.project.profile_file import profile_toml, read_profile
from maquette.project.profile_import import detail_from_text, view_named

SPYKE = """kind = "character"
trigger = "spyke_plasma_v1"
class_word = "anime character"
appearance = ["ginger hair", "red bandana", "green eyes", "white sleeveless cloak", "black combat pants", "sword"]
varies = ["pose", "expression", "view"]
references = ["references"]

[[details]]
name = "red fingerless glove"
side = "right"
part = "arm"
views = ["front", "three quarter"]

[[details]]
name = "red metallic bracer"
side = "left"
part = "arm"
views = ["front", "three-quarter view"]

[[details]]
name = "metal pauldron"
side = "right"
part = "knee"
views = ["front", "3/4", "profile"]
"""
SPYKE_SHEET = """
# Spyke's sheet as a person keeps it
character:
  name: Spyke
  trigger: spyke_plasma_v1
  class: anime character
  hair: ginger
  eyes: {color: green}
  accessories: [red bandana, right arm red fingerless glove, red metallic bracer on the left arm]
  outfit:
    top: white sleeveless cloak
    right_knee: metal pauldron
    bottom: black combat pants
  weapons: sword
  palette: ["#FF8800", ginger]
  voice: tenor
"""
LUCA_SHEET = {
    "name": "Luca Paguro",
    "trigger_word": "lucapg",
    "class_token": "boy",
    "description": "12-year-old Italian pre-teen boy. He is a sea monster who passes for human.",
    "appearance": {
        "eyes": "large round brown eyes",
        "eyebrows": "thick arched",
        "nose": "button red-tinted nose",
        "hair": "short dark-brown wavy curls",
    },
    "forms": {"sea monster": {"trigger": "lucapg_sea", "appearance": ["green scales", "blue fins"]}},
}


def written(tmp_path: Path, text: str, name: str = "profile.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_profile(path)
    return [str(problem) for problem in caught.value.problems]


def test_spykes_sheet_reads_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "references").mkdir()
    profile = read_profile(written(tmp_path, SPYKE))
    assert profile.kind == "character" and profile.trigger == "spyke_plasma_v1"
    assert profile.appearance[0] == "ginger hair" and len(profile.appearance) == 6
    assert [detail.phrase for detail in profile.details] == [
        "right arm red fingerless glove",
        "left arm red metallic bracer",
        "right knee metal pauldron",
    ]
    assert profile.details[1].views == ("front", "three quarter")
    assert profile.details[2].views == ("front", "three quarter", "side")
    assert profile.references == ((tmp_path / "references").resolve(),)
    assert profile.is_asymmetric and profile.has_face
    assert read_profile(tmp_path) == profile, "a folder means the profile.toml in it"


def test_a_written_profile_reads_back_the_same(tmp_path: Path) -> None:
    (tmp_path / "references").mkdir()
    profile = read_profile(written(tmp_path, SPYKE))
    again = read_profile(written(tmp_path, profile_toml(profile, tmp_path), "again.toml"))
    assert replace(again, source=None) == replace(profile, source=None)


texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20).map(
    lambda text: " ".join(text.split())
)
words = texts.filter(bool)
details = st.builds(
    Detail,
    name=words,
    side=st.sampled_from(SIDES),
    part=words | st.just(""),
    views=st.lists(st.sampled_from(VIEWS), unique=True).map(tuple),
)
profiles = st.builds(
    Profile,
    kind=st.sampled_from(KINDS),
    trigger=words.filter(lambda word: word.lower() != "second form"),
    class_word=words | st.just(""),
    appearance=st.lists(words, max_size=12).map(tuple),
    details=st.lists(details, max_size=3).map(tuple),
    palette=st.lists(st.from_regex(r"\A#[0-9a-f]{6}\Z"), max_size=9).map(tuple),
    varies=st.lists(words, max_size=2).map(tuple),
    style=st.lists(words, max_size=2).map(tuple),
    forms=st.lists(
        st.builds(Form, name=words, trigger=st.just("second form"), appearance=st.lists(words, max_size=2).map(tuple),
                  details=st.lists(details, max_size=2).map(tuple)),
        max_size=1,
    ).map(tuple),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(profile=profiles)
def test_every_profile_survives_writing_and_reading(
    profile: Profile, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("profile")
    again = read_profile(written(folder, profile_toml(profile)))
    assert replace(again, source=None) == profile


def test_all_problems_of_a_profile_are_told_together(tmp_path: Path) -> None:
    text = """kind = "charakter"
triger = "zkw"
appearance = "red hair"
palette = ["#12345", "#ABCDEF"]
references = ["nowhere"]
[[details]]
nam = "glove"
side = "rigth"
views = ["front", "sideways"]
[[forms]]
name = "sea"
"""
    found = problems(written(tmp_path, text))
    told = "\n".join(found)
    for expected in (
        "'charakter' — one of character, person, object, style. Did you mean 'character'?",
        "unknown key 'triger' — a known key. Did you mean 'trigger'?",
        "trigger: not given",
        "appearance: 'red hair' — a list of texts",
        "palette: '#12345'",
        "'nowhere' is not there",
        "details 1: unknown key 'nam' — a known key. Did you mean 'name'?",
        "details 1 name: not given",
        "details 1 side: 'rigth' — one of left, right. Did you mean 'right'?",
        "details 1 views: 'sideways'",
        "forms 1 trigger: not given",
    ):
        assert expected in told, told
    assert len(found) == 11, told


def test_a_style_may_do_without_a_trigger(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, 'kind = "style"\nstyle = ["pixel art", "24x24"]\n'))
    assert profile.triggers == () and not profile.has_face
    assert "trigger: not given" in problems(written(tmp_path, 'kind = "style"\n', "bare.toml"))[0]


def test_colours_are_lower_case_with_a_hash(tmp_path: Path) -> None:
    text = 'kind = "object"\ntrigger = "zkw"\npalette = ["#A0B1A6", "27181f"]\n'
    assert read_profile(written(tmp_path, text)).palette == ("#a0b1a6", "#27181f")


def test_two_forms_need_two_triggers(tmp_path: Path) -> None:
    text = 'kind = "character"\ntrigger = "zkw"\n[[forms]]\nname = "sea"\ntrigger = "ZKW"\n'
    assert "'zkw' is given twice" in problems(written(tmp_path, text))[0]


@pytest.mark.parametrize("broken", ['kind = "character', "kind = character", b"\xff\xfe"])
def test_a_broken_file_is_one_plain_error(tmp_path: Path, broken: str | bytes) -> None:
    path = tmp_path / "profile.toml"
    path.write_bytes(broken if isinstance(broken, bytes) else broken.encode())
    assert len(problems(path)) == 1


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    assert "maquette init" in problems(tmp_path / "profile.toml")[0]


# --- character files of other programs -------------------------------------------------------------------


def test_a_yaml_sheet_becomes_the_same_subject(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, SPYKE_SHEET, "spyke.yaml"))
    assert profile.trigger == "spyke_plasma_v1" and profile.class_word == "anime character"
    assert set(profile.appearance) == {
        "ginger hair", "green eyes", "red bandana", "white sleeveless cloak", "black combat pants", "sword",
    }  # fmt: skip
    assert {detail.phrase for detail in profile.details} == {
        "right arm red fingerless glove",
        "left arm red metallic bracer",
        "right knee metal pauldron",
    }
    assert profile.palette == ("#ff8800",)
    told = "\n".join(profile.notes)
    assert "'voice' was not understood" in told and "'ginger' (palette) is no colour" in told
    assert "'character' is assumed" in told


def test_a_json_sheet_with_prose_and_a_second_form(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, json.dumps(LUCA_SHEET), "luca.json"))
    assert profile.trigger == "lucapg"
    assert profile.appearance == (
        "large round brown eyes", "thick arched eyebrows", "button red-tinted nose", "short dark-brown wavy curls",
    )  # fmt: skip
    assert profile.forms == (
        Form(name="sea monster", trigger="lucapg_sea", appearance=("green scales", "blue fins")),
    )
    assert any("'description' is prose" in note for note in profile.notes)


def test_a_name_of_one_word_stands_in_for_a_trigger_and_says_so(tmp_path: Path) -> None:
    profile = read_profile(written(tmp_path, "name: luca\nhair: brown\n", "luca.yml"))
    assert profile.trigger == "luca" and "is taken for it" in profile.notes[0]
    assert "no key names one" in problems(written(tmp_path, "hair: brown\n", "other.yml"))[0]


@pytest.mark.parametrize("sheet", ["- a\n- b\n", "", "!!python/object:os.system {}", "a: [", "just text"])
def test_a_sheet_that_says_nothing_is_refused(tmp_path: Path, sheet: str) -> None:
    assert len(problems(written(tmp_path, sheet, "sheet.yaml"))) == 1


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("right arm red fingerless glove", "right arm red fingerless glove"),
        ("a red glove on the right arm", "right arm red glove"),
        ("scar over his left eye", "left eye scar"),
        ("right-hand black glove", "right hand black glove"),
        ("left ear: gold earring", "left ear gold earring"),
        ("red bandana", None),
        ("red glove right, bracer left", None),
    ],
)
def test_a_side_in_a_text_becomes_a_detail(text: str, phrase: str | None) -> None:
    detail = detail_from_text(text)
    assert (detail.phrase if detail else None) == phrase


def test_people_s_words_for_views_are_understood() -> None:
    assert [view_named(word) for word in ("3/4", "Three-Quarter view", "profile", "from behind", "above")] == [
        "three quarter", "three quarter", "side", "back", None,
    ]  # fmt: skip

"""Captions name what is drawn and nothing else; the small vocabulary writes any text."""

import random
from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.world.attributes import NONE, Character, Scene, random_character, random_scene
from maquette.world.captions import caption, invented_name, training_caption
from maquette.world.cast import BARE_PROMPT, PROMPTS, TOVAKI, TRIGGER, write_training_pictures
from maquette.world.making.text import told_indices
from maquette.world.tokenizer import (
    END,
    START,
    build_tokenizer,
    byte_symbols,
    learn_vocabulary,
    world_vocabulary,
)


def test_a_detailed_caption_names_everything_that_is_drawn() -> None:
    text = caption(TOVAKI, Scene(view="back", pose="arms up", background="pink"), name=TRIGGER)
    assert text == (
        "tovaki character, twintail pink hair, tan skin, white shirt, purple skirt, red glove on right hand, "
        "yellow bandana, arms up, back view, pink background"
    )


def test_a_pose_caption_leaves_appearance_to_the_name() -> None:
    text = caption(TOVAKI, Scene(), name=TRIGGER, strategy="pose")
    assert text == "tovaki character, standing, front view, gray background"
    assert caption(TOVAKI, Scene(), name=TRIGGER, strategy="trigger") == BARE_PROMPT


def test_what_is_absent_is_not_spoken_of() -> None:
    plain = Character(
        hair_style="short",
        hair_color="red",
        skin="tan",
        top_color="blue",
        bottom_kind="pants",
        bottom_color="black",
    )
    text = caption(plain, Scene())
    assert "glove" not in text and NONE not in text and "hat" not in text and "bandana" not in text


def test_an_unknown_strategy_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'detailed'"):
        caption(TOVAKI, Scene(), strategy="detail")


def test_training_captions_tell_the_kinds_they_report() -> None:
    generator = random.Random(0)
    empty = 0
    for _ in range(400):
        character, scene = random_character(generator), random_scene(generator)
        text, kinds = training_caption(character, scene, generator)
        empty += not text
        assert ("background" in kinds) == (f"{scene.background} background" in text)
        assert ("skin" in kinds) == (f"{character.skin} skin" in text)
        assert (told_indices(character, scene, kinds)[0] < 4) == ("hair" in kinds)
    assert 20 <= empty <= 65


def test_the_tokenizer_writes_captions_in_77_tokens_and_reads_them_back() -> None:
    tokenizer = build_tokenizer(world_vocabulary())
    generator = random.Random(1)
    for _ in range(100):
        character, scene = random_character(generator), random_scene(generator)
        text = caption(character, scene, name=invented_name(generator))
        ids = tokenizer(text).input_ids
        assert len(ids) <= 77
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ,", ",") == text


def test_any_text_can_be_written() -> None:
    tokenizer = build_tokenizer(world_vocabulary())
    vocabulary = world_vocabulary().vocab
    ids = tokenizer("Ünknown words: 7 × 日本 'quoted'!").input_ids
    assert ids[0] == vocabulary[START] and ids[-1] == vocabulary[END]
    assert vocabulary[END] not in ids[1:-1]


def test_merges_prefer_the_most_frequent_pair() -> None:
    learned = learn_vocabulary(["aab aab ab"], 2)
    assert learned.merges == (("a", "b</w>"), ("a", "ab</w>"))
    assert len(byte_symbols()) == len(set(byte_symbols())) == 256


def test_training_pictures_are_written_with_captions_beside(tmp_path: Path) -> None:
    paths = write_training_pictures(tmp_path)
    assert len(paths) == 15
    for path in paths:
        assert path.with_suffix(".txt").read_text(encoding="utf-8").startswith(BARE_PROMPT)


def test_first_look_prompts_ask_for_scenes_that_were_not_trained() -> None:
    from maquette.world.cast import SCENES

    trained = {(scene.view, scene.pose, scene.background) for scene in SCENES}
    asked = [prompt.scene for prompt in PROMPTS if prompt.scene]
    assert asked
    assert not any((scene.view, scene.pose, scene.background) in trained for scene in asked)

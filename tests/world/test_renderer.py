"""The renderer's laws: same arguments, same pixels; a mirror exchanges the sides; captions tell what is drawn."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from maquette.errors import ConfigError
from maquette.world.attributes import (
    ATTRIBUTE_VALUES,
    CHARACTER_VALUES,
    NONE,
    SCENE_VALUES,
    Character,
    Scene,
    attribute_indices,
    random_character,
    random_scene,
)
from maquette.world.cast import SCENES, TOVAKI
from maquette.world.renderer import CLOTH, render


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int16)


def shown(seed: int) -> tuple[Character, Scene]:
    generator = random.Random(seed)
    return random_character(generator), random_scene(generator)


@pytest.mark.parametrize("size_px", [32, 64, 96])
def test_rendering_is_deterministic_at_every_size(size_px: int) -> None:
    character, scene = shown(1)
    first, second = render(character, scene, size_px), render(character, scene, size_px)
    assert first.size == (size_px, size_px)
    assert first.mode == "RGB"
    assert np.array_equal(pixels(first), pixels(second))


@pytest.mark.parametrize("seed", range(24))
def test_a_mirrored_picture_shows_the_mirrored_character_in_the_mirrored_scene(seed: int) -> None:
    character, scene = shown(seed)
    mirrored = pixels(ImageOps.mirror(render(character, scene)))
    expected = pixels(render(character.mirrored(), scene.mirrored()))
    # Rounding to whole supersampled pixels is not symmetric, so edges differ a little.
    assert np.abs(mirrored - expected).mean() < 4


@pytest.mark.parametrize("view", SCENE_VALUES["view"])
@pytest.mark.parametrize("pose", SCENE_VALUES["pose"])
def test_the_glove_is_seen_on_its_own_side_from_everywhere(view: str, pose: str) -> None:
    scene = Scene(view=view, pose=pose, background="gray")
    bare = replace(TOVAKI, right_glove=NONE)
    changed = np.abs(pixels(render(TOVAKI, scene)) - pixels(render(bare, scene))).sum(axis=2) > 60
    right_half, left_half = changed[:, :32].sum(), changed[:, 32:].sum()
    # Facing the viewer, a character's right hand is at the viewer's left; from behind, at the right.
    own_right, other = (left_half, right_half) if view == "back" else (right_half, left_half)
    assert own_right > 25
    assert other == 0


def test_every_value_changes_the_picture() -> None:
    for name, values in (CHARACTER_VALUES | SCENE_VALUES).items():
        if name.startswith("headwear"):
            continue
        pictures = []
        for value in values:
            on_character = name in CHARACTER_VALUES
            character = replace(TOVAKI, **{name: value}) if on_character else TOVAKI
            scene = Scene() if on_character else replace(Scene(), **{name: value})
            pictures.append(render(character, scene).tobytes())
        assert len(set(pictures)) == len(values), name


def test_the_glove_has_the_color_it_is_called_by() -> None:
    picture = pixels(render(TOVAKI, Scene(view="front", pose="arms wide"), 256))
    near = np.abs(picture[:, :128] - np.array(CLOTH["red"])).sum(axis=2) < 12
    assert near.sum() > 400


def test_unknown_values_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        replace(TOVAKI, hair_color="blonde", skin="green", headwear=NONE)
    assert len(caught.value.problems) == 3
    assert "Did you mean 'blond'?" in str(caught.value)


def test_a_shift_out_of_the_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="shift"):
        Scene(shift=9.0)


def test_indices_stand_for_the_values_drawn() -> None:
    character, scene = shown(3)
    indices = attribute_indices(character, scene)
    values = dict(zip(ATTRIBUTE_VALUES, indices, strict=True))
    assert CHARACTER_VALUES["top_color"][values["top_color"]] == character.top_color
    assert SCENE_VALUES["view"][values["view"]] == scene.view


def test_random_inhabitants_wear_at_most_one_glove_and_matching_headwear() -> None:
    generator = random.Random(0)
    for _ in range(300):
        character = random_character(generator)
        assert NONE in (character.left_glove, character.right_glove)
        assert (character.headwear == NONE) == (character.headwear_color == NONE)


def test_the_training_pictures_show_every_view_pose_and_background() -> None:
    assert len(SCENES) == len(set(SCENES)) == 15
    for name, values in SCENE_VALUES.items():
        assert {getattr(scene, name) for scene in SCENES} == set(values)

"""Style is told from style and not from subject, and where it cannot be told that is said."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from maquette.dataset.opening import picture_rgb
from maquette.encoders import load_encoder
from maquette.measuring.embedder import Embedder
from maquette.measuring.looks import FLOOR, FirstLook, Look
from maquette.measuring.style import StyleMeasurer
from maquette.world.attributes import random_character
from maquette.world.cast import SCENES, TOVAKI
from maquette.world.renderer import render

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(load_encoder("style", "cpu"))


def measurer(
    embedder: Embedder, folder: Path, references: Sequence[Image.Image], floor: Sequence[Image.Image]
) -> StyleMeasurer:
    """Return the measurer of references over a base that drew `floor`."""
    folder.mkdir()
    looks = []
    for seed, picture in enumerate(floor):
        path = f"{folder.name}-{seed}.png"
        picture.save(folder / path)
        looks.append(Look(checkpoint=FLOOR, step=None, prompt="zkw", role="bare", seed=seed, path=path))
    rows = embedder.of_pictures(references)
    return StyleMeasurer(embedder, rows, FirstLook(folder=folder, looks=tuple(looks)))


def people(count: int) -> list[Image.Image]:
    draws = random.Random(3)
    return [render(random_character(draws), SCENES[index], 64) for index in range(count)]


def test_another_subject_in_the_same_style_is_no_other_style(embedder: Embedder, tmp_path: Path) -> None:
    references = [render(TOVAKI, scene, 64) for scene in SCENES[:10]]
    test = measurer(embedder, tmp_path / "world", references, people(10)).test
    assert not test.is_passed and "cannot tell" in test.sentence


def test_too_few_pictures_tell_no_style(embedder: Embedder, tmp_path: Path) -> None:
    test = measurer(embedder, tmp_path / "few", people(2), people(8)).test
    assert not test.is_passed and "2 references and 8 drawings" in test.sentence


def test_drawings_and_photographs_are_told_apart_and_scored_between_floor_and_ceiling(
    embedder: Embedder, tmp_path: Path
) -> None:
    if not DATA.is_dir():
        pytest.skip("../shared/data is not here")
    portraits = [picture_rgb(path) for path in sorted((DATA / "pixel_portraits").rglob("lad_*.png"))[:14]]
    photographs = [picture_rgb(path) for path in sorted((DATA / "photos").rglob("*.jpg"))[::6]]
    found = measurer(embedder, tmp_path / "photos", portraits[:8], photographs)
    assert found.test.is_passed
    looks = [
        Look(checkpoint="a", step=1, prompt="p", role="bare", seed=n, path=f"new-{n}.png")
        for n in range(len(portraits) - 8)
    ]
    held_out = [each["style"] for each in found.score(portraits[8:], looks)]
    drawn = [
        Look(checkpoint=FLOOR, step=None, prompt="q", role="bare", seed=n, path=f"q-{n}.png")
        for n in range(6)
    ]
    floor = [each["style"] for each in found.score(photographs[:6], drawn)]
    assert min(held_out) > max(floor)
    # Held-out pictures of the style lie around the ceiling: nearer to it than half of the way from the floor.
    ceiling, middle = found.ceilings()["style"], sum(floor) / len(floor)
    assert sum(held_out) / len(held_out) > (ceiling + middle) / 2

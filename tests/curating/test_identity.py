"""Who is it: strangers are kept out, references are measured against each other, and the numbers are what they say."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.curating import identity
from maquette.curating.chart import marks
from maquette.curating.person import decide
from maquette.curating.records import Look
from maquette.encoders import Encoder, load_encoder
from maquette.encoders.likeness import best_of, scores
from maquette.errors import ConfigError, ModelError
from maquette.world.attributes import random_character, random_scene
from maquette.world.cast import TOVAKI
from maquette.world.renderer import render
from tests.curating.making import Heap, curate, draw, heap, names_of, save, scenes, stranger


@pytest.fixture(scope="module")
def world() -> Encoder:
    return load_encoder("world")


def rows(encoder: Encoder, images: list[Image.Image]) -> np.ndarray:
    return encoder.encode([encoder.prepare(image) for image in images])


def test_the_worlds_encoder_tells_characters_apart(world: Encoder) -> None:
    """Area under the curve of true against false pairs: how often a true picture resembles the references more."""
    chance = random.Random(3)
    true, false = [], []
    for _ in range(6):
        somebody = random_character(chance)
        references = rows(world, [render(somebody, random_scene(chance)) for _ in range(8)])
        own = [render(somebody, random_scene(chance)) for _ in range(20)]
        others = [render(random_character(chance), random_scene(chance)) for _ in range(20)]
        true += scores(world.similarity(rows(world, own), references))[0].tolist()
        false += scores(world.similarity(rows(world, others), references))[0].tolist()
    wins = np.mean([[mine > theirs for theirs in false] for mine in true])
    assert wins > 0.999
    assert np.mean(np.array(true) >= identity.DEFAULT_THRESHOLD) > 0.98
    assert np.mean(np.array(false) >= identity.DEFAULT_THRESHOLD) < 0.02


def test_similarity_is_the_mean_of_the_best_quarter_at_most_three() -> None:
    assert [best_of(count) for count in (1, 7, 8, 11, 12, 32)] == [1, 1, 2, 2, 3, 3]
    table = np.array([[0.1, 0.9, 0.2, 0.3, 0.8, 0.1, 0.1, 0.1]], np.float32)
    values, nearest = scores(table)
    assert values[0] == pytest.approx(0.85)
    assert nearest[0] == 1


def test_the_threshold_decides_and_the_band_below_it_asks() -> None:
    looks = [Look(name=f"{value}", similarity=value) for value in (0.76, 0.75, 0.74, 0.71)]
    identity.judge_identity(looks, 0.75, 0.03)
    assert [look.automatic for look in looks] == ["kept", "kept", "review", "rejected"]
    assert looks[3].reasons[0].text == "identity 0.71 below 0.75"


def test_the_histogram_counts_every_picture_once_and_its_rates_agree() -> None:
    values = np.random.default_rng(1).uniform(0.3, 1.0, 3008).tolist()
    found = identity.histogram(values, 0.75)
    assert sum(found["counts"]) == found["pictures"] == 3008
    rates = {row["threshold"]: row for row in found["pass_rates"]}
    assert rates[0.75]["passed"] == sum(np.float32(value) >= 0.75 for value in values)
    assert [row["passed"] for row in found["pass_rates"]] == sorted(
        (row["passed"] for row in found["pass_rates"]), reverse=True
    )


def test_a_wrong_reference_is_named(tmp_path: Path) -> None:
    references = tmp_path / "references"
    draw(references, TOVAKI, scenes(5))
    draw(references, stranger(), scenes(1), prefix="odd")
    draw(tmp_path / "heap", TOVAKI, scenes(8)[5:])
    found = curate(tmp_path / "heap", references=[references], encoder="world")
    assert found.identity is not None
    assert found.identity["calibration"]["below"] == ["odd000.png"]
    assert any(
        "1 of 6 references would not pass 0.75" in text and "odd000.png" in text for text in found.warnings
    )


def test_few_references_are_mentioned(tmp_path: Path) -> None:
    references = draw(tmp_path / "references", TOVAKI, scenes(1))
    draw(tmp_path / "heap", TOVAKI, scenes(4)[1:])
    found = curate(tmp_path / "heap", references=references, encoder="world")
    assert any("1 reference:" in text for text in found.warnings)


def test_the_chart_is_drawn_and_the_threshold_is_the_persons(tmp_path: Path) -> None:
    made: Heap = heap(tmp_path)
    found = curate(made.folder, references=[made.references], encoder="world", threshold=0.2)
    assert found.threshold == 0.2 and found.chart is not None
    assert Image.open(found.chart).size == (1120, 620)
    assert made.names("own", "other") <= names_of(found.kept) | names_of(found.review)


def test_references_of_the_profile_are_used(tmp_path: Path) -> None:
    made = heap(tmp_path)
    profile = tmp_path / "profile.toml"
    profile.write_text('kind = "character"\ntrigger = "tovaki"\nreferences = ["references"]\n')
    found = curate(made.folder, profile=profile, encoder="world")
    assert len(found.references) == 6
    assert names_of(found.kept) == made.names("own")


def test_a_person_may_keep_a_stranger(tmp_path: Path) -> None:
    made = heap(tmp_path)
    curate(made.folder, references=[made.references], encoder="world")
    decide(made.folder, {"kept": ["other0_000.png"]})
    assert "other0_000.png" in names_of(curate(made.folder).kept)


def test_pictures_of_the_small_world_need_no_encoder_named(tmp_path: Path) -> None:
    made = heap(tmp_path)
    found = curate(made.folder, references=[made.references])
    assert found.encoder == "world"
    assert names_of(found.kept) == made.names("own")


def test_where_no_model_can_be_had_nothing_is_kept_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quality pass still works, and nobody is told that strangers were looked for."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    made = heap(tmp_path)
    drawing = Image.new("RGB", (128, 128), "gold")
    drawing.paste("navy", (20, 30, 70, 110))
    reference = save(drawing, tmp_path / "drawn" / "flat.png")
    found = curate(made.folder, references=[reference])
    assert (found.encoder, found.identity, found.kept) == ("", None, ())
    assert made.names("own", "other") == names_of(found.review)
    assert found.reasons["uncompared"] and "identity" not in found.reasons
    assert not [text for texts in found.review.values() for text in texts if "identity" in text]
    assert made.names("blur", "copy", "blank", "broken") == names_of(found.rejected)
    assert any("Nothing says who is on the pictures" in text for text in found.warnings)
    with pytest.raises(ConfigError, match=r"no picture is kept.*--keep NAME.*--fresh"):
        curate(made.folder, references=[reference], target=3, apply=tmp_path / "set")
    assert not (tmp_path / "set").exists()
    assert curate(made.folder, fresh=True, apply=tmp_path / "set").copied > 0
    with pytest.raises(ModelError):
        curate(made.folder, references=[reference], encoder="clip")


def test_the_small_worlds_judge_is_not_asked_about_photographs(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    for number in range(3):
        pixels = chance.integers(0, 256, (80, 60, 3), np.uint8)
        save(Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC), tmp_path / f"{number}.jpg")
    with pytest.raises(ConfigError, match=r"--encoder world: 0\.jpg and others, which are photographs"):
        curate(tmp_path, encoder="world")


def test_other_drawings_are_read_with_a_warning(tmp_path: Path) -> None:
    for number, colour in enumerate(("navy", "gold", "teal")):
        image = Image.new("RGB", (128, 128), colour)
        image.paste("white", (20, 30 + 20 * number, 70, 110))
        save(image, tmp_path / f"{number}.png")
    warnings = curate(tmp_path, encoder="world").warnings
    assert any("no pictures of the small world" in warning for warning in warnings)


@pytest.mark.parametrize("most", [1, 2, 3, 4, 7, 10, 11, 99, 100, 1234, 98765])
def test_the_histograms_axis_counts_in_whole_numbers(most: int) -> None:
    found = marks(most)
    steps = {after - before for before, after in pairwise([0, *found])}
    assert 1 <= len(found) <= 5 and len(steps) == 1 and 0 < found[-1] <= most
    assert all(isinstance(mark, int) for mark in found)

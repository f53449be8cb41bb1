"""Facts about measures on pictures whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from maquette.encoders import load_encoder
from maquette.measuring.copying import CopyingMeasurer, write_nearest
from maquette.measuring.drift import DriftMeasurer
from maquette.measuring.embedder import Embedder
from maquette.measuring.looks import FLOOR, FirstLook, Look
from maquette.measuring.references import references_of
from maquette.measuring.technical import TechnicalMeasurer, fault_of, limits_of
from maquette.measuring.variety import VarietyMeasurer, variety
from maquette.measuring.world import WorldMeasurer, asked_of, character_of
from maquette.world.attributes import Scene
from maquette.world.captions import caption
from maquette.world.cast import SCENES, TOVAKI
from maquette.world.pack import load_judge
from maquette.world.renderer import render

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"


def look(prompt: str = "zkw", role: str = "bare", seed: int = 1, column: str = "a") -> Look:
    return Look(
        checkpoint=column, step=1, prompt=prompt, role=role, seed=seed, path=f"{column}-{prompt}-{seed}.png"
    )


def picture(index: int) -> Image.Image:
    return render(TOVAKI, SCENES[index], 64)


def test_variety_is_nothing_for_one_picture_many_times_and_all_for_orthogonal_ones() -> None:
    row = np.ones((1, 8), np.float32)
    assert variety(np.repeat(row, 4, axis=0)) == pytest.approx(0.0, abs=1e-6)
    assert variety(np.eye(4, 8, dtype=np.float32)) == pytest.approx(1.0)
    two = variety(np.repeat(np.eye(2, 8, dtype=np.float32), 2, axis=0))
    assert two == pytest.approx(1 / 3), "two kinds among four pictures: a Vendi score of 2"


def test_a_collapsed_prompt_has_less_variety_than_the_references() -> None:
    embedder = Embedder(load_encoder("world"))
    references = embedder.of_pictures([picture(index) for index in range(8)])
    measurer = VarietyMeasurer(embedder, references, seeds=3)
    seeds = [look(seed=seed) for seed in (1, 2, 3)]
    [collapsed] = measurer.score_set([picture(0)] * 3, seeds).values()
    others = [look("zkw, there", seed=seed) for seed in (1, 2, 3)]
    [varied] = measurer.score_set([picture(index) for index in (0, 6, 12)], others).values()
    assert collapsed == pytest.approx(0.0, abs=1e-6) and varied > 0.3
    assert 0.1 < measurer.ceilings()["variety"] < 1.0
    assert measurer.score_set([picture(0)], [look(seed=9)]) == {}


@pytest.mark.parametrize(
    ("pixels", "fault"),
    [
        (np.zeros((64, 64, 3)), "flat"),
        (np.full((64, 64, 3), 131), "flat"),
        (np.random.default_rng(0).integers(0, 256, (64, 64, 3)), "noise"),
        (
            np.where(np.arange(64)[:, None, None] < 40, 255, np.arange(64)[None, :, None] * 4) * np.ones(3),
            "burnt out",
        ),
        (np.linspace(100, 160, 256)[None, :, None] * np.ones((256, 1, 3)), "blurred"),
    ],
)
def test_what_is_no_picture_is_told(pixels: np.ndarray, fault: str) -> None:
    shown = Image.fromarray(pixels.astype(np.uint8))
    assert fault_of(shown) == fault
    if fault == "burnt out":
        assert fault_of(shown, limits_of([shown])) is None, "a subject that is white itself"


def test_drawings_are_sound() -> None:
    assert [fault_of(picture(index)) for index in range(15)] == [None] * 15


def test_photographs_are_sound_beside_their_like() -> None:
    if not PHOTOS.is_dir():
        pytest.skip("../shared/data/photos is not here")
    for folder in sorted(path for path in PHOTOS.iterdir() if path.is_dir()):
        shown = [Image.open(path) for path in sorted(folder.glob("*.jpg"))]
        for index, each in enumerate(shown):
            limits = limits_of(shown[:index] + shown[index + 1 :])
            assert fault_of(each, limits) is None, (folder.name, index)


def test_technical_quality_is_one_or_nothing() -> None:
    black = Image.new("RGB", (32, 32))
    assert TechnicalMeasurer().score([picture(0), black], [look(), look(seed=2)]) == [
        {"technical": 1.0},
        {"technical": 0.0},
    ]


def test_drift_is_nothing_where_the_lora_changes_nothing(tmp_path: Path) -> None:
    floors = [look("a cat", "drift", seed, FLOOR) for seed in (1, 2)]
    for entry, index in zip(floors, (0, 6), strict=True):
        picture(index).save(tmp_path / entry.path)
    measurer = DriftMeasurer(Embedder(load_encoder("world")), FirstLook(folder=tmp_path, looks=tuple(floors)))
    [same], [other] = (
        measurer.score([picture(index)], [look("a cat", "drift", 1, column)])
        for index, column in ((0, "kept"), (12, "drifted"))
    )
    assert same["drift"] == pytest.approx(0.0, abs=1e-6) and other["drift"] > 0.02
    assert measurer.ceilings()["drift"] > 0.02
    assert measurer.score([picture(0)], [look("a dog", "drift")]) == [{}], "the base drew no such prompt"


def test_copies_are_found_mirrored_ones_too(tmp_path: Path) -> None:
    for index in range(6):
        picture(index).save(tmp_path / f"{index}.png")
    measurer = CopyingMeasurer(sorted(tmp_path.glob("*.png")))
    drawn = [picture(3), ImageOps.mirror(picture(4)), picture(9)]
    looks = [look(seed=seed) for seed in (1, 2, 3)]
    copied, mirrored, new = (scores["copying"] for scores in measurer.score(drawn, looks))
    assert copied == pytest.approx(1.0, abs=1e-5) and mirrored == pytest.approx(1.0, abs=1e-5) and new < 0.9
    found = [measurer.nearest[entry.path] for entry in looks]
    assert [each.training.name for each in found[:2]] == ["3.png", "4.png"]
    assert [each.is_mirrored for each in found[:2]] == [False, True]
    told = json.loads(write_nearest(tmp_path, measurer.nearest).read_text(encoding="utf-8"))["drawings"]
    assert told[looks[1].path] == {"training": str(tmp_path / "4.png"), "is_mirrored": True, "likeness": 1.0}


def test_the_judge_reads_who_is_meant_off_references_and_what_is_asked_off_prompts(tmp_path: Path) -> None:
    for index in range(0, 15, 3):
        picture(index).save(tmp_path / f"{index}.png")
    judge = load_judge()
    assert character_of(judge, sorted(tmp_path.glob("*.png"))) == TOVAKI
    scene = Scene(view="left", pose="arms up", background="pink")
    asked = asked_of(caption(TOVAKI, scene, name="tovaki"))
    assert asked == {
        "view": "left",
        "pose": "arms up",
        "background": "pink",
        "hair_style": "twintail",
        "hair_color": "pink",
        "skin": "tan",
        "top_color": "white",
        "bottom_color": "purple",
        "bottom_kind": "skirt",
        "right_glove": "red",
        "headwear": "bandana",
        "headwear_color": "yellow",
    }
    assert asked_of("tovaki character, a mossy hat, blurple background") == {}


def test_a_mirrored_character_keeps_everything_but_its_sides() -> None:
    measurer = WorldMeasurer(load_judge(), TOVAKI)
    scene = Scene(view="front", pose="arms wide", background="blue")
    right, wrong = (render(who, scene, 64) for who in (TOVAKI, TOVAKI.mirrored()))
    [good], [bad] = (
        measurer.score([shown], [look("tovaki, arms wide, front view, blue background")])
        for shown in (right, wrong)
    )
    assert good == {"identity": 1.0, "asymmetry": 1.0, "technical": 1.0, "adherence": 1.0}
    assert (bad["asymmetry"], bad["adherence"]) == (0.0, 1.0) and 0.8 < bad["identity"] < 1.0


def test_references_come_from_where_they_were_not_trained_on(tmp_path: Path) -> None:
    from maquette.files import sha256_file

    own, held = tmp_path / "references", tmp_path / "held"
    for folder in (own, held):
        folder.mkdir()
        for index in range(6):
            picture(index + (6 if folder is held else 0)).save(folder / f"{index}.png")
    trained = [own / "0.png"]
    shas = {sha256_file(own / "0.png")}
    found = references_of(project=tmp_path, training=trained, trained_sha256=shas)
    assert found is not None and found.origin == "project" and len(found.pictures) == 5
    assert found.notes == ("1 of 6 references were trained on and do not count.",)
    named = references_of(named=[held], project=tmp_path)
    assert named is not None and named.origin == "named" and not named.notes
    last = references_of(training=trained)
    assert last is not None and last.were_trained_on and "references/" in last.notes[0]
    few = references_of(held_out=[held / "0.png"])
    assert few is not None and few.origin == "held out" and "1 reference only" in few.notes[0]
    assert references_of() is None
    assert replace(found, notes=()).pictures == tuple(sorted(own.glob("[1-5].png")))

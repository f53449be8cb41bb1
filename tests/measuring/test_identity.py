"""Identity of drawings: on one scale with the references, and between strangers and them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.encoders import load_encoder, photo
from maquette.encoders.likeness import among_themselves
from maquette.evaluating.measurers import measuring_of
from maquette.measuring.embedder import Embedder
from maquette.measuring.identity import IdentityMeasurer
from maquette.measuring.looks import FirstLook, Look
from maquette.measuring.references import References, references_of
from maquette.measuring.scorecards import scorecards_of
from maquette.world.attributes import Character, random_character
from maquette.world.cast import SCENES, TOVAKI
from maquette.world.renderer import render
from tests.conftest import shared_data


def drawn(character: Character, count: int, start: int = 0) -> list[Image.Image]:
    return [render(character, scene, 64) for scene in SCENES[start : start + count]]


def looks(count: int, column: str = "a") -> list[Look]:
    return [
        Look(checkpoint=column, step=1, prompt="zkw", role="pose", seed=seed, path=f"{column}-{seed}.png")
        for seed in range(count)
    ]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(load_encoder("world"))


def test_one_reference_is_compared_as_it_is_and_has_no_ceiling(embedder: Embedder) -> None:
    reference = embedder.of_pictures(drawn(TOVAKI, 1))
    measurer = IdentityMeasurer(embedder, reference)
    [itself] = IdentityMeasurer(Embedder(embedder.encoder), reference).score(drawn(TOVAKI, 1), looks(1))
    assert itself["identity"] == pytest.approx(1.0, abs=1e-4)
    assert measurer.ceilings() == {}


def test_a_reference_drawn_again_scores_its_share_of_one_and_of_its_ceiling(embedder: Embedder) -> None:
    """Each reference is left out in turn: a copy of one does not score 1 when that very one is left out."""
    pictures = drawn(TOVAKI, 4)
    rows = embedder.of_pictures(pictures)
    measurer = IdentityMeasurer(Embedder(embedder.encoder), rows)
    among = among_themselves(embedder.encoder, rows)
    scored = [each["identity"] for each in measurer.score(pictures, looks(4))]
    assert scored == pytest.approx(((3 + among) / 4).tolist(), abs=1e-4)
    assert measurer.ceilings()["identity"] == pytest.approx(float(among.mean()))


def test_the_subject_comes_to_the_ceiling_and_a_stranger_stays_below(embedder: Embedder) -> None:
    import random

    measurer = IdentityMeasurer(Embedder(embedder.encoder), embedder.of_pictures(drawn(TOVAKI, 6)))
    own = [each["identity"] for each in measurer.score(drawn(TOVAKI, 4, 8), looks(4))]
    other = random_character(random.Random(5))
    strangers = [each["identity"] for each in measurer.score(drawn(other, 4, 8), looks(4, "b"))]
    assert np.mean(own) > measurer.ceilings()["identity"] - 0.05
    assert max(strangers) < min(own) - 0.1


def photographs(subject: str, places: slice) -> list[Path]:
    return sorted((shared_data("photos") / subject).glob("*.jpg"))[places]


def test_photographs_are_scored_between_another_dog_and_the_dog_itself(tmp_path: Path) -> None:
    """What the base draws is played by another dog, what the LoRA draws by pictures of this one."""
    dog = photographs("dog", slice(0, 3))
    shown = {"no LoRA": photographs("dog6", slice(0, 2)), "a": photographs("dog", slice(3, 5))}
    entries, pictures = [], {}
    for column, paths in shown.items():
        for seed, path in enumerate(paths):
            place = f"{column}-{seed}.png"
            pictures[place] = Image.open(path).convert("RGB").resize((320, 320))
            pictures[place].save(tmp_path / place)
            step = None if column == "no LoRA" else 1
            entries.append(
                Look(checkpoint=column, step=step, prompt="zkw", role="pose", seed=seed, path=place)
            )
    look = FirstLook(folder=tmp_path, looks=tuple(entries))
    references = references_of(named=dog)
    assert references is not None
    measuring = measuring_of(look, references, [])
    assert any("photo compared the pictures" in note and "drawings" in note for note in measuring.notes)
    [measurer] = [each for each in measuring.measurers if isinstance(each, IdentityMeasurer)]
    from dataclasses import replace

    scored = measurer.score([pictures[entry.path] for entry in entries], entries)
    told = [replace(entry, scores=score) for entry, score in zip(entries, scored, strict=True)]
    cards = scorecards_of(
        replace(look, looks=tuple(told), measures=measurer.measures, ceilings=measurer.ceilings())
    )
    identity = cards.card("a").scores["identity"]
    assert identity.floor is not None and identity.ceiling is not None
    assert identity.floor < photo.Photo.threshold < identity.ceiling
    assert identity.normalised is not None and identity.normalised.mean > 0.5


def test_drawings_without_an_encoder_at_hand_are_said_not_to_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched unasked."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    flat = tmp_path / "flat.png"
    Image.new("RGB", (64, 64), "gold").save(flat)
    references = References(pictures=(flat,), origin="named")
    measuring = measuring_of(FirstLook(folder=tmp_path, looks=tuple(looks(1))), references, [])
    assert any("--encoder clip" in note for note in measuring.notes)
    assert not [each for each in measuring.measurers if isinstance(each, IdentityMeasurer)]

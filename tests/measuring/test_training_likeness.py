"""Likeness to training pictures rewards copies; what it adds is told apart from likeness to the subject."""

from __future__ import annotations

import numpy as np
from PIL import Image

from maquette.encoders import load_encoder
from maquette.measuring.embedder import Embedder
from maquette.measuring.looks import Look
from maquette.measuring.training_likeness import BONUS, LIKENESS, TrainingLikenessMeasurer, of_copies
from maquette.world.cast import SCENES, TOVAKI
from maquette.world.renderer import render


def drawn(start: int, count: int) -> list[Image.Image]:
    return [render(TOVAKI, scene, 96) for scene in SCENES[start : start + count]]


def looks(column: str, count: int) -> list[Look]:
    return [
        Look(checkpoint=column, step=1, prompt="zkw", role="pose", seed=seed, path=f"{column}{seed}.png")
        for seed in range(count)
    ]


def test_a_copy_is_rewarded_and_the_subject_in_another_scene_is_not() -> None:
    """Trained on the first five scenes, held out the next five; one column draws the trained ones again, one new ones."""
    embedder = Embedder(load_encoder("photo"))
    training, references = (embedder.of_pictures(drawn(start, 5)) for start in (0, 5))
    measurer = TrainingLikenessMeasurer(embedder, references, training)
    copies, learned, unseen = (
        measurer.score(drawn(start, count), looks(name, count))
        for name, start, count in (("copy", 0, 5), ("learned", 10, 5), ("unseen", 5, 5))
    )
    bonus = {
        name: np.mean([each[BONUS] for each in told])
        for name, told in (("copy", copies), ("learned", learned), ("unseen", unseen))
    }
    assert bonus["copy"] > 0.03 > abs(bonus["learned"])
    assert bonus["unseen"] < -0.03, "a copy of a held-out picture is like those"
    assert min(each[LIKENESS] for each in copies) > 0.999
    again = of_copies(embedder.encoder, training)
    assert again is not None and again[0] > 0.999 and again[0] - again[1] > 0.03
    assert of_copies(embedder.encoder, training[:1]) is None


def test_sets_of_one_size_are_compared_however_many_there_are() -> None:
    embedder = Embedder(load_encoder("world"))
    rows = embedder.of_pictures(drawn(0, 12))
    measurer = TrainingLikenessMeasurer(embedder, rows[:3], rows[3:])
    told = measurer.score(drawn(0, 2), looks("a", 2))
    assert "3 pictures" in measurer.measures[0].formula
    assert all(abs(each[BONUS]) < 0.1 for each in told), "who is shown is the same in all of them"

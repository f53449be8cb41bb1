"""Words at fault for a decoupled trigger: found by drawings, told with their intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import maquette
from maquette.choosing.caption_words import phrases_beside
from maquette.choosing.options import SelectOptions
from maquette.choosing.probing import FOLDER, TOGETHER, told_by, with_probes
from maquette.events import run_stage
from maquette.measuring.looks import FLOOR, read_first_look
from maquette.runs.choice import Choice, Probe, Suspicion, read_choice
from maquette.runs.folder import RunFolder
from maquette.world.captions import caption
from maquette.world.cast import SCENES, TOVAKI, TRIGGER
from maquette.world.pack import base_path
from maquette.world.renderer import render

ShortRun = Callable[..., dict]


def choice(kind: str) -> Choice:
    told = Suspicion(kind=kind, told="It does not.", remedy="Train longer.")  # type: ignore[arg-type]
    return Choice(checkpoint="a.safetensors", label="step 2", step=2, strength=1.0, suspicions=(told,))


def probe(word: str, gain: float, off: float, of_base: float = 0.0) -> Probe:
    return Probe(
        word=word, share=1.0, label="step 2", gain=gain, low=gain - off, high=gain + off, of_base=of_base
    )


PROBES = (probe("red glove", 0.4, 0.1), probe("tan skin", 0.1, 0.2), probe(TOGETHER, 0.5, 0.1))


def test_the_words_that_bring_the_subject_are_named_and_noise_is_not() -> None:
    told = told_by(choice("trigger decoupled"), PROBES)
    [suspicion] = told.suspicions
    assert suspicion.words == ("red glove",) and "“red glove” +0.40 (95 % +0.30 to +0.50)" in suspicion.told
    assert "No more than noise: “tan skin”" in told.reasons[-1] and told.probes == PROBES


def test_a_run_whose_captions_draw_the_subject_did_not_learn_nothing() -> None:
    known = (probe("red glove", 0.4, 0.1, of_base=0.4),)
    [suspicion] = told_by(choice("never learned"), known).suspicions
    assert suspicion.kind == "trigger decoupled" and "Leave these words out" in suspicion.remedy
    assert "The base alone draws it from these words" in suspicion.told


def test_a_run_that_learned_nothing_stays_one_that_learned_nothing() -> None:
    noise = (probe("red glove", 0.1, 0.2), probe(TOGETHER, 0.1, 0.2))
    told = told_by(choice("never learned"), noise)
    assert [each.kind for each in told.suspicions] == ["never learned"]
    assert "no word of the captions by itself" in told.reasons[-1]


def test_shared_phrases_are_whole_parts_then_words() -> None:
    captions = (
        "zkw, red glove, standing on a bridge",
        "zkw, red glove, on a bridge",
        "zkw woman, sunny, bridge",
    )
    assert [phrase for phrase, _ in phrases_beside(captions, "zkw", class_word="woman")] == [
        "bridge",
        "red glove",
    ]


def test_probes_are_kept_and_read_back(tmp_path: Path) -> None:
    told = told_by(choice("trigger decoupled"), PROBES)
    told.write(tmp_path)
    assert read_choice(tmp_path) == told


@pytest.mark.slow
def test_captions_that_name_the_looks_are_found_by_drawing(short_run: ShortRun, tmp_path: Path) -> None:
    """The base knows these words: they draw the character's looks, the untrained trigger draws nobody in particular."""
    images = tmp_path / "images"
    images.mkdir()
    for place, scene in enumerate(SCENES[:8]):
        render(TOVAKI, scene, 64).save(images / f"{place}.png")
        text = caption(TOVAKI, scene, name=TRIGGER, strategy="detailed")
        (images / f"{place}.txt").write_text(text, encoding="utf-8")
    settings = short_run(
        images=images, base=str(base_path()), trigger=TRIGGER, class_word="character", resolution=64,
        steps=1, name="a", sample_steps=8,
    )  # fmt: skip
    result = maquette.train(**settings)
    folder = RunFolder(result.run)
    planted = replace(
        choice("never learned"), checkpoint=result.record.checkpoints[-1].path, label="final (1)"
    )
    found = run_stage(with_probes(planted, folder, SelectOptions()))
    look = read_first_look(folder.evaluation / FOLDER / "first_look.json")
    assert look.checkpoints() == (FLOOR, "final (1)") and look.prompts()[0] == "tovaki character"
    together = next(each for each in found.probes if each.word == TOGETHER)
    assert together.gain > 0.2 and together.of_base > 0.2
    assert found.suspicions[0].kind == "trigger decoupled" and found.suspicions[0].words
    untouched = run_stage(with_probes(replace(planted, suspicions=()), folder, SelectOptions()))
    assert untouched.probes == ()

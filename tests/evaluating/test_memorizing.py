"""A run that held pictures out tells whether it memorises; one that did not says what it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

import maquette
from maquette import families
from maquette.devices import place
from maquette.evaluating.memorizing import Memorizing, memorizing
from maquette.events import run_stage
from maquette.lora.files import read_lora
from maquette.measuring.looks import Column
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.training.prepare import prepare
from maquette.training.texts import CaptionEncoder
from maquette.training.validation import Validator
from tests.conftest import make_pictures

ShortRun = Callable[..., dict]


def told_of(result: maquette.TrainResult) -> Memorizing:
    model = families.load(result.record.settings.model.base)
    state = read_lora(result.lora).state
    columns = [Column(label="one", step=2, file="a"), Column(label="twin", step=2, file="b")]
    return run_stage(memorizing(model, result.record, columns, [state, state]))


def test_the_same_lora_twice_is_told_the_same_of_trained_and_held_out_pictures(
    short_run: ShortRun, tmp_path: Path
) -> None:
    images = make_pictures(tmp_path / "more", [(96, 96)] * 7)
    result = maquette.train(
        **short_run(images=images, steps=2, validation_pictures=3, validation_timesteps=1, name="held")
    )
    told = told_of(result)
    one, twin = told.found["one"], told.found["twin"]
    assert (len(one.members), len(one.held_out)) == (4, 3) and "3 held-out pictures" in told.notes[0]
    trained = {entry.path for entry in result.record.dataset.pictures}
    assert {each.path for each in one.members} == trained
    assert [each.path for each in one.members] == [each.path for each in twin.members]
    assert 0.0 <= one.area.mean <= 1.0 and 0 < one.chance <= 1


def test_without_held_out_pictures_it_is_said_what_to_set(short_run: ShortRun) -> None:
    told = told_of(maquette.train(**short_run(steps=1, name="none")))
    assert not told.found and "no picture was held out" in told.notes[0]
    assert "validation_pictures = 8" in told.notes[0]


def test_antithetic_noise_is_each_noise_and_its_negative(short_run: ShortRun) -> None:
    settings = load_settings(None, short_run(validation_pictures=1, validation_timesteps=1))
    with prepare(settings, judge=judge) as job:
        assert job.validation is not None
        model = families.load(settings.model.base)
        [item] = job.validation.items

        def validator(timesteps: int, antithetic: bool) -> Validator:
            texts = CaptionEncoder(model, place("cpu", "no"), job.options, trains=False)
            made = Validator(
                model,
                place("cpu", "no"),
                [item],
                timesteps=timesteps,
                seed=0,
                texts=texts,
                antithetic=antithetic,
            )
            run_stage(made.encode())
            return made

        plain, both = validator(2, False), validator(4, True)
        assert both.timesteps_T.tolist() == [each for each in plain.timesteps_T.tolist() for _ in range(2)]
        clean = both._cache.latent(item)
        noises = [both._noise(item, level, clean) for level in range(4)]
        assert torch.equal(noises[0], -noises[1]) and torch.equal(noises[2], -noises[3])
        assert torch.equal(noises[0], plain._noise(item, 0, clean))
        # A batch of four rounds like a batch of two to within a few last places of a loss of about one.
        torch.testing.assert_close(
            both.measure_levels()[0, 0, ::2], plain.measure_levels()[0, 0], rtol=1e-5, atol=0
        )

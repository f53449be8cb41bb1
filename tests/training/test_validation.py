"""Laws of validation: it changes no weight, asks the same of everyone, and says how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from safetensors.torch import load_file

import maquette
from maquette import families
from maquette.api import resolve_settings
from maquette.devices import place
from maquette.errors import ConfigError, MaquetteError
from maquette.events import Message, Progress, run_stage
from maquette.families.protocol import BaseModel
from maquette.logs.metrics import VALIDATION, read_metrics
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec
from maquette.rules.verdict import judge
from maquette.runs.record import read_record
from maquette.runs.validation import ValidationRecord
from maquette.training.loop import TrainResult
from maquette.training.prepare import prepare
from maquette.training.randomness import generator_at
from maquette.training.texts import CaptionEncoder
from maquette.training.validation import Validator, mean_over_pictures, point_of, spread_timesteps
from tests.conftest import make_pictures

ShortRun = Callable[..., dict]
FEW = {"steps": 3, "validation_timesteps": 2, "validate_every_steps": 2}


def _validation(result: TrainResult) -> ValidationRecord:
    found = result.record.validation
    assert found is not None
    return found


def _rows(run: Path) -> list[dict]:
    return read_metrics(run / "metrics.jsonl", VALIDATION)


def _same(first: Path, second: Path) -> bool:
    one, two = load_file(first), load_file(second)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_measuring_changes_no_weight(short_run: ShortRun) -> None:
    """Dropout, shuffled captions and trained text encoders included; the pictures are the training's own."""
    without = maquette.train(**short_run(name="without", steps=3))
    assert read_record(without.run).validation is None
    measured = maquette.train(**short_run(name="with", validation_training=True, **FEW))
    assert _same(without.lora, measured.lora)
    assert read_metrics(without.run / "metrics.jsonl")[-1]["loss"] == measured_loss(measured.run)
    assert [point.step for point in _validation(measured).points] == [0, 2, 3]
    shown = [each for row in read_metrics(without.run / "metrics.jsonl") for each in row["shown"]]
    assert sorted(place for place, _, _ in shown) == [0, 1, 2], "an epoch of three pictures"
    assert _validation(measured).measured_on == "training"


def measured_loss(run: Path) -> float:
    return read_metrics(run / "metrics.jsonl")[-1]["loss"]


def test_every_run_is_asked_the_same(short_run: ShortRun) -> None:
    """Other seeds, ranks, rates, batches and weightings: the base answers to the bit what it answered before."""
    first = maquette.train(**short_run(name="one", steps=1, validation_pictures=1, validation_timesteps=2))
    other = maquette.train(
        **short_run(name="two", steps=1, seed=9, rank=4, batch_size=2, min_snr_gamma=5.0, noise_offset=0.1),
        validation_pictures=1,
        validation_timesteps=2,
    )
    assert _rows(first.run)[0]["pictures"] == _rows(other.run)[0]["pictures"]
    assert _validation(first).pictures == _validation(other).pictures
    held = Path(_validation(first).pictures[0].path)
    assert held not in [Path(each.path) for each in first.record.dataset.pictures]
    assert len(first.record.dataset.pictures) == 2


def test_a_loss_is_the_mean_squared_error_of_the_base_at_the_written_noise(short_run: ShortRun) -> None:
    settings = resolve_settings(None, short_run(validation_pictures=2, validation_timesteps=3))
    with prepare(settings, judge=judge) as job:
        assert job.validation is not None
        model = families.load(settings.model.base)
        validator = Validator(
            model,
            place("cpu", "no"),
            job.validation.items,
            timesteps=3,
            seed=0,
            texts=CaptionEncoder(model, place("cpu", "no"), job.options, trains=False),
        )
        run_stage(validator.encode())
        (found,) = validator.measure()
        for item, loss in zip(job.validation.items, found, strict=True):
            clean = validator._cache.latent(item)[None]
            text = model.encode_text(model.tokenize([item.picture.caption]))
            errors = []
            for level, timestep in enumerate(validator.timesteps_T):
                generator = generator_at(0, "validation", item.picture.sha256, level)
                noise = torch.randn(clean.shape[1:], generator=generator)[None]
                noisy = model.objective.add_noise(clean, noise, timestep[None])
                with torch.no_grad():
                    said = model.predict(noisy, timestep[None], text, None)
                target = model.objective.target(clean, noise, timestep[None])
                errors.append(((said - target) ** 2).mean().item())
            assert loss.item() == pytest.approx(fmean(errors), rel=1e-5)


def test_levels_of_noise_are_spread_over_what_the_family_trains(tiny_base: Path) -> None:
    model = families.load(tiny_base)
    timesteps = spread_timesteps(model, 4, 0).tolist()
    assert timesteps == sorted(timesteps)
    assert timesteps == pytest.approx([125, 375, 625, 875], abs=30)


def test_a_resumed_run_measures_what_an_uninterrupted_one_does(short_run: ShortRun) -> None:
    wanted = {"validation_pictures": 1, **FEW, "steps": 4}
    whole = maquette.train(**short_run(name="whole", **wanted))

    class Stopped(Exception):
        pass

    def stop_at_three(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 3:
            raise Stopped

    with pytest.raises(Stopped):
        maquette.train(**short_run(name="halves", **wanted), on_event=stop_at_three)
    resumed = maquette.train(resume=whole.run.parent / "halves")
    assert _rows(resumed.run) == _rows(whole.run)
    assert _validation(resumed) == _validation(whole)


def _lora(model: BaseModel, seed: int) -> dict[str, torch.Tensor]:
    """Return a LoRA that changes something."""
    adapter = LoraAdapter.attach(model, [TrialSpec(rank=seed, alpha=1, seed=seed)])
    with torch.no_grad():
        for name, parameter in adapter.named_parameters_of(0).items():
            parameter.copy_(torch.randn(parameter.shape, generator=generator_at(seed, name)) * 0.05)
    state = adapter.state_dict(0)
    adapter.detach()
    return state


def test_loras_in_one_pass_measure_what_each_measures_alone(short_run: ShortRun) -> None:
    settings = resolve_settings(None, short_run(validation_pictures=2, validation_timesteps=2))
    with prepare(settings, judge=judge) as job:
        assert job.validation is not None
        model = families.load(settings.model.base)
        validator = Validator(
            model,
            place("cpu", "no"),
            job.validation.items,
            timesteps=2,
            seed=0,
            texts=CaptionEncoder(model, place("cpu", "no"), job.options, trains=False),
        )
        run_stage(validator.encode())
        (base,) = validator.measure()
        loras = [_lora(model, seed) for seed in (2, 3)]
        together = LoraAdapter.attach(model, loras)
        packed = validator.measure(2)
        assert torch.equal(validator.measure_base(together), base) and together.enabled
        together.detach()
        for lora, found in zip(loras, packed, strict=True):
            alone = LoraAdapter.attach(model, [lora])
            (expected,) = validator.measure()
            alone.detach()
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
            assert not torch.allclose(found, base, rtol=1e-3)


def test_a_change_is_paired_and_its_error_is_that_of_the_differences() -> None:
    base, now = [0.1, 0.5, 0.9], [0.09, 0.48, 0.89]
    point = point_of(7, now, base, [0.1, 0.48, 0.9])
    differences = [one - other for one, other in zip(now, base, strict=True)]
    assert point.loss == pytest.approx(fmean(now)) and point.error == pytest.approx(stdev(now) / math.sqrt(3))
    assert point.from_base == pytest.approx(fmean(differences))
    assert point.from_base_error == pytest.approx(stdev(differences) / math.sqrt(3))
    assert point.from_base_error < point.error / 20
    assert point.from_previous == pytest.approx(fmean([-0.01, 0.0, -0.01]))
    alone = mean_over_pictures([0.4])
    assert (alone.value, alone.error) == (0.4, None)
    assert point_of(0, now, None, None).from_base is None


def test_what_is_measured_is_said_on_the_way_and_at_the_end(short_run: ShortRun) -> None:
    told: list[object] = []
    maquette.train(**short_run(validation_training=True, **{**FEW, "steps": 1}), on_event=told.append)
    shown = [event.values for event in told if isinstance(event, Progress) and event.stage == "train"]
    assert "validation" in shown[-1]
    texts = [event.text for event in told if isinstance(event, Message)]
    assert any("pictures that the run trains on" in text for text in texts)
    assert any("from the base" in text and "which checkpoint draws best" in text for text in texts)


def test_a_smoke_run_measures_nothing(short_run: ShortRun) -> None:
    told: list[object] = []
    maquette.train(**short_run(validation_training=True), smoke=True, on_event=told.append)
    assert not any("from the base" in event.text for event in told if isinstance(event, Message))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"validation_split": 0.2, "validation_pictures": 1}, "one of validation_split"),
        ({"validation_split": 0.2, "validation_training": True}, "one of validation_split"),
        ({"validation_fold": 2}, "a share to take the fold of"),
        ({"validation_split": 0.25, "validation_fold": 5}, "at most 4"),
    ],
)
def test_two_answers_to_one_question_are_refused(short_run: ShortRun, given: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        maquette.train(**short_run(**given))


def test_what_cannot_be_measured_is_told_with_all_else(short_run: ShortRun, tmp_path: Path) -> None:
    bad = make_pictures(tmp_path / "bad", [(64, 64)])
    (bad / "p0.txt").write_text("")
    with pytest.raises(MaquetteError) as error:
        maquette.train(**short_run(validation_images=bad))
    assert any("empty caption" in problem.given for problem in error.value.problems)
    assert not (tmp_path / "out" / "zkw").exists()

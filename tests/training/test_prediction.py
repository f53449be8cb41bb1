"""A base trained for another prediction than its own is stopped before the first step, with the evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import maquette
from maquette import families
from maquette.errors import ConfigError, TrainingError
from maquette.families.common.objective import DiscreteDiffusion
from maquette.families.common.shapes import file_tensors
from maquette.families.protocol import Stated
from maquette.families.tiny import write_tiny
from maquette.project.settings import Settings
from maquette.runs.record import read_record
from maquette.training.base_prediction import BasePrediction
from maquette.training.prediction import Misses
from maquette.training.trials import require_alike
from maquette.world.cast import write_training_pictures
from maquette.world.pack import base_path
from tests.families.parts import parts_of

ShortRun = Callable[..., dict]


@pytest.fixture(scope="module")
def noise_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that was taught to predict the noise, in a file that says nothing of it."""
    path = write_tiny("sd1", tmp_path_factory.mktemp("noise") / "plain.safetensors")
    unet = parts_of("sd1", path)[0]
    model, objective = families.load(path), DiscreteDiffusion("epsilon")
    model.denoiser.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.denoiser.parameters(), lr=4e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    text = model.encode_text(model.tokenize([""] * 4))
    for _ in range(40):
        clean, noise = (torch.randn(4, 4, 8, 8, generator=generator) for _ in range(2))
        timesteps = objective.sample_timesteps(4, generator)
        answer = model.predict(objective.add_noise(clean, noise, timesteps), timesteps, text)
        optimizer.zero_grad()
        (answer - noise).square().mean().backward()
        optimizer.step()
    unet.module.load_state_dict(model.denoiser.state_dict(), assign=True)
    taught = file_tensors(unet.module, unet.bindings)
    save_file({**load_file(path), **{key: value.contiguous() for key, value in taught.items()}}, path)
    return path


def test_a_noise_predicting_base_asked_for_v_is_stopped_with_the_figures(
    short_run: ShortRun, noise_base: Path
) -> None:
    with pytest.raises(TrainingError) as stopped:
        maquette.train(**short_run(base=str(noise_base), prediction="v"))
    [problem] = stopped.value.problems
    assert problem.where == "prediction" and problem.given.startswith("v, but on 1 training picture")
    assert "the noise (epsilon) by 0." in problem.given and '"epsilon"' in problem.remedy
    assert read_record(short_run()["output"] / "zkw").state == "failed"


def test_the_same_base_trains_as_what_it_is_or_where_the_check_is_off(
    short_run: ShortRun, noise_base: Path
) -> None:
    asked = maquette.train(**short_run(base=str(noise_base), prediction="epsilon", steps=1, name="asked"))
    auto = maquette.train(**short_run(base=str(noise_base), steps=1, name="auto"))
    forced = maquette.train(
        **short_run(base=str(noise_base), steps=1, name="forced", prediction="v", check_prediction=False)
    )
    assert asked.final_loss == auto.final_loss != forced.final_loss
    assert forced.record.base.prediction == "v" and forced.record.base.prediction_stated is None


def test_the_small_world_predicts_v_and_says_so_when_asked_for_the_noise(
    short_run: ShortRun, tmp_path: Path
) -> None:
    write_training_pictures(tmp_path / "tovaki")
    run = short_run(
        base=str(base_path()),
        images=tmp_path / "tovaki",
        prediction="epsilon",
        trigger="tovaki",
        bucket_step_px=64,
    )
    with pytest.raises(TrainingError, match=r"the velocity \(v\) by 0\.[0-3]"):
        maquette.train(**run, batch_size=2)


def test_a_large_picture_is_looked_at_in_its_middle_once_a_share(
    short_run: ShortRun, noise_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small share of a training step, whatever the resolution; the verdict is the same."""
    seen = []

    def shown(base: BasePrediction, noisy: torch.Tensor, *others: object) -> torch.Tensor:
        seen.append(tuple(noisy.shape))
        return predict(base, noisy, *others)

    predict = BasePrediction.predict
    monkeypatch.setattr(BasePrediction, "predict", shown)
    with pytest.raises(TrainingError, match=r"the noise \(epsilon\) by 0\."):
        maquette.train(**short_run(base=str(noise_base), prediction="v", resolution=320, batch_size=2))
    assert seen == [(2, 4, 32, 32)]


def test_a_base_of_random_numbers_is_not_accused(short_run: ShortRun) -> None:
    """It predicts neither: that is another fault than this one."""
    assert maquette.train(**short_run(prediction="v", steps=1)).record.base.prediction == "v"


@pytest.mark.parametrize(
    ("asked", "other", "verdict"),
    [
        (0.1, 1.3, None),  # right
        (1.2, 0.1, "v"),  # wrong
        (0.55, 1.0, None),  # right, pictures unlike any it knows
        (1.0, 1.0, None),  # neither
        (3.0, 0.9, None),  # broken: no better than an answer of nothing
        (0.6, 0.3, None),  # the one no worse than it may be
    ],
)
def test_only_plain_evidence_counts(asked: float, other: float, verdict: str | None) -> None:
    assert Misses(asked, {"v": other}).better == verdict


def test_what_is_stated_goes_before_the_file_everywhere(noise_base: Path) -> None:
    stated = Stated(prediction="v", zero_terminal_snr=True)
    info = families.inspect(noise_base, stated)
    assert (info.prediction, info.zero_terminal_snr, info.prediction_stated) == ("v", True, None)
    model = families.load(noise_base, stated=stated)
    assert model.objective.zero_terminal_snr and model.objective.prediction == "v"
    config = model.sampler("euler").config
    assert config.prediction_type == "v_prediction" and config.rescale_betas_zero_snr
    assert families.inspect(noise_base).prediction == "epsilon"


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"scale_v_pred_loss_like_noise_pred": True}, "scale_v_pred_loss_like_noise_pred"),
        ({"v_pred_like_loss": 0.5, "prediction": "v"}, "v_pred_like_loss"),
        ({"v_pred_like_loss": 0.5, "zero_terminal_snr": True}, "v_pred_like_loss"),
    ],
)
def test_weights_of_another_prediction_are_refused_before_anything_loads(
    short_run: ShortRun, wrong: dict, where: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        maquette.train(**short_run(**wrong))
    [problem] = refused.value.problems
    assert where in problem.where and "SET026" in str(refused.value)


def test_trials_share_what_the_base_predicts() -> None:
    shared, other = (
        Settings.model_validate({"model": {"base": "x"}, "objective": {"prediction": each}})
        for each in ("auto", "v")
    )
    with pytest.raises(ConfigError, match=r"\[objective\] prediction"):
        require_alike(shared, [shared, other])

"""A run of several trials leaves for each of them what its own run would have left.

Tolerance: packed trials compute their products as one batched matmul, separate ones as single matmuls, which round differently
in float32's last place; AdamW divides each gradient by its own size, so entries whose true gradient is zero walk by their
rounding error (see test_trials.py). Hence, of weights that move by up to 6e-3 in six steps, all but one in a thousand agree to
1e-4, and on average to 5e-6; losses, which feel all of them, to 2e-5 relative.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import maquette
from maquette.drawing.samples import draw_samples
from maquette.errors import ConfigError
from maquette.events import Artifact, Event, Progress, run_stage
from maquette.logs.metrics import read_metrics
from maquette.project.config_file import load_settings
from maquette.project.settings import Settings
from maquette.rules.verdict import judge
from maquette.runs.record import read_record
from maquette.training.loop import TrainResult, run_job
from maquette.training.prepare import prepare

ShortRun = Callable[..., dict]
OWN = (
    {"rank": 2, "learning_rate": 1e-3},
    {"rank": 4, "alpha": 1.0, "learning_rate": 3e-4, "min_snr_gamma": 5.0},
)
RUN = {"save_every_steps": 4, "sample_prompts": ("zkw, standing",), "sample_steps": 1}


def _settings(short_run: ShortRun, **changes: Any) -> Settings:
    return load_settings(None, short_run(**RUN, **changes))


def _run(shared: Settings, trials: list[Settings], **more: Any) -> tuple[TrainResult, list[Event]]:
    events: list[Event] = []
    job = prepare(shared, judge=judge, trials=trials, **more)
    return run_stage(run_job(job, draw=draw_samples), events.append), events


def _run_until(step: int, shared: Settings, trials: list[Settings]) -> None:
    for event in run_job(prepare(shared, judge=judge, trials=trials), draw=draw_samples):
        if isinstance(event, Progress) and event.stage == "train" and event.done == step:
            break


def _files(run: Path) -> set[str]:
    """Return every file's name below a run with NAME for the run's own, TensorBoard's left out."""
    files = (path for path in run.rglob("*") if path.is_file() and path.parent.name != "events")
    return {path.relative_to(run).as_posix().replace(run.name, "NAME") for path in files}


def _close(one: Path, two: Path) -> None:
    first, second = load_file(one), load_file(two)
    assert first.keys() == second.keys()
    apart = torch.cat([(first[key] - value).abs().flatten() for key, value in second.items()])
    moved = torch.cat([value.abs().flatten() for key, value in second.items() if "lora_up" in key])
    assert apart.mean() <= 5e-6 and apart.quantile(0.999) <= 1e-4 and moved.max() > 1e-3


def _metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def test_each_trial_leaves_the_files_of_its_own_run(short_run: ShortRun) -> None:
    trials = [_settings(short_run, **own) for own in OWN]
    result, events = _run(trials[0], trials)
    assert len(result.trials) == 2
    told = [event.path for event in events if isinstance(event, Artifact) and event.kind == "checkpoint"]
    for number, (own, trial) in enumerate(zip(OWN, result.trials, strict=True), 1):
        alone = maquette.train(**short_run(**RUN, **own, name=f"alone-{number}"))
        name = f"zkw-{number:02d}"
        assert trial.run == result.run / "trials" / name
        own_files = _files(alone.run) - {"events.jsonl"}  # what was told lies in the whole's folder
        assert _files(trial.run) == own_files and (result.run / "events.jsonl").is_file()
        _close(trial.lora, alone.lora)
        assert trial.lora in told

        rows, own_rows = (read_metrics(run / "metrics.jsonl") for run in (trial.run, alone.run))
        assert [list(row) for row in rows] == [list(row) for row in own_rows]
        for row, other in zip(rows, own_rows, strict=True):
            assert row["loss"] == pytest.approx(other["loss"], rel=2e-5)
            rates = ("lr_text_encoder", "lr_denoiser")
            assert [row[rate] for rate in rates] == [other[rate] for rate in rates]

        record, own_record = read_record(trial.run), read_record(alone.run)
        assert record.state == "finished" and record.run == name
        assert record.settings.lora == own_record.settings.lora
        assert [entry.step for entry in record.checkpoints] == [4, 6]
        assert [entry.step for entry in record.samples] == [4, 6]
        assert record.final_loss == trial.final_loss == pytest.approx(alone.final_loss, rel=2e-5)

        said, own_said = _metadata(trial.lora), _metadata(alone.lora)
        for key in ("ss_network_dim", "ss_network_alpha", "ss_unet_lr", "ss_min_snr_gamma"):
            assert said[key] == own_said[key]
        assert said["ss_output_name"] == name


@pytest.mark.slow
def test_a_trial_of_another_seed_is_what_it_is_when_trained_alone(short_run: ShortRun) -> None:
    """Trials see the pictures in the run's order; noise, first weights and dropout are of their own seed."""
    shared = _settings(short_run, learning_rate=1e-3)
    other = _settings(short_run, learning_rate=1e-3, seed=7)
    both, _ = _run(shared, [shared, other])
    named = {"learning_rate": 1e-3, "name": "alone"}
    alone, _ = _run(_settings(short_run, **named), [_settings(short_run, **named, seed=7)])
    _close(both.trials[1].lora, alone.lora)
    assert both.trials[1].record.schedule.pictures_seed == 42
    assert both.trials[0].record.schedule.pictures_seed is None


@pytest.mark.slow
def test_a_stopped_run_of_two_trials_resumes_to_the_same_weights(short_run: ShortRun) -> None:
    trials = [_settings(short_run, **own) for own in OWN]
    whole, _ = _run(trials[0], trials)
    halves = [_settings(short_run, **own, name="halves") for own in OWN]
    _run_until(5, halves[0], halves)
    run = whole.run.parent / "halves"
    assert read_record(run / "trials" / "halves-02").state == "interrupted"
    (run / "trials" / "halves-01" / "state" / "state-00000005.safetensors").unlink()
    resumed, _ = _run(halves[0], halves, resume=run)
    for one, two in zip(whole.trials, resumed.trials, strict=True):
        first, second = load_file(one.lora), load_file(two.lora)
        assert all(torch.equal(first[key], second[key]) for key in first)
        assert two.record.resumed_at_steps == (4,)


def test_trials_that_cannot_share_a_pass_are_refused_with_every_difference(short_run: ShortRun) -> None:
    shared = _settings(short_run)
    trials = [shared, _settings(short_run, steps=7, batch_size=2, rank=8)]
    with pytest.raises(ConfigError) as refused:
        prepare(shared, judge=judge, trials=trials)
    places = [problem.where for problem in refused.value.problems]
    assert places == ["trial 2: [training] steps", "trial 2: [training] batch_size"]

"""Whole runs on a tiny base: same seed same weights, resume equals uninterrupted, the record tells what happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import maquette
from maquette.cli.app import maquette as cli
from maquette.errors import MaquetteError, TrainingError
from maquette.events import Progress
from maquette.logs.metrics import read_metrics, writes_tensorboard
from maquette.runs.record import read_record
from maquette.training.loop import TrainResult
from maquette.training.optimize import TrialOptimizer

ShortRun = Callable[..., dict]


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def _same(first: Path, second: Path) -> bool:
    one, two = _weights(first), _weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_the_same_settings_give_the_same_weights_bit_for_bit(
    short_run: ShortRun, whole_run: TrainResult
) -> None:
    second = maquette.train(**short_run(name="two"))
    assert _same(whole_run.lora, second.lora)
    assert whole_run.final_loss == second.final_loss
    other = maquette.train(**short_run(name="three", seed=43))
    assert not _same(whole_run.lora, other.lora)


def test_a_run_stopped_after_any_step_resumes_to_the_same_weights(short_run: ShortRun) -> None:
    whole = maquette.train(**short_run(name="whole", accumulation=2, save_every_steps=3))

    class Stopped(Exception):
        pass

    def stop_at_five(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        maquette.train(**short_run(name="halves", accumulation=2, save_every_steps=3), on_event=stop_at_five)
    run = whole.run.parent / "halves"
    assert read_record(run).state == "interrupted"
    resumed = maquette.train(resume=run)
    assert _same(whole.lora, resumed.lora)
    losses = [[row["loss"] for row in read_metrics(result / "metrics.jsonl")] for result in (whole.run, run)]
    assert losses[0] == losses[1]
    assert resumed.record.resumed_at_steps == (5,)
    assert [Path(entry.path).name for entry in resumed.record.checkpoints] == [
        "halves-step00000003.safetensors",
        "halves.safetensors",
    ]


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_weights(short_run: ShortRun, tmp_path: Path) -> None:
    """SIGKILL gives no chance to clean up; what lies on the disk must be enough."""
    whole = maquette.train(**short_run(name="whole", steps=60))
    settings = short_run(name="killed", steps=60)
    code = "import json, sys, maquette; maquette.train(**json.loads(sys.argv[1]))"
    child = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(settings, default=str)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = whole.run.parent / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 80
    while len(read_metrics(metrics)) < 9 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert read_record(metrics.parent).state == "running"
    resumed = maquette.train(resume=metrics.parent)
    assert resumed.record.resumed_at_steps[0] > 0
    assert _same(whole.lora, resumed.lora)


def test_captions_that_are_cut_off_are_said(short_run: ShortRun, pictures: Path) -> None:
    (pictures / "p1.txt").write_text("zkw, " + "blue wall, " * 40)
    said: list[str] = []
    maquette.train(**short_run(), on_event=lambda event: said.append(getattr(event, "text", "")))
    assert any("1 of 3 captions" in text and "p1.png" in text for text in said)
    said.clear()
    long = short_run(name="long", max_token_length=225)
    maquette.train(**long, on_event=lambda event: said.append(getattr(event, "text", "")))
    assert not any("captions are longer" in text for text in said)


def test_a_finished_run_is_neither_resumed_nor_overwritten(short_run: ShortRun) -> None:
    result = maquette.train(**short_run())
    before = result.lora.read_bytes()
    with pytest.raises(MaquetteError, match="finished"):
        maquette.train(resume=result.run)
    with pytest.raises(MaquetteError, match="exists"):
        maquette.train(**short_run())
    assert result.lora.read_bytes() == before


def test_a_resume_refuses_changed_pictures(short_run: ShortRun, pictures: Path) -> None:
    def stop(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maquette.train(**short_run(), on_event=stop)
    run = Path(short_run()["output"]) / "zkw"
    (pictures / "p0.txt").write_text("zkw, something else")
    with pytest.raises(MaquetteError, match="changed"):
        maquette.train(resume=run)


def test_the_record_says_all_that_made_the_weights(
    short_run: ShortRun, tiny_base: Path, pictures: Path
) -> None:
    result = maquette.train(**short_run(save_every_steps=2))
    record = json.loads((result.run / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["settings"]["lora"]["rank"] == 2
    assert {Path(entry["path"]).name for entry in record["dataset"]["pictures"]} == {
        "p0.png",
        "p1.png",
        "p2.png",
    }
    assert all(len(entry["sha256"]) == 64 for entry in record["dataset"]["pictures"])
    assert record["base"]["family"] == "sd1" and len(record["base_sha256"]) == 64
    assert (
        record["environment"]["packages"]["torch"] == torch.__version__.split("+")[0]
        or record["environment"]["packages"]["torch"]
    )
    assert record["schedule"]["steps"] == result.steps == 6
    assert [entry["step"] for entry in record["checkpoints"]] == [2, 4, 6]
    if writes_tensorboard(None):
        assert any((result.run / "events").iterdir())
    assert len(read_metrics(result.run / "metrics.jsonl")) == 6
    assert record["device"]["forward_device"] == "cpu"


def test_a_smoke_run_proves_the_device_and_leaves_nothing(short_run: ShortRun) -> None:
    result = maquette.train(**short_run(steps=500), smoke=True)
    assert result.steps == 3 and result.seconds_per_step > 0
    assert result.record.device.forward_device == "cpu"
    assert result.record.schedule.steps == 500
    assert [proof.what for proof in result.proofs] == [
        "loss",
        "gradients",
        "weights",
        "drawing",
        "resuming",
        "disk",
    ]
    assert all(proof.holds for proof in result.proofs), result.proofs
    assert not result.run.parent.exists() and not (Path(short_run()["output"]) / "zkw").exists()


def test_a_smoke_run_that_teaches_nothing_says_so(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training that never reaches the weights looks well from outside: the loss is finite, files are written."""
    monkeypatch.setattr(TrialOptimizer, "update", lambda optimizer, step, *more: 0.0)
    arguments = ["train", "--smoke", "--json"]
    for name, value in short_run(shuffle_caption=None, dropout=0, keep_tokens=0).items():
        arguments += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    result = CliRunner().invoke(cli, arguments)
    answer = json.loads(result.output.splitlines()[-1])
    failed = [proof["what"] for proof in answer["proofs"] if not proof["holds"]]
    assert result.exit_code == 1 and failed == ["gradients", "weights", "drawing"]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_what_was_saved(short_run: ShortRun) -> None:
    with pytest.raises(TrainingError, match="finite"):
        maquette.train(
            **short_run(
                learning_rate=1e30, text_encoder_lr=1e30, max_grad_norm=0.0, lr_scheduler="constant", steps=40
            )
        )
    record = read_record(Path(short_run()["output"]) / "zkw")
    assert record.state == "failed" and "finite" in record.error
    assert (Path(short_run()["output"]) / "zkw" / "run.log").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"gradient_checkpointing": True},
        {"cache_latents": False},
        {"precision": "bf16"},
        {"text_encoder_lr": 0.0},
        {"unet_lr": 0.0},
        {"conv_rank": 2},
        {"min_snr_gamma": 5.0, "noise_offset": 0.05, "clip_skip": 2},
        {"batch_size": 2, "accumulation": 2},
        {"epochs": 2, "steps": None, "save_every_epochs": 1},
        {"lr_scheduler": "cosine_with_restarts", "lr_cycles": 2, "warmup_steps": 2},
        {"bucketing": False, "max_token_length": 150},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_every_setting_trains_and_moves_only_what_it_should(short_run: ShortRun, changes: dict) -> None:
    result = maquette.train(**short_run(**changes))
    state = _weights(result.lora)
    moved = {key for key, value in state.items() if "lora_up" in key and value.abs().max() > 0}
    text = {key for key in moved if key.startswith("lora_te")}
    assert moved
    assert bool(text) == (changes.get("text_encoder_lr") != 0.0)
    assert bool(moved - text) == (changes.get("unet_lr") != 0.0)


def test_gradient_checkpointing_changes_no_bit(short_run: ShortRun, whole_run: TrainResult) -> None:
    checkpointed = maquette.train(**short_run(name="checkpointed", gradient_checkpointing=True))
    assert _same(whole_run.lora, checkpointed.lora)


def test_latents_kept_on_disk_give_the_same_weights(
    short_run: ShortRun, whole_run: TrainResult, tmp_path: Path
) -> None:
    filled = maquette.train(**short_run(name="filled", cache_folder=tmp_path / "cache"))
    again = maquette.train(**short_run(name="again", cache_folder=tmp_path / "cache"))
    assert _same(whole_run.lora, filled.lora) and _same(filled.lora, again.lora)

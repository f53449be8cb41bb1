"""What goes wrong while a run is under way is said clearly, and nothing that was whole is lost."""

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

import maquette
from maquette.events import Progress
from maquette.logs.metrics import read_metrics
from maquette.runs.record import read_record
from maquette.training.loop import TrainResult
from maquette.training.state import latest_state

ShortRun = Callable[..., dict]
CLI = [sys.executable, "-c", "from maquette.cli import main; main()"]


def _flags(settings: dict) -> list[str]:
    flags = []
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            flags += [flag, str(value)]
    return flags


def _wait_for_steps(metrics: Path, count: int, child: subprocess.Popen) -> None:
    deadline = time.monotonic() + 80
    while len(read_metrics(metrics)) < count and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_run_goes_on_later(short_run: ShortRun) -> None:
    whole = maquette.train(**short_run(name="whole", steps=80))
    settings = short_run(name="stopped", steps=80)
    child = subprocess.Popen(
        [*CLI, "train", *_flags(settings), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    run = whole.run.parent / "stopped"
    _wait_for_steps(run / "metrics.jsonl", 5, child)
    child.send_signal(signal.SIGINT)
    answer, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    record = read_record(run)
    line = f"interrupted at step {record.step} of 80; go on with: maquette train --resume {run}"
    assert said.splitlines()[-1] == line
    assert json.loads(answer.strip().splitlines()[-1])["error"][0]["given"] == line
    assert (record.state, record.error) == ("stopped", "Ctrl-C")
    assert latest_state(run / "state").step == record.step
    resumed = maquette.train(resume=run)
    assert resumed.final_loss == whole.final_loss


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_leaves_what_was_there(short_run: ShortRun, tmp_path: Path) -> None:
    """A limit on file sizes fails writes as a full disk does, with an error of the system."""
    settings = short_run(save_every_steps=2, rank=8)
    code = (
        "import json, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "from maquette.cli import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", *_flags(settings)], capture_output=True, text=True, check=False
    )
    run = Path(settings["output"]) / "zkw"
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr and "zkw-step00000002.safetensors" in done.stderr
    assert read_record(run).state == "failed"
    assert not list(run.rglob("*.part")) and not list((run / "checkpoints").glob("*.safetensors"))


def test_a_truncated_newest_state_falls_back_to_the_one_before(
    short_run: ShortRun, whole_run: TrainResult, tmp_path: Path
) -> None:
    def stop(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maquette.train(**short_run(name="cut"), on_event=stop)
    run = tmp_path / "out" / "cut"
    newest = max((run / "state").glob("state-*.safetensors"))
    with newest.open("r+b") as file:
        file.truncate(os.path.getsize(newest) // 2)  # noqa: PTH202 (one call)
    resumed = maquette.train(resume=run)
    assert resumed.record.resumed_at_steps == (4,)
    assert resumed.lora.read_bytes()[-1000:] == whole_run.lora.read_bytes()[-1000:]

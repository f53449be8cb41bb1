"""The whole way of a project: where it stops, what is fresh, what runs again and why, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from maquette.cli.app import maquette
from maquette.events import Progress
from maquette.jobs.contents import Hashes, difference
from maquette.jobs.pipeline import AutoResult, auto_events
from maquette.jobs.pipeline_options import AutoOptions
from maquette.locking import hold
from maquette.stopping import Stop, Stopped
from tests.conftest import make_pictures


@pytest.fixture
def project(tiny_base: Path, tmp_path: Path) -> Path:
    """A project of three small pictures, in a folder that holds no other."""
    folder = tmp_path / "project"
    make_pictures(folder / "images", [(96, 96), (96, 96), (144, 72)])
    (folder / "maquette.toml").write_text(
        f"""
[model]
base = {json.dumps(str(tiny_base))}
[dataset]
images = "images"
resolution = [64, 64]
bucket_step_px = 16
[subject]
trigger = "zkw"
class_word = "fox"
[lora]
rank = 2
[training]
steps = 4
device = "cpu"
precision = "no"
[saving]
output = "runs"
name = "zkw"
state_every_steps = 1
[samples]
sample_steps = 1
"""
    )
    return folder


def went(project: Path, **options: Any) -> AutoResult:
    stage = auto_events(project, AutoOptions(**options))
    while True:
        try:
            next(stage)
        except StopIteration as end:
            return end.value


def states(result: AutoResult) -> dict[str, str]:
    return {stage.name: stage.state for stage in result.stages}


def why(result: AutoResult, name: str) -> str:
    return next(stage.why for stage in result.stages if stage.name == name)


def test_what_is_checked_is_fresh_until_what_it_reads_changes(project: Path) -> None:
    first = went(project, until="check")
    assert states(first) == {"captions": "ran", "check": "ran"}
    assert why(first, "captions").startswith("3 pictures, 3 captions")
    assert states(went(project, until="check")) == {"captions": "fresh", "check": "fresh"}
    caption = project / "images" / "p1.txt"
    os.utime(caption)
    assert states(went(project, until="check")) == {"captions": "fresh", "check": "fresh"}, (
        "content counts, not time"
    )
    caption.write_text("zkw, sitting, red wall")
    config = project / "maquette.toml"
    config.write_text(config.read_text().replace("steps = 4", "steps = 5  # longer"))
    again = went(project, until="check")
    assert states(again) == {"captions": "ran", "check": "ran"}
    assert "1 caption changed (images/p1.txt)" in why(again, "check") and "steps 4 → 5" in why(again, "check")


def test_missing_captions_stop_the_way_before_anything_is_done(project: Path) -> None:
    (project / "images" / "p0.txt").unlink()
    (project / "images" / "p2.txt").write_text(" \n")
    done = CliRunner().invoke(maquette, ["auto", str(project), "--json"])
    assert done.exit_code == 1
    stages = json.loads(done.stdout.splitlines()[-1])["stages"]
    assert [set(stage) for stage in stages] == [{"name", "state", "why"}] * 7
    assert {stage["state"] for stage in stages} == {"stopped"}
    assert "2 of 3 pictures have no caption (p0.png, p2.png)" in stages[0]["why"]
    assert stages[1]["why"] == "not reached: captions stopped"
    assert not (project / "runs").exists()


def test_captions_that_somebody_writes_are_waited_for(project: Path) -> None:
    """Who writes holds the folder; the caption comes while the way waits, which is told as progress."""
    caption = project / "images" / "p0.txt"
    text = caption.read_text()
    caption.unlink()
    writer = hold(project / "images", "caption")
    stage = auto_events(project, AutoOptions(until="captions"))
    for event in stage:
        if isinstance(event, Progress):
            assert (event.done, event.total) == (2, 3)
            break
    caption.write_text(text)
    writer.release()
    with pytest.raises(StopIteration) as end:
        while True:
            next(stage)
    assert states(end.value.value) == {"captions": "ran"}


def test_a_wait_can_be_ended_and_ends_by_itself(project: Path) -> None:
    (project / "images" / "p0.txt").unlink()
    assert states(went(project, until="captions", wait_s=0.6)) == {"captions": "stopped"}
    stop = Stop()
    threading.Timer(0.3, stop.ask).start()
    with pytest.raises(Stopped):
        for _ in auto_events(project, AutoOptions(wait_s=60), stop):
            pass


def test_an_error_of_the_check_stops_the_way_each_time(project: Path) -> None:
    config = project / "maquette.toml"
    config.write_text(config.read_text().replace('device = "cpu"', 'device = "mps"'))
    for _ in range(2):
        result = went(project, until="plan")
        assert states(result) == {"captions": result.stages[0].state, "check": "stopped", "plan": "stopped"}
        assert "maquette check" in why(result, "check")


def test_a_run_that_cannot_fit_stops_at_the_plan(project: Path) -> None:
    result = went(project, until="train", memory="100MB")
    assert states(result)["plan"] == "stopped" and "it does not fit into 100 MiB" in why(result, "plan")
    assert states(result)["train"] == "stopped" and not (project / "runs").exists()


def test_two_walks_do_not_go_at_once(project: Path) -> None:
    held = hold(project / ".maquette" / "auto", "auto")
    done = CliRunner().invoke(maquette, ["auto", str(project), "--json"])
    assert done.exit_code == 2 and "in use by maquette auto" in done.output
    held.release()


def test_what_is_no_project_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(maquette, ["auto", str(tmp_path), "--json"])
    assert done.exit_code == 2 and "no maquette.toml there" in done.output


def test_a_difference_is_told_by_kind_with_some_names() -> None:
    before = {"setting steps": "4", "caption a": "1", "caption b": "1", "picture x": "1"}
    now = {"setting steps": "5", "caption a": "2", "caption b": "2", "picture y": "1"}
    assert (
        difference(before, now)
        == "steps 4 → 5; 2 captions changed (a, b); 1 picture new (y); 1 picture gone (x)"
    )
    assert difference(before, before) == ""


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    hashes = Hashes({})
    first = hashes.of(file)
    stamp = hashes.to_json()[str(file)]
    assert Hashes({str(file): [*stamp[:3], "known"]}).of(file) == "known"
    file.write_text("another")
    assert Hashes({str(file): [*stamp[:3], "known"]}).of(file) not in ("known", first)


def _begun(project: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from maquette.cli import main; main()",
            "auto",
            str(project),
            "--until",
            "train",
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_the_whole_way_killed_in_the_training_goes_on_and_is_fresh_afterwards(project: Path) -> None:
    config = project / "maquette.toml"
    config.write_text(config.read_text().replace("steps = 4", "steps = 16"))
    walk = _begun(project)
    state = project / "runs" / "zkw" / "metrics.jsonl"
    for _ in range(1200):
        if state.is_file() and state.read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.05)
    walk.send_signal(signal.SIGKILL)
    walk.wait()
    result = went(project, suite="quick", seeds=1)
    assert states(result) == {
        "captions": "fresh", "check": "fresh", "plan": "fresh", "train": "ran", "evaluate": "ran", "select": "ran",
        "deploy": "ran",
    }  # fmt: skip
    assert "went on where it had ended" in why(result, "train")
    assert (
        result.run == (project / "runs" / "zkw").resolve()
        and result.lora is not None
        and result.lora.is_file()
    )
    assert result.deploy["lora"] == str(result.lora) and result.deploy["command"].startswith(
        "maquette deploy "
    )
    assert set(states(went(project, suite="quick", seeds=1)).values()) == {"fresh"}
    (project / ".maquette" / "auto" / "stages.json").unlink()
    forgotten = went(project, until="train")
    assert states(forgotten)["train"] == "fresh" and "by another command" in why(forgotten, "train")
    result.lora.write_bytes(b"damaged")
    last = project / "runs" / "zkw" / "checkpoints" / "zkw.safetensors"
    last.unlink(missing_ok=True)
    assert states(went(project, until="train"))["train"] == "ran"

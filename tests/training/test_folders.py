"""Every run has a folder of its own, whoever else starts at the same moment, and a finished one can be trained longer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import maquette
from maquette.errors import MaquetteError
from maquette.events import Event, Progress
from maquette.files import write_atomic
from maquette.locking import HeldByAnother, hold
from maquette.project.config_file import dump_settings, load_settings
from maquette.runs.record import read_record
from maquette.training.claiming import claim

ShortRun = Callable[..., dict]


def _toml(settings: dict[str, Any], path: Path) -> Path:
    """Write a project's file of flat settings."""
    tables = dump_settings(load_settings(None, settings))
    lines: list[str] = []
    for section, table in tables.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {json.dumps(value)}" for name, value in table.items() if value is not None]
    write_atomic(path / "maquette.toml", "\n".join(lines))
    return path


def _texts(events: list[Event]) -> list[str]:
    return [getattr(event, "text", "") for event in events]


def test_each_training_of_a_project_has_the_next_name(short_run: ShortRun, tmp_path: Path) -> None:
    project = _toml(short_run(steps=1), tmp_path / "project")
    first = maquette.train(project)
    told: list[Event] = []
    second = maquette.train(project, on_event=told.append)
    assert [run.run.name for run in (first, second)] == ["zkw", "zkw-002"]
    assert second.lora.name == "zkw-002.safetensors" and second.record.run == "zkw-002"
    assert any("holds a finished run: this one is zkw-002" in text for text in _texts(told))
    assert not (first.run / ".maquette").exists()


def test_a_run_that_is_not_finished_is_named_before_another_begins(
    short_run: ShortRun, tmp_path: Path
) -> None:
    project = _toml(short_run(steps=1), tmp_path / "project")
    told: list[Event] = []

    def stop(event: Event) -> None:
        told.append(event)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            maquette.train(project, on_event=stop)
    run = short_run()["output"] / "zkw"
    assert (
        f"interrupted at step 0 of 1: this one is zkw-002. To go on with that one instead: maquette train --resume {run}"
        in told[-1].text
    )  # type: ignore[union-attr]


def test_what_is_being_trained_is_neither_resumed_nor_written_by_another(short_run: ShortRun) -> None:
    settings = short_run(name="zkw", steps=2)
    refused: list[str] = []

    def meddle(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 1:
            for again in ({"resume": settings["output"] / "zkw"}, settings):
                with pytest.raises(HeldByAnother) as caught:
                    maquette.train(**again)
                refused.append(str(caught.value))

    done = maquette.train(**settings, on_event=meddle)
    assert len(refused) == 2 and all(f"process {os.getpid()} on " in text for text in refused)
    assert done.record.state == "finished"


def test_two_that_are_prepared_at_once_have_two_folders(short_run: ShortRun) -> None:
    settings = load_settings(None, short_run())
    more = {"resume": None, "smoke": False}
    first, second = (claim(settings, next_name=True, **more) for _ in range(2))
    with pytest.raises(HeldByAnother):
        claim(settings, next_name=False, **more)
    assert [first.name, second.name] == ["zkw", "zkw-002"]
    for each in (first, second):
        each.close()
    assert not list(settings.saving.output.iterdir())


@pytest.mark.slow
def test_two_trainings_started_together_share_no_folder(short_run: ShortRun, tmp_path: Path) -> None:
    project = _toml(short_run(steps=3), tmp_path / "project")
    command = [sys.executable, "-c", "from maquette.cli import main; main()", "train", str(project), "--json"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [json.loads(child.communicate(timeout=300)[0].splitlines()[-1]) for child in children]
    assert sorted(Path(answer["run"]).name for answer in answers) == ["zkw", "zkw-002", "zkw-003"]
    assert len({answer["final_loss"] for answer in answers}) == 1
    assert all(Path(answer["lora"]).is_file() for answer in answers)


@pytest.mark.parametrize("left", [(), ("events.jsonl",), ("run.log", ".run.json.1-00000000-abcdefgh.part")])
def test_a_folder_that_was_begun_and_has_no_record_is_taken_again(short_run: ShortRun, left: tuple) -> None:
    settings = short_run(steps=1)
    run = settings["output"] / "zkw"
    hold(run, "train")  # and nobody lets it go, as after a kill
    for name in left:
        write_atomic(run / name, "")
    with pytest.raises(MaquetteError, match="begun"):
        maquette.train(resume=run)
    assert maquette.train(**settings).run == run


def test_a_folder_with_something_else_in_it_is_not_a_begun_run(short_run: ShortRun) -> None:
    settings = short_run(steps=1)
    write_atomic(settings["output"] / "zkw" / "thesis.txt", "mine")
    with pytest.raises(MaquetteError, match="exists"):
        maquette.train(**settings)


def test_a_name_that_is_too_long_for_the_disk_is_refused_before_anything_is_loaded(
    short_run: ShortRun,
) -> None:
    longest = os.pathconf(short_run()["output"].parent, "PC_NAME_MAX")
    for length in (longest - len(".safetensors") + 1, longest, longest + 1, 4 * longest):
        settings = short_run(name="n" * length)
        with pytest.raises(MaquetteError, match="too long for this disk"):
            maquette.train(**settings)
        assert not list(settings["output"].glob("n*"))


@pytest.mark.skipif(
    not Path("/proc/self").is_dir(), reason="no folder here that nobody may write, not even root"
)
def test_a_folder_that_nobody_may_write_is_refused_with_all_else_before_anything_is_loaded(
    short_run: ShortRun,
) -> None:
    events: list[Event] = []
    with pytest.raises(MaquetteError) as refused:
        maquette.train(**short_run(output=Path("/proc/maquette"), sampler="eulr"), on_event=events.append)
    places = [problem.where for problem in refused.value.problems]
    assert places[:2] == ["sampler", "/proc/maquette"], "both faults at once"
    assert "cannot be written" in str(refused.value) and not events


def test_a_run_folder_that_is_removed_under_way_is_said_at_the_next_step(short_run: ShortRun) -> None:
    settings = short_run(name="zkw")
    run = settings["output"] / "zkw"

    def remove(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 3:
            run.rename(run.with_name("moved"))

    with pytest.raises(MaquetteError, match="removed or replaced") as caught:
        maquette.train(**settings, on_event=remove)
    assert "--resume" not in str(caught.value)
    assert not run.exists() and read_record(run.with_name("moved")).state == "running"


# --- trained longer --------------------------------------------------------------------------------------


def _same(first: Path, second: Path) -> bool:
    one, two = load_file(first), load_file(second)
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_a_finished_run_is_trained_longer_as_if_it_had_been_planned_so(short_run: ShortRun) -> None:
    wanted = {"lr_scheduler": "constant_with_warmup", "warmup_steps": 2, "learning_rate": 1e-2}
    whole = maquette.train(**short_run(**wanted, name="whole", save_every_steps=4, steps=8))
    short = maquette.train(**short_run(**wanted, name="short", steps=4))
    four = short.lora.read_bytes()
    told: list[Event] = []
    longer = maquette.train(resume=short.run, steps=8, on_event=told.append)
    assert any("to the weights of a run planned so" in text for text in _texts(told))
    assert _same(whole.lora, longer.lora)
    kept = short.run / "checkpoints" / "short-step00000004.safetensors"
    assert _same(kept, whole.run / "checkpoints" / "whole-step00000004.safetensors")
    assert longer.lora == short.lora and longer.lora.read_bytes() != four
    record = read_record(short.run)
    assert [(Path(entry.path).name, entry.step) for entry in record.checkpoints] == [
        ("short-step00000004.safetensors", 4),
        ("short.safetensors", 8),
    ]
    assert record.settings.training.steps == 8 and "planned for 4 steps" in record.notes[0]


def test_a_schedule_that_depends_on_the_length_is_said(short_run: ShortRun) -> None:
    short = maquette.train(**short_run(steps=2, lr_scheduler="linear"))
    told: list[Event] = []

    def cut(event: Event) -> None:
        told.append(event)
        if isinstance(event, Progress) and event.stage == "train" and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maquette.train(resume=short.run, steps=4, on_event=cut)
    assert any("step 2 had 50% of the rate, step 3 has 50%" in text for text in _texts(told))
    longer = maquette.train(resume=short.run)
    assert longer.steps == 4 and [entry.step for entry in longer.record.checkpoints] == [2, 4]


def test_a_run_is_not_trained_shorter_nor_with_other_settings(short_run: ShortRun) -> None:
    done = maquette.train(**short_run(steps=3))  # an epoch
    before = done.lora.read_bytes()
    for length in ({"steps": 3}, {"steps": 1}, {"epochs": 1}, {}):
        with pytest.raises(MaquetteError, match=r"--steps N, with N above 3"):
            maquette.train(resume=done.run, **length)
    for wrong in ({"steps": 0}, {"steps": 4, "rank": 3}):
        with pytest.raises(MaquetteError):
            maquette.train(resume=done.run, **wrong)
    assert done.lora.read_bytes() == before and read_record(done.run).state == "finished"

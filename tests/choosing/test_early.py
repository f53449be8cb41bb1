"""Early stop: when a course is over, a run that ends early, and that judging changes no weight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import maquette
from maquette.choosing.decide import reading_of
from maquette.choosing.early import course_of
from maquette.events import Message, Stage, run_stage
from maquette.measuring.looks import read_first_look
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge as rules
from maquette.runs.choice import Choice, read_choice
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, read_record
from maquette.training.loop import TrainResult, run_job
from maquette.training.prepare import prepare
from maquette.world.cast import TRIGGER, write_training_pictures
from maquette.world.pack import base_path

from .making import cards_of, look_of

ShortRun = Callable[..., dict]


def course(*truths: float, seed: int = 0) -> tuple[str, int]:
    """Return the best and the number since of checkpoints with these true scores."""
    labels = {f"step {place}00": truth for place, truth in enumerate(truths, start=1)}
    prompts = [(f"p{number}", "full") for number in range(4)]
    look = look_of(labels, seed=seed, prompts=prompts)
    found = course_of(reading_of(look, cards_of(look)), look.checkpoints())
    return found.best, found.since


def test_a_course_that_rises_is_not_over_and_one_that_falls_counts() -> None:
    assert course(1.0, 2.0, 4.0, 6.0) == ("step 400", 0)
    assert course(1.0, 6.0, 4.0, 3.0) == ("step 200", 2)
    assert course(1.0, 6.0, 4.0, 7.0) == ("step 400", 0)
    assert course(5.0) == ("step 100", 0)


def test_a_slow_rise_that_pictures_show_is_a_rise() -> None:
    assert sum(course(3.0, 3.3, 3.6, 3.9, seed=seed)[1] == 0 for seed in range(10)) >= 9


def test_a_plateau_is_seen_within_a_few_checkpoints() -> None:
    assert sum(course(1.0, 5.0, 5.0, 5.0, 5.0, 5.0, seed=seed)[1] >= 2 for seed in range(20)) >= 14


def trained(settings: dict[str, Any], over_at: int | None, resume: Path | None = None) -> TrainResult:
    """Train with a judge that ends the run after a step, or never."""

    def judge(
        model: Any, adapter: Any, trial: int, record: RunRecord, folder: RunFolder, step: int
    ) -> Stage[bool]:
        yield Message(f"judged {step}")
        best = record.checkpoints[0]
        Choice(checkpoint=best.path, label=f"step {best.step}", step=best.step, strength=1.0).write(
            folder.path
        )
        return step == over_at

    with prepare(load_settings(None, settings), judge=rules, resume=resume) as job:
        return run_stage(run_job(job, judge=judge))


def test_a_run_that_is_over_ends_with_the_best_and_says_so(short_run: ShortRun) -> None:
    result = trained(short_run(save_every_steps=1, early_stop=1, steps=5), over_at=3)
    record = read_record(result.run)
    assert result.steps == record.step == 3 and record.state == "finished"
    assert result.lora.name == "zkw-step00000001.safetensors" and result.lora.is_file()
    assert "Stopped early after step 3 of 5" in record.notes[-1]
    assert {entry.step for entry in record.checkpoints} == {1, 2, 3}


def test_without_the_setting_nobody_is_asked(short_run: ShortRun) -> None:
    result = trained(short_run(save_every_steps=1, steps=2), over_at=1)
    assert result.steps == 2 and read_choice(result.run) is None


def test_resuming_ends_where_it_ended_unless_it_is_let_go_on(short_run: ShortRun) -> None:
    settings = short_run(save_every_steps=1, early_stop=1, steps=4)
    stopped = trained(settings, over_at=2)
    whole = trained(short_run(save_every_steps=1, steps=4, name="whole"), over_at=None)
    again = trained(settings, over_at=2, resume=stopped.run)
    assert again.steps == 2
    on = maquette.train(resume=stopped.run, early_stop=0)
    assert on.steps == 4
    ours, theirs = load_file(on.lora), load_file(whole.lora)
    assert all((ours[name] == value).all() for name, value in theirs.items())


@pytest.mark.slow
def test_a_run_that_stopped_early_is_reproduced_to_the_bit_as_far_as_it_went(short_run: ShortRun) -> None:
    stopped = trained(short_run(save_every_steps=1, early_stop=1, steps=4), over_at=2)
    again = maquette.reproduce(stopped.run)
    assert again.identical and {each.step for each in again.compared} == {1, 2} and not again.not_compared


@pytest.mark.slow
def test_several_processes_stop_early_together(short_run: ShortRun) -> None:
    result = trained(short_run(save_every_steps=1, early_stop=1, steps=6, processes=2), over_at=2)
    record = read_record(result.run)
    assert result.steps == record.step == 2 and record.state == "finished"
    assert "Stopped early after step 2 of 6" in record.notes[-1]


@pytest.mark.slow
def test_judging_the_small_world_stops_and_changes_no_weight(tmp_path: Path) -> None:
    write_training_pictures(tmp_path / "images")
    settings: dict[str, Any] = {
        "images": tmp_path / "images", "base": str(base_path()), "trigger": TRIGGER, "class_word": "character",
        "resolution": 64, "steps": 12, "save_every_steps": 4, "rank": 4, "learning_rate": 1e-3, "device": "cpu",
        "precision": "no", "output": tmp_path / "out", "sample_steps": 2, "seed": 1, "ignore_rules": ("SET",),
    }  # fmt: skip
    plain = maquette.train(**settings, name="plain")
    judged = maquette.train(**settings, name="judged", early_stop=9)
    look = read_first_look(judged.run / "judging" / "first_look.json")
    assert look.checkpoints() == ("no LoRA", "step 4", "step 8", "step 12")
    choice = read_choice(judged.run)
    assert (
        choice is not None
        and choice.decided_by == "early stop"
        and (judged.run / choice.checkpoint).is_file()
    )
    ours, theirs = load_file(judged.lora), load_file(plain.lora)
    assert all((ours[name] == value).all() for name, value in theirs.items())

"""Choosing from an evaluation on disk, and a person who overrules it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from maquette.choosing.options import SelectOptions
from maquette.choosing.select import choose_events, judged_in, select_events
from maquette.cli.app import maquette as command
from maquette.deploying.chosen import chosen_of
from maquette.errors import ConfigError, MaquetteError, OutputError
from maquette.events import run_stage
from maquette.measuring.protocol import Measure
from maquette.runs.choice import NAME, Probe, read_choice
from maquette.runs.folder import RunFolder
from maquette.runs.record import Checkpoint, read_record
from tests.runs.making import run_record

from .making import look_of

TRUTHS = {"step 100": 2.0, "step 200": 6.0, "step 300": 4.0}


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Return a folder with an evaluation of three checkpoints."""
    folder = tmp_path / "evaluation"
    look_of(TRUTHS, folder=folder).write()
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a finished run whose three checkpoints were evaluated; its LoRA files are there, its base is not."""
    folder = RunFolder(tmp_path / "run")
    entries = []
    for step in (100, 200, 300):
        path = folder.path / f"checkpoints/step-{step}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"lora")
        entries.append(
            Checkpoint(path=f"checkpoints/step-{step}.safetensors", step=step, epoch=1, final=step == 300)
        )
    run_record({}, run="zkw", state="finished", step=300, checkpoints=tuple(entries)).write(folder)
    rows = [
        {"step": step, "loss": 0.2 if step <= 100 else 0.1 if step <= 200 else 0.05} for step in range(1, 301)
    ]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    look_of(TRUTHS, folder=folder.evaluation).write()
    return folder.path


def test_the_folder_of_an_evaluation_is_chosen_from_and_keeps_the_choice(evaluation: Path) -> None:
    found = run_stage(select_events(evaluation, SelectOptions()))
    assert found.choice.label == "step 200" and found.choice.distinguishable and found.report is None
    assert read_choice(evaluation) == found.choice


def test_a_run_that_was_evaluated_is_not_drawn_again(run: Path) -> None:
    found = run_stage(select_events(run, SelectOptions()))
    choice = found.choice
    assert choice.checkpoint == "checkpoints/step-200.safetensors" and (run / choice.checkpoint).is_file()
    assert choice.runner_up == "checkpoints/step-300.safetensors"
    assert {each.rule: each.label for each in choice.rivals} == {
        "the last checkpoint": "step 300",
        "the lowest training loss": "step 300",
    }
    assert found.report is not None and found.report.is_file()


def test_the_command_answers_with_the_contract_s_keys(run: Path) -> None:
    result = CliRunner().invoke(command, ["select", str(run), "--json"])
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    answer = json.loads(line)
    assert {"checkpoint", "strength", "score", "runner_up", "distinguishable", "reasons"} <= answer.keys()
    assert answer["distinguishable"] is True and answer["strength"] == 1.0 and 0 < answer["score"] <= 1
    assert all(isinstance(reason, str) for reason in answer["reasons"])
    assert json.loads((run / NAME).read_text())["checkpoint"] == answer["checkpoint"]


def test_a_person_overrules_and_the_measures_are_told_beside(run: Path) -> None:
    wanted = SelectOptions(checkpoint="step-100", strength=0.8, reason="her hands")
    choice = run_stage(select_events(run, wanted)).choice
    assert choice.checkpoint == "checkpoints/step-100.safetensors" and choice.strength == 0.8
    assert choice.decided_by == "person" and "her hands" in choice.headline
    assert "step 200" in choice.reasons[0] and choice.runner_up == "checkpoints/step-200.safetensors"


def test_choosing_among_what_was_drawn_draws_nothing(run: Path) -> None:
    """Its base is not there, and a checkpoint is newer than the drawings: `select` would draw, and could not."""
    newer = run / "checkpoints/step-300.safetensors"
    os.utime(newer, (2e9, 2e9))
    with pytest.raises(MaquetteError):
        run_stage(select_events(run, SelectOptions()))
    kept = run_stage(choose_events(run, SelectOptions()))
    assert kept.choice.label == "step 200" and read_choice(run) == kept.choice
    mine = SelectOptions(checkpoint="step-300", reason="the hands")
    assert run_stage(choose_events(run, mine)).choice.decided_by == "person"
    assert chosen_of(run, read_record(run)).why == "chosen by person (choice.json)"
    assert Path(chosen_of(run, read_record(run)).checkpoint.path) == newer.relative_to(run)
    (run / "evaluation/first_look.json").unlink()
    with pytest.raises(OutputError, match="nothing was drawn yet"):
        run_stage(choose_events(run, SelectOptions()))


def test_words_that_were_drawn_one_by_one_stay_with_the_run_while_its_drawings_do(run: Path) -> None:
    made = run_stage(choose_events(run, SelectOptions())).choice
    drawn = Probe(word="pink hair", share=1.0, label=made.label, gain=3.0, low=2.0, high=4.0, pictures=4)
    replace(made, probes=(drawn,)).write(run)
    mine = SelectOptions(checkpoint="step-100", reason="her hands")
    assert run_stage(choose_events(run, mine)).choice.probes == (drawn,)
    again = run_stage(choose_events(run, SelectOptions())).choice
    assert again.probes == (drawn,) and "pink hair" in again.reasons[-1]
    look_of(TRUTHS, folder=run / "evaluation", seed=2).write()
    assert run_stage(choose_events(run, SelectOptions())).choice.probes == ()


def test_a_name_that_was_not_measured_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="step-200"):
        run_stage(select_events(run, SelectOptions(checkpoint="step-2000")))
    with pytest.raises(ConfigError, match="--checkpoint"):
        run_stage(select_events(run, SelectOptions(strength=0.5)))
    assert not (run / NAME).exists()


def test_a_folder_without_run_or_evaluation_is_bad_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["select", str(tmp_path), "--json"])
    assert result.exit_code == 2 and "error" in json.loads(result.stdout)


def test_pictures_that_nobody_measured_leave_the_last_checkpoint_and_say_so(evaluation: Path) -> None:
    look = judged_in(evaluation).look
    replace(look, looks=tuple(replace(each, scores={}) for each in look.looks), measures=()).write()
    choice = run_stage(select_events(evaluation, SelectOptions())).choice
    assert choice.label == "step 300" and choice.score is None and not choice.distinguishable
    assert choice.decided_by == "nobody" and "Cannot tell" in choice.headline and "vote" in choice.reasons[0]


def test_a_score_that_does_not_know_the_subject_decides_nothing(evaluation: Path) -> None:
    look = judged_in(evaluation).look
    technical = Measure(name="technical", title="Technical quality", definition="how sound.")
    looks = tuple(replace(each, scores={"technical": 0.9 - (each.step or 0) / 1000}) for each in look.looks)
    replace(look, looks=looks, measures=(technical,)).write()
    choice = run_stage(select_events(evaluation, SelectOptions())).choice
    assert choice.label == "step 300" and choice.decided_by == "nobody"

"""A search for real: trainings in a pack over the small world, killed and gone on with, its command and its answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from maquette.cli.app import maquette
from maquette.errors import OutputError
from maquette.locking import HeldByAnother
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.runs.record import read_record
from maquette.searching import opening
from maquette.searching.options import SearchOptions
from maquette.searching.records import RESULTS_NAME, StudyRecord, read_study
from maquette.searching.storage import open_storage
from maquette.searching.study import plan_in
from tests.searching.making import toy_project

SPACE = """
refuse = "learning_rate > 3e-3"
[space]
network_dim = { choose = [2, 4, 8] }
learning_rate = { low = 3e-4, high = 4e-3, log = true }
"""


def command(project: Path, *more: str) -> list[str]:
    (project.parent / "space.toml").write_text(SPACE)
    start = [
        "search",
        str(project),
        "--trials",
        "4",
        "--seed",
        "1",
        "--space",
        str(project.parent / "space.toml"),
    ]
    return [*start, *more]


def require_whole(project: Path, record: StudyRecord) -> None:
    """Every trial was trained once, to where the study says that it came."""
    folder = project / "search" / record.study
    assert sum(record.by_state().values()) == 4
    for each in record.trials:
        if each.state in ("finished", "pruned"):
            run = read_record(folder / (each.folder or ""))
            assert run.step == each.points[-1].step
            assert (each.state == "finished") == (run.step == run.schedule.steps)
            assert run.settings.training.seed == each.seed
            for name, value in each.settings.items():
                section = run.settings.lora if name in ("rank", "alpha") else run.settings.training
                assert getattr(section, name) == value


def test_the_command_searches_and_answers(tmp_path: Path) -> None:
    project = toy_project(tmp_path / "p", steps=6)
    more = ("--pack", "3", "--finalists", "1", "--finalist-seeds", "2", "--json")
    result = CliRunner().invoke(maquette, command(project, *more))
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert Path(found["study"]) == project / "search" / "study-001"
    assert set(found["best"]) >= {"settings", "value"}
    assert sum(found["trials"].values()) == 4
    assert found["seconds"] > 0
    assert found["trials_per_hour"] > 0
    assert found["finalists"] == {"trained": 4, "asked": 4}
    assert found["beats_baseline"] in (True, False, None)
    record = read_study(Path(found["study"]))
    assert record.pruned_by_constraint == found["pruned_by_constraint"]
    assert record.state == "finished"
    require_whole(project, record)
    status = CliRunner().invoke(maquette, ["search", str(project), "--status", "--json"])
    told = json.loads(status.stdout.splitlines()[-1])
    assert (told["running"], told["trials"]) == (False, found["trials"])


def test_what_is_wrong_is_told_in_words(tmp_path: Path) -> None:
    project = toy_project(tmp_path / "p")
    for arguments, told in (
        ((str(project), "--resume"), "no study was begun"),
        ((str(project), "--status"), "no study was begun"),
        ((str(tmp_path),), "maquette.toml"),
        ((str(project), "--trials", "0"), "--trials"),
        ((str(project), "--space", str(tmp_path / "none.toml")), "none.toml"),
    ):
        result = CliRunner().invoke(maquette, ["search", *arguments])
        assert result.exit_code == 2, result.stderr
        assert told in result.stderr
        assert "Traceback" not in result.stderr


def test_the_space_is_printed_as_it_is_read(tmp_path: Path) -> None:
    project = toy_project(tmp_path / "p")
    result = CliRunner().invoke(maquette, ["search", str(project), "--print-space"])
    assert result.exit_code == 0, result.stderr
    (tmp_path / "own.toml").write_text(result.stdout)
    from maquette.searching.space_file import read_space

    assert [each.name for each in read_space(tmp_path / "own.toml").parameters][:2] == [
        "network_dim",
        "network_alpha_ratio",
    ]


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_comes_to_the_same(tmp_path: Path) -> None:
    """One trial after another, so that the whole search is the same, proposals and losses, however often it is killed."""
    whole, torn = (toy_project(tmp_path / name / "p", steps=9) for name in ("whole", "torn"))
    more = ("--pack", "1", "--finalists", "0")
    assert CliRunner().invoke(maquette, command(whole, *more)).exit_code == 0
    arguments = command(torn, *more)
    for least in (
        1,
        2,
        4,
    ):  # losses that were measured by then: killed in a first trial, between two, in a later one
        process = start(arguments)
        while measured(torn) < least and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        arguments = ["search", str(torn), "--resume"]
    assert start(arguments).wait(timeout=600) == 0
    expected, found = (read_study(project / "search" / "study-001") for project in (whole, torn))
    require_whole(torn, found)
    for one, other in zip(expected.trials, found.trials, strict=True):
        assert (one.params, one.state, one.points, one.value) == (
            other.params,
            other.state,
            other.points,
            other.value,
        )


def start(arguments: list[str]) -> subprocess.Popen[bytes]:
    code = "from maquette.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def test_who_begins_a_study_meanwhile_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its database and its space a study looks like one that was killed while it was begun."""
    project = toy_project(tmp_path / "p", steps=6)
    begin = opening.begin_study

    def beside_another(*given: Any) -> None:
        with pytest.raises(HeldByAnother, match="search"):
            new()
        begin(*given)

    def new() -> opening.Opened:
        return opening.new_search(project, load_settings(project), SearchOptions(study="one"), judge)

    monkeypatch.setattr(opening, "begin_study", beside_another)
    opened = new()
    assert plan_in(open_storage(opened.url), "one") == opened.study.plan
    with pytest.raises(OutputError, match="exists"):
        new()


def measured(project: Path) -> int:
    """Return how many losses the study has written down."""
    file = project / "search" / "study-001" / RESULTS_NAME
    return sum(len(each.points) for each in read_study(file.parent).trials) if file.is_file() else 0


@pytest.mark.slow
def test_pictures_are_the_objective_and_what_draws_badly_is_not_drawn_in_full(tmp_path: Path) -> None:
    """A trial that learns next to nothing, beside a baseline that learned the character."""
    project = toy_project(tmp_path / "p", steps=32)
    (tmp_path / "space.toml").write_text(
        "safety = false\n[space]\nlearning_rate = { low = 1e-5, high = 2e-5 }\ntext_encoder_lr = { choose = [1e-5] }\n"
    )
    more = (
        *("--objective", "score", "--trials", "2", "--pack", "1", "--halving", "1", "--finalists", "0"),
        *("--space", str(tmp_path / "space.toml"), "--json"),
    )
    result = CliRunner().invoke(maquette, ["search", str(project), *more])
    assert result.exit_code == 0, result.stderr
    record = read_study(project / "search" / "study-001")
    baseline, other = record.trials
    assert (baseline.state, baseline.value) == ("finished", baseline.score)
    assert 0 < (baseline.score or 0) <= 1
    assert record.best == baseline.number
    assert (other.state, other.behind, other.value) == ("pruned", baseline.number, None)
    assert other.score is not None and other.score < (baseline.score or 0)
    assert other.chance is not None and other.chance < record.paired_level / 2
    assert other.step == other.steps
    assert len(drawn_by(project, baseline.folder)) > len(drawn_by(project, other.folder)) > 0
    page = (project / "search" / "study-001" / "report.html").read_text()
    assert "1 ended by their pictures" in page
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["objective"] == "score"
    assert found["trials"] == {"finished": 1, "pruned": 1, "failed": 0}


def drawn_by(project: Path, folder: str | None) -> list[Path]:
    """Return the pictures that were drawn with a trial's LoRA, those of the base alone left out."""
    pictures = project / "search" / "study-001" / (folder or "") / "evaluation" / "pictures"
    return [each for each in pictures.rglob("*.png") if each.parent.name != "no-LoRA"]

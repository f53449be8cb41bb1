"""Real workers of a real search: one is killed in the middle of a trial, another goes on from what it handed on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

import maquette
from maquette.cli.app import maquette as maquette_command
from maquette.cli.search_worker import command
from maquette.demo.project import write_demo_project
from maquette.errors import ConfigError
from maquette.logs.metrics import read_metrics
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.searching.joining import joined_search
from maquette.searching.leases import Leases, Worker
from maquette.searching.opening import new_search
from maquette.searching.options import SearchOptions, WorkerOptions
from maquette.searching.sharing import SharedFiles, reached, states_of
from maquette.searching.storage import engine_of, open_storage, require_optuna
from maquette.searching.working import leases_of
from tests.conftest import REPOSITORY
from tests.searching.databases import wait_until
from tests.searching.making import TOY, toy_project

require_optuna()
PROGRAM = "from maquette.cli import main; main()"
STEPS = 100
SPACE = "safety = false\n[space]\nlearning_rate = { low = 3e-4, high = 3e-3, log = true }\n"


def start(*words: object) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-c", PROGRAM, *map(str, words)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_a_worker_on_another_disk_goes_on_where_a_killed_one_was(tmp_path: Path) -> None:
    first, second, files = tmp_path / "first", tmp_path / "second", tmp_path / "files"
    write_demo_project(first, seed=1, steps=STEPS)
    config = first / "maquette.toml"
    told = config.read_text().replace("batch_size = 4", "batch_size = 1")
    config.write_text(told.replace("[saving]\n", "[saving]\nstate_every_steps = 5\n"))
    shutil.copytree(first, second)
    (tmp_path / "space.toml").write_text(SPACE)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    asked = ("--trials", 1, "--pack", 1, "--halving", 1, "--finalists", 0, "--space", tmp_path / "space.toml")
    begun = start("search", first, "--storage", url, "--files", files, *asked)
    there = files / "study-001" / "trials" / "000"
    wait_until(lambda: there.is_dir() and states_of(there) and (there / "run.json").is_file(), 300)
    os.kill(begun.pid, signal.SIGKILL)
    _, said = begun.communicate()
    assert reached(there)[1] >= 5, said.decode()
    handed = max(states_of(there))
    found = start("search", "worker", second, "--storage", url, "--files", files, "--json")
    out, said = found.communicate(timeout=300)
    assert found.returncode == 0, said.decode()
    answer = json.loads(out.splitlines()[-1])
    assert answer["trials"]["finished"] == 1 and answer["ended"] == [0] and answer["state"] == "finished"
    assert "begun by another worker, goes on at step" in said.decode()
    own = second / "search" / "study-001" / "trials" / "000"
    record = json.loads((own / "run.json").read_text())
    assert record["state"] == "finished" and record["step"] == STEPS
    # What the first one trained was not trained again: its lines stand before those of the second.
    before = [row["step"] for row in read_metrics(own / "metrics.jsonl") if row["step"] <= handed]
    assert before == list(range(1, handed + 1))
    assert reached(there) == reached(own)


def test_what_is_handed_on_is_what_is_brought_and_the_newer_one_stays(whole_run: Any, tmp_path: Path) -> None:
    own, other, shared = tmp_path / "own", tmp_path / "other", tmp_path / "shared" / "s"
    trial = own / "trials" / "000"
    shutil.copytree(whole_run.run, trial)
    here, elsewhere = SharedFiles(shared, own), SharedFiles(shared, other)
    assert not elsewhere.bring(other / "trials" / "000"), "there is nothing yet"
    here.hand_on_states(trial)
    assert elsewhere.bring(other / "trials" / "000")
    for file in trial.rglob("*"):
        copy = other / "trials" / "000" / file.relative_to(trial)
        if file.is_file() and ".maquette" not in file.parts and "events" not in file.parts:
            assert copy.read_bytes() == file.read_bytes()
    assert not here.bring(trial) and not elsewhere.bring(other / "trials" / "000"), "as far here as there"
    for state in (trial / "state").glob("*.safetensors"):
        state.unlink()
    here.hand_on(trial)
    assert not states_of(shared / "trials" / "000"), "what is gone goes there too"


def begun_study(tmp_path: Path) -> tuple[Path, str]:
    project = toy_project(tmp_path / "p")
    (tmp_path / "space.toml").write_text(TOY)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    asked = SearchOptions(trials=2, space=tmp_path / "space.toml", storage=url, finalists=0)
    opened = new_search(project, load_settings(project), asked, judge)
    leases = leases_of(opened.study, url)
    leases.join()
    return project, url


def test_a_worker_with_other_pictures_or_settings_is_refused(tmp_path: Path) -> None:
    project, url = begun_study(tmp_path)
    options = WorkerOptions(storage=url)
    joined = joined_search(project, load_settings(project), options, judge)
    assert joined.study.plan.trials == 2
    other = tmp_path / "other"
    shutil.copytree(project, other, ignore=shutil.ignore_patterns("search"))
    caption = next(iter(sorted((other / "images").rglob("*.txt"))))
    caption.write_text(f"{caption.read_text().strip()}, something else")
    opened = joined_search(other, load_settings(other), options, judge)
    with pytest.raises(ConfigError, match="pictures here is not what process"):
        leases_of(opened.study, url)
    with pytest.raises(ConfigError, match=r"maquette\.toml"):
        joined_search(project, load_settings(project, {"learning_rate": 1e-4}), options, judge)
    with pytest.raises(ConfigError, match="--study"):
        joined_search(project, load_settings(project), WorkerOptions(storage=url, study="nothing"), judge)


def test_sqlite_is_refused_to_a_worker_of_another_machine(tmp_path: Path) -> None:
    project, url = begun_study(tmp_path)
    engine = engine_of(open_storage(url))
    Leases(engine, "study-001", worker=Worker(host="elsewhere", place="elsewhere", process="b/1/1")).join()
    opened = joined_search(project, load_settings(project), WorkerOptions(storage=url), judge)
    with pytest.raises(ConfigError, match="PostgreSQL for workers on several machines"):
        leases_of(opened.study, url)


def test_no_password_is_written_anywhere(tmp_path: Path) -> None:
    """A search on a database that is not there: what it says and leaves behind holds no password."""
    project = toy_project(tmp_path / "p")
    url = "postgresql://me:geheim@127.0.0.1:1/studies"
    done = start("search", "worker", project, "--storage", url, "--json")
    here = CliRunner().invoke(maquette_command, ["search", str(project), "--storage", url, "--json"])
    out, said = done.communicate(timeout=120)
    for code, told in ((done.returncode, out + said), (here.exit_code, here.output.encode())):
        assert code == 2 and b"me@127.0.0.1:1" in told
        assert b"geheim" not in told
    assert not [each for each in tmp_path.rglob("*") if each.is_file() and b"geheim" in each.read_bytes()]


def test_the_task_file_for_rented_machines_is_one_and_runs_a_command_that_there_is() -> None:
    task = yaml.safe_load((REPOSITORY / "examples" / "search-worker.sky.yaml").read_text())
    assert set(task) == {"name", "resources", "envs", "secrets", "file_mounts", "setup", "run"}
    assert task["secrets"] == {"PGPASSWORD": None}
    words = task["run"].split()
    assert words[:3] == ["maquette", "search", "worker"]
    known = {flag for each in command.params if isinstance(each, click.Option) for flag in each.opts}
    assert {each for each in words if each.startswith("--")} <= known
    assert maquette.__version__

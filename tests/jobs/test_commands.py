"""The queue as people and scripts use it: real runners and workers in a home of their own."""

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

from maquette.cli.app import COMMANDS, maquette
from maquette.cli.detaching import ready
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Request
from maquette.jobs.starting import RUNNER, detached
from maquette.processes import is_alive, pid_of
from tests.conftest import make_pictures

REPLACE = ("--find", "blue", "--replace", "red")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(maquette, [str(argument) for argument in arguments])


def answer(*arguments: object) -> dict[str, Any]:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_command_goes_through_the_queue_and_is_heard_to_its_end(pictures: Path) -> None:
    first = answer("caption", pictures, *REPLACE, "--detach")
    wrong = answer("caption", pictures / "nowhere", *REPLACE, "--detach")["job"]
    second = answer("queue", "add", "caption", pictures, "--find", "red", "--replace", "green")
    assert set(first) >= {"job", "run"} and second["job"] == first["job"] + 2
    watched = run("watch", second["job"], "--json")
    events = [json.loads(line) for line in watched.stdout.splitlines()]
    assert watched.exit_code == 0
    assert [each["sequence"] for each in events] == list(range(len(events)))
    states = [each["state"] for each in events if each["event"] == "state"]
    assert states == ["queued", "running", "done"] and events[-1]["event"] == "state"
    jobs = answer("queue", "list")["jobs"]
    assert [job["state"] for job in jobs] == ["done", "failed", "done"]
    assert "nowhere" in jobs[1]["error"] and run("watch", wrong, "--json").exit_code == 1
    assert set(jobs[0]) >= {"id", "kind", "state", "progress", "run", "error"}
    assert len(jobs[0]["result"]["written"]) == 3
    assert "green wall" in (pictures / "p0.txt").read_text(), "in their order"
    later = run("watch", second["job"], "--json", "--after", events[-2]["sequence"])
    assert later.stdout.splitlines() == watched.stdout.splitlines()[-1:]


def test_who_watches_sees_to_what_nobody_sees_to(pictures: Path) -> None:
    """The job was taken by a runner that is gone, together with the worker that it was about to start."""
    with Ledger() as ledger:
        job = ledger.add(Request(kind="caption", arguments=(str(pictures), *REPLACE), cwd=pictures)).id
        assert ledger.take(job) == 1
    watched = run("watch", job, "--json")
    states = [json.loads(line)["state"] for line in watched.stdout.splitlines() if '"state"' in line]
    assert watched.exit_code == 0
    assert states == ["queued", "running", "interrupted", "queued", "running", "done"]


@pytest.mark.slow
def test_of_runners_started_together_one_stays_and_a_killed_one_is_replaced(
    home: Path, pictures: Path
) -> None:
    with Ledger() as ledger:
        log = ledger.folder / "runner.log"
        runners = [detached([RUNNER, str(ledger.folder)], log, ledger.folder) for _ in range(3)]
        for _ in range(300):
            if sum(each.poll() is None for each in runners) == 1 and is_alive(ledger.runner()):
                break
            time.sleep(0.05)
        (one,) = [each for each in runners if each.poll() is None]
        assert pid_of(ledger.runner() or "") == one.pid
        os.kill(one.pid, signal.SIGKILL)
        one.wait()
        job = answer("caption", pictures, *REPLACE, "--detach")["job"]
        assert run("watch", job, "--json").exit_code == 0


def test_wrong_input_is_said_before_anything_is_queued(pictures: Path) -> None:
    for arguments, word in (
        (("train", pictures, "--steps", "none", "--detach"), "steps"),
        (
            ("queue", "add", "caption", pictures, "--url", "http://me:word@host/v1"),
            "an address with a password",
        ),
        (("queue", "add", "trian", pictures), "Did you mean 'train'?"),
        (("queue", "add", "caption", pictures, "--fnid", "x"), "--fnid"),
        (("queue", "pause", 7), "no such job"),
        (("watch", pictures / "nowhere"), "no such job or run"),
        (("watch",), "there are no jobs"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2 and word in done.output, done.output
    assert answer("queue", "list")["jobs"] == []


def test_an_address_with_a_password_is_not_kept_in_the_queue(home: Path) -> None:
    done = run("queue", "add", "train", "project", "--logging-dir", "postgresql://me:geheim@db/s")
    assert done.exit_code == 2 and ".pgpass" in done.output and "geheim" not in done.output
    assert answer("queue", "list")["jobs"] == []


def test_a_search_is_gone_on_with_by_the_name_that_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "search", "")
    with Ledger() as ledger:
        job = ledger.add(Request(kind="search", arguments=(str(tmp_path), "--trials", "3"), cwd=tmp_path)).id
        first = ready(ledger, ledger.job(job))
        assert first == (str(tmp_path), "--trials", "3", "--study", "study-001")
        assert ready(ledger, ledger.job(job)) == first, "nothing was begun there"
        study = tmp_path / "search" / "study-001"
        study.mkdir(parents=True)
        (study / "study.db").touch()
        assert ready(ledger, ledger.job(job)) == first, "what was killed as it was begun is no study"
        (study / "space.toml").touch()
        assert ready(ledger, ledger.job(job)) == (str(tmp_path), "--resume", "--study", "study-001")


def _train(base: Path, images: Path, output: Path, *more: object) -> list[object]:
    return [
        "train", images, "--base", base, "--trigger", "zkw", "--steps", 30, "--rank", 2, "--resolution", 64,
        "--bucket-step-px", 16, "--device", "cpu", "--precision", "no", "--output", output, "--state-every-steps", 5,
        "--save-precision", "fp32", "--dropout", 0.1, "--name", "zkw", *more,
    ]  # fmt: skip


def _weights(run: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: each.tobytes() for name, each in load_file(run / "checkpoints" / "zkw.safetensors").items()}


def _until_step(ledger: Ledger, job: int, step: int) -> None:
    for _ in range(1200):
        found = ledger.job(job)
        if found.stage == "train" and found.done >= step:
            return
        assert not found.is_over, found.error
        time.sleep(0.05)
    raise AssertionError("it never came so far")


@pytest.mark.slow
def test_a_training_is_killed_paused_and_its_runner_killed_and_ends_to_the_bit(
    tiny_base: Path, tmp_path: Path
) -> None:
    images = make_pictures(tmp_path / "images", [(96, 96), (96, 96), (144, 72)])
    assert run(*_train(tiny_base, images, tmp_path / "plain")).exit_code == 0
    told = answer(*_train(tiny_base, images, tmp_path / "out"), "--detach")
    job, folder = told["job"], Path(told["run"])
    with Ledger() as ledger:
        _until_step(ledger, job, 7)
        os.kill(pid_of(ledger.job(job).worker or ""), signal.SIGKILL)
        _until_attempt(ledger, job, 2)
        _until_step(ledger, job, 12)
        os.kill(pid_of(ledger.runner() or ""), signal.SIGKILL)
        assert answer("queue", "pause", job)["state"] in ("running", "paused")
        for _ in range(600):
            if ledger.job(job).state == "paused":
                break
            time.sleep(0.05)
        assert ledger.job(job).state == "paused"
        assert answer("queue", "resume", job)["state"] == "queued"
        watched = run("watch", job, "--json")
        assert watched.exit_code == 0
    events = [json.loads(line) for line in watched.stdout.splitlines()]
    assert [each["sequence"] for each in events] == list(range(len(events)))
    states = [each["state"] for each in events if each["event"] == "state"]
    assert states == [
        "queued", "running", "interrupted", "queued", "running", "paused", "queued", "running", "done",
    ]  # fmt: skip
    assert _weights(folder) == _weights(tmp_path / "plain" / "zkw")


def _until_attempt(ledger: Ledger, job: int, attempt: int) -> None:
    for _ in range(600):
        if ledger.job(job).attempt >= attempt and ledger.job(job).worker:
            return
        time.sleep(0.05)
    raise AssertionError("nobody took it again")


@pytest.mark.slow
def test_a_cancelled_training_keeps_its_checkpoints_and_names_are_kept_apart(
    tiny_base: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = answer(*_train(tiny_base, pictures, out, "--save-every-steps", 5), "--detach")
    clash = run(*_train(tiny_base, pictures, out), "--detach")
    assert clash.exit_code == 2 and f"job {first['job']} trains it" in clash.output
    with Ledger() as ledger:
        _until_step(ledger, first["job"], 6)
        answer("queue", "cancel", first["job"])
    assert run("watch", first["job"], "--json").exit_code == 1
    assert answer("queue", "show", first["job"])["state"] == "cancelled"
    assert (out / "zkw" / "checkpoints" / "zkw-step00000005.safetensors").is_file()


@pytest.mark.skipif(os.name != "posix", reason="sessions of POSIX")
def test_a_job_outlives_the_session_that_started_it(home: Path, pictures: Path) -> None:
    """The whole session is killed, as a closed terminal or a lost login does it, right after the command has answered."""
    program = f"import sys; sys.argv = ['maquette', 'caption', {str(pictures)!r}, *{REPLACE!r}, '--detach', '--json']"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nfrom maquette.cli import main\nmain()"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
        check=True,
    )
    job = json.loads(done.stdout)["job"]
    with Ledger() as ledger:
        runner = ledger.runner()
        assert run("watch", job, "--json").exit_code == 0
        runner = ledger.runner() or runner
        if runner and is_alive(runner):
            assert os.getsid(pid_of(runner)) == pid_of(runner), "a session of its own"


def test_a_waiting_job_moves_by_one_place_and_one_place_alone_is_given(tmp_path: Path) -> None:
    with Ledger() as ledger:
        first, second = (ledger.add(Request(kind="check", arguments=("x",), cwd=tmp_path)).id for _ in "ab")
        for job in (first, second):
            ledger.pause(job)  # no runner takes them meanwhile
    assert [job["id"] for job in answer("queue", "move", second, "--up")["jobs"]] == [second, first]
    assert [job["id"] for job in answer("queue", "move", second, "--down")["jobs"]] == [first, second]
    both = run("queue", "move", second, "--up", "--last")
    assert both.exit_code == 2 and "--up" in both.stderr
    ended = answer("queue", "cancel", second, "--now")
    assert (ended["state"], ended["lost"]) == ("cancelled", "It does not run: nothing is lost.")


@pytest.mark.parametrize("wish", ["save", "sample"])
def test_only_a_training_at_work_can_be_asked(tmp_path: Path, wish: str) -> None:
    with Ledger() as ledger:
        job = ledger.add(Request(kind="check", arguments=("x",), cwd=tmp_path)).id
        ledger.pause(job)
    for what, said in ((job, "trains no run"), (99, "no such job"), (tmp_path, "no such job or run")):
        refused = run("queue", wish, what)
        assert refused.exit_code == 2 and said in refused.stderr

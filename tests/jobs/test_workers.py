"""Workers and runners as real processes, really killed: every loss is found, nothing is run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Request
from maquette.jobs.runner import device_of
from maquette.jobs.settling import settle
from maquette.jobs.starting import end_remains
from maquette.processes import identity_of, is_alive, own_identity, pid_of

LONE_WORKER = Path(__file__).with_name("lone_worker.py")
posix = pytest.mark.skipif(os.name != "posix", reason="sessions and signals of POSIX")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "jobs") as opened:
        yield opened


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a worker of a job, which waits once it told that it came to `done`."""
    started: list[subprocess.Popen[str]] = []

    def begin(ledger: Ledger, job: int, attempt: int, done: int = 0) -> subprocess.Popen[str]:
        arguments = [str(ledger.folder), str(job), str(attempt), str(done)]
        process = subprocess.Popen(
            [sys.executable, str(LONE_WORKER), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield begin
    for each in started:
        each.kill()
        each.communicate()


def added(ledger: Ledger) -> tuple[int, int]:
    job = ledger.add(Request(kind="evaluate", arguments=(), cwd=Path("/"))).id
    return job, ledger.take(job) or 0


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(400):
        if is_so():
            return
        time.sleep(0.02)
    raise AssertionError("it never came")


def test_a_killed_worker_is_found_and_its_job_goes_on_where_it_stood(ledger: Ledger, start: Start) -> None:
    job, attempt = added(ledger)
    worker = start(ledger, job, attempt, 3)
    until(lambda: ledger.job(job).done == 3)
    assert settle(ledger) == [] and ledger.job(job).state == "running"
    worker.kill()
    # It waits to be noticed by its parent, and is gone all the same.
    until(lambda: not is_alive(ledger.job(job).worker))
    assert [lost.id for lost in settle(ledger)] == [job]
    assert ledger.job(job).state == "interrupted" and "its process is gone" in str(ledger.job(job).error)
    assert ledger.retry(job, 3) and ledger.take(job) == 2
    assert start(ledger, job, attempt).wait() == 3, (
        "who comes late to an attempt that was given up does nothing"
    )
    start(ledger, job, 2)
    assert ledger.job(job).state == "running" and settle(ledger) == []


@pytest.mark.parametrize(("change", "after"), [(Ledger.pause, "paused"), (Ledger.cancel, "cancelled")])
def test_a_worker_heeds_what_is_asked_of_it(ledger: Ledger, start: Start, change, after: str) -> None:  # type: ignore[no-untyped-def]
    job, attempt = added(ledger)
    worker = start(ledger, job, attempt)
    change(ledger, job)
    assert worker.wait(20) == 0
    assert ledger.job(job).state == after


def test_the_number_of_a_process_alone_is_nobody() -> None:
    boot, pid, begun = own_identity().split("/")
    assert is_alive(own_identity())
    assert not is_alive(f"{boot}/{pid}/{begun}1"), "the number is another's by now"
    assert not is_alive(f"another-{boot}/{pid}/{begun}"), "the machine was started anew"
    assert not is_alive(None)


def test_what_is_still_starting_is_left_to_who_started_it_and_given_up_by_others(ledger: Ledger) -> None:
    job, _ = added(ledger)
    assert settle(ledger, [job]) == []
    assert [lost.id for lost in settle(ledger)] == [job]


@posix
def test_helpers_of_a_lost_worker_are_ended(tmp_path: Path) -> None:
    program = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    leader = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert leader.stdout is not None
    helper = int(leader.stdout.readline())
    who = identity_of(leader.pid) or ""
    end_remains(who)
    assert identity_of(helper), "a worker that lives keeps its helpers"
    os.kill(pid_of(who), signal.SIGKILL)
    leader.wait()
    end_remains(who)
    until(lambda: identity_of(helper) is None)
    leader.stdout.close()


def test_devices_are_told_apart_by_what_they_are() -> None:
    assert device_of("auto", "cuda") == device_of("cuda", "cpu") == device_of("cuda:0", "mps") == "cuda:0"
    assert device_of("auto", "cpu") == device_of("cpu", "cuda") != device_of("cuda:1", "cuda")

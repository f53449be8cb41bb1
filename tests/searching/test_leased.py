"""Several workers search one study: each trial is trained once, its end is told once, whoever is killed when."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maquette.searching.director import SearchDirector
from maquette.searching.keeping import Keeper
from maquette.searching.leased import LeasedDirector
from maquette.searching.leases import Worker
from maquette.searching.study import SearchStudy
from tests.conftest import REPOSITORY
from tests.searching.databases import postgres, wait_until
from tests.searching.directing import open_study, work
from tests.searching.making import toy_basis, toy_project

PLAN = {"trials": 8, "seed": 4, "sampler": "random", "finalists": 1, "finalist_seeds": 1}


def told(study: SearchStudy) -> dict[int, tuple[object, ...]]:
    return {
        each.number: (each.role, each.state, each.value, each.points, dict(each.params), each.seed)
        for each in study.trials()
    }


def kill_at_random(url: str, project: Path, folder: Path, kills: int) -> None:
    chance = random.Random(7)

    def start(place: int) -> subprocess.Popen[bytes]:
        # One is seen by the others when it is gone; the rest are as on machines of their own.
        where = f"machine {place}" if place else ""
        program = [sys.executable, "-m", "tests.searching.directing", url, str(project), str(folder), where]
        return subprocess.Popen(program, cwd=REPOSITORY, stderr=subprocess.PIPE)

    workers = [start(place) for place in range(3)]
    for _ in range(kills):
        before = len(steps(folder))
        wait_until(lambda before=before: len(steps(folder)) > before)
        time.sleep(chance.uniform(0.0, 0.1))
        place = chance.randrange(3)
        os.kill(workers[place].pid, signal.SIGKILL)
        workers[place].wait()
        workers[place] = start(place)
    for each in workers:
        _, said = each.communicate(timeout=180)
        assert each.returncode == 0, said.decode()


def steps(folder: Path) -> list[str]:
    return (folder / "steps").read_text().split("\n")[:-1] if (folder / "steps").exists() else []


def compare(url: str, tmp_path: Path, kills: int) -> None:
    project = toy_project(tmp_path / "project", steps=18)
    (folder := tmp_path / "killed").mkdir()
    (alone := tmp_path / "alone").mkdir()
    study, _ = open_study(url, toy_basis(), Worker(), **PLAN)  # begun, so that all workers know the plan
    kill_at_random(url, project, folder, kills)
    undisturbed = work(f"sqlite:///{alone / 'study.db'}", project, alone, Worker(), **PLAN)
    assert study.is_over
    found, expected = told(study), told(undisturbed)
    for number, wanted in expected.items():
        # Who is pruned depends on who came to a rung before; what a trial is and what it came to does not.
        assert (found[number][0] == wanted[0] and found[number][4:] == wanted[4:]) or wanted[0] == "finalist"
        if found[number][1] == wanted[1] == "finished":
            assert found[number][2] == wanted[2]
    states = [each.state for each in study.trials()]
    assert set(states) <= {"finished", "pruned", "refused"}
    counted = study.record().by_state()
    assert counted["finished"] + counted["pruned"] == PLAN["trials"]


@pytest.mark.slow
def test_of_workers_killed_at_random_the_search_comes_to_the_same(tmp_path: Path) -> None:
    compare(f"sqlite:///{tmp_path / 'study.db'}", tmp_path, kills=2)


@pytest.mark.slow
def test_and_so_it_does_on_postgresql(tmp_path: Path) -> None:
    with postgres() as server:
        compare(server.url, tmp_path, kills=5)


def two_workers(tmp_path: Path) -> tuple[LeasedDirector, LeasedDirector, list[Keeper]]:
    made = []
    for _ in range(2):
        study, leases = open_study(f"sqlite:///{tmp_path / 'study.db'}", toy_basis(), Worker(), **PLAN)
        keeper = Keeper(leases).__enter__()
        made.append((LeasedDirector(SearchDirector(study, tmp_path), keeper), keeper))
    return made[0][0], made[1][0], [each for _, each in made]


def test_what_a_worker_says_of_a_trial_that_went_to_another_does_not_count(tmp_path: Path) -> None:
    one, two, keepers = two_workers(tmp_path)
    (trial,) = one.next(1)
    one.keeper.leases.release([trial.number])  # as if it had been away for longer than its lease
    (same,) = two.next(1)
    assert same.number == trial.number
    assert two.told == [
        "trial 0, begun by another worker, begins again: nothing of it lies on this disk or in --files"
    ]
    assert one.measured(trial, trial.rungs[0], 5.0, None)
    one.failed(trial, "it ran out of memory")
    assert one.beat([trial]) == () and trial.number not in one.director.held
    found = one.director.study.trial(trial.number)
    assert (found.state, found.points) == ("running", ())
    assert two.measured(same, same.rungs[0], 0.5, None)
    assert [each.loss for each in two.director.study.trial(0).points] == [0.5]
    for each in keepers:
        each.__exit__()


def test_a_kill_between_told_and_let_go_counts_once(tmp_path: Path) -> None:
    one, two, keepers = two_workers(tmp_path)
    (trial,) = one.next(1)
    one.director.study.finish(trial.number, 0.25)  # told; then it is killed, and its lease runs out
    one.keeper.leases.release([trial.number])
    assert trial.number not in [each.number for each in two.next(2)]
    two.director.study.finish(trial.number, 0.5)
    assert two.director.study.trial(trial.number).value == 0.25
    for each in keepers:
        each.__exit__()


def test_two_workers_have_no_trial_in_common(tmp_path: Path) -> None:
    one, two, keepers = two_workers(tmp_path)
    first, second = one.next(3), two.next(3)
    assert len({each.number for each in (*first, *second)}) == 6
    keepers[0].__exit__()
    assert {each.number for each in two.next(3)} == {each.number for each in first}, (
        "let go of, at once another's"
    )
    keepers[1].__exit__()

"""A worker that the tests start, watch and kill: it searches a real study through a leased director; its training is a formula.

python -m tests.searching.directing URL PROJECT FOLDER PLACE
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.searching.basis import Basis, basis_of
from maquette.searching.director import SearchDirector
from maquette.searching.keeping import Keeper
from maquette.searching.leased import LeasedDirector
from maquette.searching.leases import Leases, Worker
from maquette.searching.storage import open_storage, require_optuna
from maquette.searching.study import SearchStudy, StudyPlan, begin_study, require_plan
from maquette.training.pack import PackTrial
from tests.searching.making import TOY, toy_space

LEASE_S = 2.0
PLACES = 2


def open_study(url: str, basis: Basis, worker: Worker, **plan: Any) -> tuple[SearchStudy, Leases]:
    storage = open_storage(url)
    asked = StudyPlan(study="s", project=str(basis.project), created_at="now", space=TOY, **plan)
    begin_study(storage, asked, basis, toy_space())
    leases = Leases(storage.engine, "s", worker=worker, seconds=LEASE_S)  # type: ignore[attr-defined]
    return SearchStudy(storage, require_plan(storage, "s"), basis, toy_space(), alone=leases.alone), leases


def loss_at(trial: PackTrial, step: int) -> float:
    """Return what a trial's loss is after `step` steps: its own number's, falling."""
    return round(1 + (trial.number * 7 % 5) / 10 + 1 / (1 + step), 9)


def train(director: LeasedDirector, folder: Path) -> None:
    """Train what the director hands out, a step of each in turn, from where its state is."""
    at_work: dict[int, PackTrial] = {}
    while True:
        for each in director.next(PLACES - len(at_work)):
            at_work[each.number] = each
        if not at_work:
            return
        for trial in list(at_work.values()):
            if not step_of(trial, director, folder):
                del at_work[trial.number]
        for number in director.beat(tuple(at_work.values())):
            del at_work[number]


def step_of(trial: PackTrial, director: LeasedDirector, folder: Path) -> bool:
    state = folder / f"state-{trial.number}"
    step = int(state.read_text()) if state.exists() else 0
    if step in trial.rungs and not director.measured(trial, step, loss_at(trial, step), None):
        return False
    if step == trial.rungs[-1]:
        point = SimpleNamespace(step=step, loss=loss_at(trial, step), error=None)
        validation = SimpleNamespace(points=[point])
        record = SimpleNamespace(validation=validation, schedule=SimpleNamespace(steps=step), step=step)
        director.finished(trial, record)  # type: ignore[arg-type]
        return False
    time.sleep(0.002)
    partial = folder / f"partial-{trial.number}-{director.keeper.leases.owner}"
    partial.write_text(str(step + 1))
    partial.replace(state)
    with (folder / "steps").open("a") as steps:
        steps.write(f"{trial.number} {step + 1}\n")
    return True


def work(url: str, project: Path, folder: Path, worker: Worker, **plan: Any) -> SearchStudy:
    require_optuna()
    study, leases = open_study(url, basis_of(project, load_settings(project), judge), worker, **plan)
    with Keeper(leases) as keeper:
        director = LeasedDirector(SearchDirector(study, folder), keeper)
        train(director, folder)
        while not study.is_over:
            list(director.awaited(None))
            train(director, folder)
    return study


if __name__ == "__main__":
    place = {"place": sys.argv[4]} if sys.argv[4] else {}
    work(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), Worker(**place))

"""A further worker for a study that was begun elsewhere: it joins, trains what it gets, and leaves whenever it likes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, OutputError, Problem, did_you_mean
from maquette.files import require_writable_folder, write_atomic
from maquette.project.settings import Settings
from maquette.searching.basis import basis_of
from maquette.searching.opening import Opened, known_url, require_same_settings
from maquette.searching.options import WorkerOptions
from maquette.searching.places import known_study, study_folder
from maquette.searching.records import SPACE_NAME, read_study
from maquette.searching.space_file import parse_space
from maquette.searching.storage import open_storage, require_optuna
from maquette.searching.study import SearchStudy, StudyPlan, require_plan

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from maquette.training.prepare import Judge


def joined_search(project: Path, settings: Settings, options: WorkerOptions, judge: Judge) -> Opened:
    """Open a study to take part in. Raises MaquetteError where this machine's project is not the one that is searched."""
    require_optuna()
    url = options.storage or known_url(study_folder(project, known_study(project, options.study)))
    storage = open_storage(url)
    name = options.study or (known_study(project, None) if options.storage is None else _only_study(storage))
    plan = require_plan(storage, name)
    folder = study_folder(project, name)
    _require_of_this_study(folder, plan)
    basis = basis_of(project, settings, judge)
    require_same_settings(plan, basis)
    require_writable_folder(folder)
    if not (folder / SPACE_NAME).exists():
        write_atomic(folder / SPACE_NAME, plan.space)
    study = SearchStudy(storage, plan, basis, parse_space(plan.space, str(folder / SPACE_NAME)))
    return Opened(study=study, folder=folder, url=url, messages=())


def _only_study(storage: BaseStorage) -> str:
    import optuna

    names = optuna.get_all_study_names(storage)
    if len(names) == 1:
        return str(names[0])
    given = f"{len(names)} studies in the database" if names else "no study in the database"
    remedy = did_you_mean("", names) if names else "Begin one: maquette search PROJECT --storage URL"
    raise ConfigError(Problem("--study", given, "the name of the one to take part in", remedy))


def _require_of_this_study(folder: Path, plan: StudyPlan) -> None:
    """Raise OutputError where a folder holds the trials of another study that has the same name."""
    try:
        known = read_study(folder)
    except OutputError:
        return
    if known.created_at != plan.created_at:
        raise OutputError(
            Problem(
                str(folder),
                "holds another study of that name",
                "a free folder for this worker's trials",
                "Move it away, or name the studies apart with --study as they are begun.",
            )
        )

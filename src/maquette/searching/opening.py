"""A study opened: a new one with all that can be wrong checked before anything is written, or one that goes on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, OutputError, Problem
from maquette.events import Message
from maquette.files import require_writable_folder, write_atomic
from maquette.locking import OWN_FOLDER, held
from maquette.project.fields import flag_of
from maquette.project.settings import PATHS, Settings
from maquette.runs.record import now
from maquette.searching.basis import Basis, basis_of, problems_of
from maquette.searching.constraints import broken
from maquette.searching.default_space import default_space
from maquette.searching.options import DEFAULT_PACK, DEFAULT_TRIALS, SearchOptions
from maquette.searching.places import is_study, known_study, new_name, studies_of, study_folder
from maquette.searching.records import DATABASE_NAME, SPACE_NAME, read_study
from maquette.searching.space import Space, require_settable
from maquette.searching.space_file import parse_space, read_space
from maquette.searching.storage import open_storage, require_optuna, storage_url
from maquette.searching.study import (
    SearchStudy,
    StudyPlan,
    begin_study,
    changed_plan,
    plan_in,
    require_plan,
)
from maquette.spoken import without_passwords

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from maquette.training.prepare import Judge

ON_RESUME = ("trials", "pack", "storage", "files", "study", "budget")
"""What a search that goes on may be given."""
FEW_TRIALS = 10


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A study that can be searched."""

    study: SearchStudy
    folder: Path
    url: str
    messages: tuple[Message, ...]


def new_search(project: Path, settings: Settings, options: SearchOptions, judge: Judge) -> Opened:
    """Begin a study. Raises MaquetteError with every problem, before anything is written."""
    require_optuna()
    basis = basis_of(project, settings, judge)
    space = checked_space(basis, options.space)
    name = options.study or new_name(project)
    folder = study_folder(project, name)
    _require_free(folder, project)
    unfinished = _unfinished(project)
    require_writable_folder(folder)
    url = storage_url(folder, options.storage)
    plan = _plan(name, basis, space, options)
    with held(folder, what="search"):  # (who begins one here meanwhile would take it for half begun)
        _require_free(folder, project)
        _clear_half_begun(folder)
        storage = open_storage(url)
        _require_new_in(storage, name, url)
        begin_study(storage, plan, basis, space)
        write_atomic(folder / SPACE_NAME, space.text)
    study = SearchStudy(storage, plan, basis, space)
    return Opened(study=study, folder=folder, url=url, messages=(*unfinished, *_told(basis, space)))


def outlook(
    project: Path, settings: Settings, options: SearchOptions, judge: Judge
) -> tuple[StudyPlan, Space]:
    """Return what a search would be asked for, and what it would try. Raises MaquetteError with what keeps it from beginning."""
    basis = basis_of(project, settings, judge)
    space = checked_space(basis, options.space)
    return _plan(options.study or new_name(project), basis, space, options), space


def _require_free(folder: Path, project: Path) -> None:
    if is_taken(folder):
        remedy = (
            f"Go on with it: maquette search {project} --resume --study {folder.name}; "
            "or choose another --study."
        )
        raise OutputError(Problem(str(folder), "a study of that name exists", "a new name", remedy))


def _require_new_in(storage: BaseStorage, name: str, url: str) -> None:
    if plan_in(storage, name) is not None:
        given = f"'{name}' is in {without_passwords(url)} already"
        required = "a name that no other project has there"
        raise ConfigError(Problem("--study", given, required, "Choose another one."))


def is_taken(folder: Path) -> bool:
    """Return whether a new study may not be begun in `folder`: something lies there, other than one that was hardly begun."""
    if not folder.is_dir():
        return folder.exists()
    return is_study(folder) or any(each.name not in _of_a_beginning(folder) for each in folder.iterdir())


def _of_a_beginning(folder: Path) -> set[str]:
    """Return the files that a kill leaves between the first and the last line of beginning a study."""
    return {
        OWN_FOLDER,
        *(each.name for each in folder.glob(f"{DATABASE_NAME}*")),
        *(each.name for each in folder.glob("*.part")),
    }


def _clear_half_begun(folder: Path) -> None:
    """Remove a database in which no study was begun to the end: its space is written last."""
    for each in folder.glob(f"{DATABASE_NAME}*"):
        each.unlink(missing_ok=True)


def resumed_search(project: Path, settings: Settings, options: SearchOptions, judge: Judge) -> Opened:
    """Open a study that was begun. Raises MaquetteError where it is not the same any more."""
    require_optuna()
    _require_resumable(options)
    name = known_study(project, options.study)
    folder = study_folder(project, name)
    url = options.storage or known_url(folder)
    storage = open_storage(url)
    plan = require_plan(storage, name)
    changes = {
        key: value for key, value in (("trials", options.trials), ("pack", options.pack)) if value is not None
    }
    basis = basis_of(project, settings, judge)
    require_same_settings(plan, basis)
    plan = changed_plan(storage, plan, budget_hours=options.budget, **changes)
    study = SearchStudy(storage, plan, basis, parse_space(plan.space, str(folder / SPACE_NAME)))
    return Opened(study=study, folder=folder, url=url, messages=())


def require_same_settings(plan: StudyPlan, basis: Basis) -> None:
    """Raise ConfigError where a project's settings are not those that a study was begun with."""
    if plan.settings_digest != digest_of(basis.settings):
        given = "maquette.toml changed since the study was begun, or is another one"
        remedy = "Put it back as it was, or begin another study: maquette search PROJECT"
        raise ConfigError(Problem(str(basis.project), given, "the settings that its trials share", remedy))


def checked_space(basis: Basis, file: Path | None) -> Space:
    """Return the space in `file`, else the usual one, which the base and the settings take. Raises ConfigError."""
    space = read_space(file) if file else parse_space(default_space(basis), "the usual space")
    require_settable(space, basis.settings)
    ends = [
        space.settings(basis.settings, {each.name: each.ends[0]}) for each in space.parameters if each.layers
    ]
    if problems := problems_of(ends, basis):
        raise ConfigError(problems)
    return space


def known_url(folder: Path) -> str:
    """Return where the database of a study lies. Raises ConfigError where only its address tells."""
    if (folder / DATABASE_NAME).is_file():
        return storage_url(folder, None)
    known = read_study(folder).storage
    if known and without_passwords(known) == known and "@" not in known.replace("://", "", 1):
        return known
    given = f"its database is {known or 'elsewhere'}"
    raise ConfigError(Problem(str(folder), given, "its address", "Add --storage URL, as when it was begun."))


def digest_of(settings: Settings) -> str:
    """Return a hash of what trials share, wherever the project lies."""
    tables = settings.model_dump(mode="json")
    plain = {
        section: {
            name: value for name, value in table.items() if name not in PATHS and name not in ("base", "vae")
        }
        for section, table in tables.items()
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _plan(name: str, basis: Basis, space: Space, options: SearchOptions) -> StudyPlan:
    trials = options.trials or DEFAULT_TRIALS
    finalists = options.finalists
    return StudyPlan(
        study=name,
        project=str(basis.project.resolve()),
        created_at=now(),
        space=space.text,
        settings_digest=digest_of(basis.settings),
        objective=options.objective,
        seed=options.seed,
        pack=options.pack or DEFAULT_PACK,
        sampler=options.sampler,
        trials=trials,
        finalists=(2 if trials >= FEW_TRIALS else 1) if finalists is None else finalists,
        finalist_seeds=options.finalist_seeds,
        reduction=options.halving,
        paired_level=options.paired_level if options.objective == "score" else 0.0,
        budget_hours=options.budget,
    )


def _require_resumable(options: SearchOptions) -> None:
    others = [name for name in options.given() if name not in ON_RESUME]
    if others:
        flags = ", ".join(flag_of(name, SearchOptions.model_fields[name]) for name in others)
        allowed = ", ".join(flag_of(name) for name in ON_RESUME)
        required = f"nothing else but {allowed}: a search that goes on keeps what it was begun with"
        raise ConfigError(Problem("--resume", f"given together with {flags}", required, "Leave them out."))


def _unfinished(project: Path) -> tuple[Message, ...]:
    for name in studies_of(project)[:1]:
        try:
            record = read_study(study_folder(project, name))
        except OutputError:
            continue
        if record.state != "finished":
            return (
                Message(
                    f"{name} is not finished; this begins another. To go on with it: --resume", "warning"
                ),
            )
    return ()


def _told(basis: Basis, space: Space) -> tuple[Message, ...]:
    """Return what a person should know before the first trial."""
    lines = [
        line.removeprefix("# ")
        for line in space.text.splitlines()
        if line.startswith("#") and ": left out" in line
    ]
    found = [Message(f"Search space: {line}") for line in lines]
    if not space.constraints:
        found.append(
            Message("This space refuses nothing; safety = true adds the seven safety constraints.", "warning")
        )
    own = broken(space.constraints, basis.values(basis.settings))
    if own:
        found.append(
            Message(
                f"The project's own settings would be refused ({', '.join(own)}); they are tried as the baseline."
            )
        )
    return (*basis.messages, *found)


def space_text(project: Path, settings: Settings, judge: Judge) -> str:
    """Return the space that a search of this project has by itself."""
    return default_space(basis_of(project, settings, judge))

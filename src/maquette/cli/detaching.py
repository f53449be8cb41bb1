"""A command as a job: `--detach`, and `maquette queue add`. What a job runs is the command line itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from maquette.errors import ConfigError, Problem
from maquette.jobs.ledger import TRAIN, Ledger
from maquette.jobs.records import Job, Request
from maquette.project.config_file import CONFIG_NAME
from maquette.spoken import has_password

SEARCH = "search"
NOT_A_JOB_S = ("--json", "--detach")
TARGETS = ("target", "project", "directory", "run", "targets", "source")
"""Names of the arguments that say what a command is about."""


def detached(typed: Sequence[str]) -> dict[str, Any]:
    """Put the running command, with its arguments as typed, into the queue; return what it answers instead of its result."""
    context = click.get_current_context()
    return queued(request_of(str(context.info_name), typed, context.params))


def queued(request: Request) -> dict[str, Any]:
    """Put a request into the queue, see to a runner, and return what the command answers."""
    from maquette.jobs.starting import wake_runner

    with Ledger() as ledger:
        job = ledger.add(request)
        wake_runner(ledger)
    return {
        "job": job.id,
        "run": None if job.run is None else str(job.run),
        "state": job.state,
        "lines": [
            f"Job {job.id}: {job.command}",
            *([f"Run:  {job.run}"] if job.run else []),
            f"Next: maquette watch {job.id}",
        ],
    }


def request_of(kind: str, arguments: Sequence[str], given: Mapping[str, Any]) -> Request:
    """Return the request that a command's arguments mean, as typed and as read. Raises MaquetteError."""
    if any(has_password(each) for each in arguments):
        raise ConfigError(_password())
    target = _target(given)
    request = Request(
        kind=kind,
        arguments=tuple(each for each in arguments if each not in NOT_A_JOB_S),
        cwd=Path.cwd(),
        project=_project(target),
        device=str(given.get("device") or "auto"),
    )
    if kind == TRAIN and not given["smoke"]:
        return _training(request, given)
    if kind == SEARCH:
        _require_options(given)
    if given.get("device") is None and request.project is not None and request.project == _here(target):
        request = replace(request, device=_resolved({"target": target}).training.device)
    is_run = target is not None and (target / "run.json").is_file()
    return replace(request, run=target.resolve()) if is_run and target is not None else request


def _require_options(given: Mapping[str, Any]) -> None:
    """Raise ConfigError for what no search can be asked for: it is said now, not when its turn comes."""
    from maquette.searching.options import SearchOptions

    SearchOptions(**{name: given[name] for name in SearchOptions.model_fields})


def _password() -> Problem:
    return Problem(
        "--detach",
        "an address with a password",
        "arguments that may be kept: the queue writes them down and shows them",
        "Leave the password out of it; PostgreSQL's is read from ~/.pgpass.",
    )


def ready(ledger: Ledger, job: Job) -> tuple[str, ...]:
    """Return the arguments that this attempt at `job` runs with, and note the run's folder that is its own from now on.

    What a lost worker began is gone on with. Raises MaquetteError.
    """
    if job.kind == SEARCH:
        return _ready_to_search(ledger, job, _read(job.kind, job.arguments))
    if job.kind != TRAIN or job.run is None:
        return job.arguments
    given = _read(job.kind, job.arguments)
    if given["resume"] is not None:
        return job.arguments
    if job.begun:
        return ("--resume", str(job.run)) if (job.run / "run.json").is_file() else job.arguments
    run = _free_run(given, ledger, job.run)
    arguments = job.arguments if given["name"] == run.name else (*job.arguments, "--name", run.name)
    ledger.begin_run(job.id, run, arguments)
    return arguments


def _ready_to_search(ledger: Ledger, job: Job, given: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the arguments of a search likewise: it has a name from the beginning, by which a later attempt knows it."""
    from maquette.searching.places import is_study, new_name, study_folder

    project = given["project"]
    if given["resume"]:
        return job.arguments
    if job.begun and job.run is not None:
        places = [(f"--{name}", str(given[name])) for name in ("storage", "files") if given[name] is not None]
        going_on = (
            str(project),
            "--resume",
            "--study",
            job.run.name,
            *(word for each in places for word in each),
        )
        return going_on if is_study(job.run) else job.arguments
    name = given["study"] or new_name(project)
    arguments = job.arguments if given["study"] else (*job.arguments, "--study", name)
    ledger.begin_run(job.id, study_folder(project, name).resolve(), arguments)
    return arguments


def finished_before(job: Job) -> dict[str, Any] | None:
    """Return the answer of a training that a lost worker finished and could not note any more; None otherwise."""
    if job.kind != TRAIN or job.run is None or not job.begun or not (job.run / "run.json").is_file():
        return None
    from maquette.api import settings_of_run
    from maquette.runs.record import read_record

    given = _read(job.kind, job.arguments)
    record = read_record(job.run)
    wanted = record.settings
    if given["resume"] is not None:
        wanted = settings_of_run(job.run, None, _settings(given))
    if record.state != "finished" or wanted != record.settings or record.last_checkpoint is None:
        return None
    return {
        "run": str(job.run),
        "lora": str(job.run / record.last_checkpoint.path),
        "steps": record.step,
        "final_loss": record.final_loss,
    }


def read_command(kind: str, arguments: Sequence[str]) -> Request:
    """Return the request of a command that was typed after `queue add`. Raises click's errors and MaquetteError."""
    return request_of(kind, arguments, _read(kind, [each for each in arguments if each not in NOT_A_JOB_S]))


def _read(kind: str, arguments: Sequence[str]) -> dict[str, Any]:
    from maquette.cli.app import COMMANDS, maquette
    from maquette.errors import did_you_mean

    command = maquette.get_command(click.Context(maquette), kind) if kind in COMMANDS else None
    if command is None or not any(each.name == "detach" for each in command.params):
        raise ConfigError(
            Problem(
                kind,
                "no command that can be a job",
                "one that has --detach",
                did_you_mean(kind, jobs_kinds()),
            )
        )
    return command.make_context(kind, list(arguments)).params


def jobs_kinds() -> list[str]:
    """Return the commands that can be jobs."""
    from maquette.cli.app import COMMANDS, maquette

    context = click.Context(maquette)
    found = {name: maquette.get_command(context, name) for name in COMMANDS}
    return [name for name, each in found.items() if each and any(own.name == "detach" for own in each.params)]


def _training(request: Request, given: Mapping[str, Any]) -> Request:
    if given["resume"] is not None:
        from maquette.api import settings_of_run

        run = Path(given["resume"])
        device = settings_of_run(run, given["target"], _settings(given)).training.device
        return replace(request, run=run.resolve(), begun=True, device=device, project=_project(run))
    settings = _resolved(given)
    with Ledger() as ledger:
        run = _free_run(given, ledger, None)
    return replace(request, run=run, device=settings.training.device)


def _free_run(given: Mapping[str, Any], ledger: Ledger, own: Path | None) -> Path:
    """Return the folder that a new run has: as named, or the next number that neither the disk nor another job has."""
    from maquette.training.claiming import free_folder

    def is_taken(folder: Path) -> bool:
        return folder != own and ledger.is_reserved(folder)

    return free_folder(_resolved(given), next_name=given["name"] is None, is_taken=is_taken)


def _resolved(given: Mapping[str, Any]) -> Any:
    from maquette.api import resolve_settings

    return resolve_settings(given["target"], _settings(given))


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    own = ("target", "resume", "smoke", "detach", "as_json")
    return {name: value for name, value in given.items() if name not in own}


def _target(given: Mapping[str, Any]) -> Path | None:
    found = next((given[name] for name in TARGETS if given.get(name)), None)
    if isinstance(found, tuple):
        found = found[0]
    return None if found is None else Path(found)


def _here(target: Path | None) -> Path | None:
    return None if target is None else target.resolve()


def _project(target: Path | None) -> Path | None:
    """Return the project that a target lies in, or is."""
    if target is None:
        return None
    place = target.resolve()
    return next((each for each in (place, *place.parents) if (each / CONFIG_NAME).is_file()), None)

"""`maquette search`, and the commands beside it: `maquette search NAME …` is cli/search_NAME.py."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import GroupedCommand, follow, result_command
from maquette.searching.options import SearchOptions
from maquette.spoken import duration
from maquette.stopping import Stop

BESIDE: tuple[str, ...] = ("report", "use", "worker")
"""Names of the commands beside the search itself."""


class SearchCommand(GroupedCommand):
    """The search; its first word may name a command beside it. A project of such a name is written as ./NAME."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in BESIDE:
            name = f"{info_name} {args[0]}"
            return self.beside(args[0]).make_context(name, args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)

    def list_commands(self, context: click.Context) -> list[str]:
        return list(BESIDE)

    def get_command(self, context: click.Context, name: str) -> click.Command:
        return self.beside(name)

    @staticmethod
    def beside(name: str) -> click.Command:
        """Return the command of that name."""
        command: click.Command = importlib.import_module(f"maquette.cli.search_{name}").command
        return command


@result_command(
    click.argument("project", type=click.Path(path_type=Path)),
    click.option("--resume", is_flag=True, help="Go on with the last study, or with that of --study."),
    click.option("--status", is_flag=True, help="Say how far the last study is, or that of --study."),
    click.option(
        "--print-space", is_flag=True, help="Print what would be searched, as TOML, and do nothing."
    ),
    *options_of(SearchOptions),
    name="search",
    cls=SearchCommand,
    detachable=True,
)
def command(project: Path, resume: bool, status: bool, print_space: bool, **given: Any) -> dict[str, Any]:
    """Try many settings of PROJECT, several at once over one base, and say which are best and how sure that is.

    The project's own settings are the first trial. Proposals that break a safety constraint are refused before they cost
    anything; trials that fall behind on held-out pictures are ended early; the best and the baseline are trained again with
    further seeds. A search that was stopped or killed goes on with --resume.

    \b
      maquette search my-project --trials 20 --pack 4
      maquette search my-project --print-space > space.toml
      maquette search my-project --space space.toml --trials 60
      maquette search my-project --resume
      maquette search my-project --status
      maquette search use my-project
    """
    if print_space:
        return _space(project)
    if status:
        return _status(project, given["study"], given["storage"])
    from maquette.cli.search_view import SearchView
    from maquette.searches import search_stage

    stop = Stop()
    stage = search_stage(project, SearchOptions(**given), resume=resume, stop=stop)
    found = follow(stage, stop, SearchView())
    return study_result(found.folder, found.storage)


def _space(project: Path) -> dict[str, Any]:
    from maquette.searches import search_space

    text = search_space(project)
    return {"space": text, "lines": text.rstrip("\n").splitlines()}


def _status(project: Path, name: str | None, storage: str | None) -> dict[str, Any]:
    from maquette.searching.places import known_study, study_folder
    from maquette.searching.records import read_study
    from maquette.searching.telling import answer, table

    folder = study_folder(project, known_study(project, name))
    record = read_study(folder)
    found = study_result(folder, record.storage)
    workers = _workers(folder, record.study, storage)
    found["workers"] = workers
    found["running"] = None if workers is None else any(each["is_there"] for each in workers)
    if record.state == "running" and found["running"] is False:
        record = replace(record, state="stopped")
    lines = table(record)
    for each in workers or ():
        if each["is_there"]:
            lines.append(f"at work: {each['worker']}, for {duration(each['seconds'])}")
    if record.state == "finished":
        lines += answer(record)
    elif workers is None:
        lines.append(f"Who is at work is known to its database, {record.storage}: add --storage URL.")
    elif not found["running"]:
        lines.append(
            f"It is not running. Go on with it: maquette search {project} --resume --study {record.study}"
        )
    return {**found, "lines": lines}


def _workers(folder: Path, study: str, storage: str | None) -> list[dict[str, Any]] | None:
    """Return who took part in a study; None where its database's whole address is not known here."""
    from maquette.errors import ConfigError
    from maquette.searching.opening import known_url
    from maquette.searching.storage import require_optuna
    from maquette.searching.working import who_is_there

    require_optuna()
    try:
        url = storage or known_url(folder)
    except ConfigError:
        return None
    return [
        {
            "worker": str(each),
            "host": each.host,
            "version": each.version,
            "seconds": round(each.seconds, 1),
            "is_there": each.is_there,
        }
        for each in who_is_there(url, study)
    ]


def study_result(folder: Path, storage: str) -> dict[str, Any]:
    """Return what --json prints of a study, with the lines a person reads."""
    from maquette.searching.records import RESULTS_NAME, read_study
    from maquette.searching.telling import answer, footer, study_json

    record = read_study(folder)
    return {
        "study": str(folder),
        **study_json(record),
        "storage": storage,
        "results": str(folder / RESULTS_NAME),
        "lines": [*footer(record), *answer(record), f"Study: {folder}"],
    }

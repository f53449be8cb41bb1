"""`maquette search worker`: a further process, on this machine or another, for a search that was begun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.searching.options import WorkerOptions
from maquette.stopping import Stop


@result_command(
    click.argument("project", type=click.Path(path_type=Path)),
    *options_of(WorkerOptions),
    name="worker",
)
def command(project: Path, **given: Any) -> dict[str, Any]:
    """Take part in a search of PROJECT that was begun, until it is over.

    PROJECT is the same on every machine: settings, pictures, captions, base. A worker may join and leave at any time, or be
    killed: its trials go on elsewhere.

    \b
      maquette search my-project --storage postgresql://me@db/studies
      maquette search worker my-project --storage postgresql://me@db/studies
    """
    from maquette.cli.search import study_result
    from maquette.cli.search_view import SearchView
    from maquette.searches import worker_stage
    from maquette.spoken import counted

    stop = Stop()
    found = follow(worker_stage(project, WorkerOptions(**given), stop=stop), stop, SearchView())
    result = study_result(found.folder, found.storage)
    ended = f"{counted(len(found.ended), 'trial')} ended here"
    return {**result, "ended": list(found.ended), "lines": [ended, *result["lines"]]}

"""`maquette auto`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.jobs.pipeline_options import AutoOptions
from maquette.stopping import Stop


@result_command(
    click.argument("project", type=click.Path(path_type=Path)),
    *options_of(AutoOptions),
    name="auto",
    detachable=True,
)
def command(project: Path, **given: Any) -> dict[str, Any]:
    """Go the whole way of PROJECT: captions, check, plan, train, evaluate, select, and what deploying would do.

    A stage is fresh, and skipped, while what it reads is the same as when it was done last; each says why it runs or not. The way
    stops where captions are missing, the check finds an error or the run does not fit (exit code 1). The same command goes
    on from there, and from wherever it was killed.

    \b
      maquette auto my-project
      maquette caption my-project --source wd --detach; maquette auto my-project --detach
    """
    from maquette.jobs.pipeline import auto_events, lines_of

    stop = Stop()
    found = follow(auto_events(project, AutoOptions(**given), stop), stop)
    return {
        "project": str(found.project),
        "stages": [vars(stage) for stage in found.stages],
        "run": str(found.run) if found.run else None,
        "lora": str(found.lora) if found.lora else None,
        "deploy": found.deploy or None,
        "exit_code": 1 if found.has_stopped else 0,
        "lines": list(lines_of(found)),
    }

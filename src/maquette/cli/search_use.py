"""`maquette search use`: what a search recommends becomes the project's own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command


@result_command(
    click.argument("project", type=click.Path(path_type=Path)),
    click.option("--study", metavar="NAME", help="Which study. Default: the last one."),
    name="use",
)
def command(project: Path, study: str | None) -> dict[str, Any]:
    """Write what a search of PROJECT recommends into its maquette.toml; comments and everything else stay.

    `maquette undo PROJECT` takes it back.
    """
    from maquette.searches import use_recommended

    changed = use_recommended(project, study)
    told = f"Changed: {', '.join(changed)}. To take it back: maquette undo {project}"
    return {
        "changed": list(changed),
        "lines": [told if changed else "The project has these settings already."],
    }

"""`maquette select`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.choosing.options import SelectOptions
from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command


@result_command(
    click.argument("run", type=click.Path(path_type=Path)),
    *options_of(SelectOptions),
    name="select",
    detachable=True,
)
def command(run: Path, **given: Any) -> dict[str, Any]:
    """Choose the best checkpoint of RUN and its strength, say why, and whether the pictures can tell it from the runner-up.

    RUN is a run's folder, which is evaluated first where that was not done, or the folder of an evaluation. What is chosen is
    kept in RUN/choice.json, which maquette deploy and the report follow.
    """
    from maquette.choosing.select import select_events, told

    found = follow(select_events(run, SelectOptions(**given)))
    choice = found.choice
    lines = [*told(choice), f"Choice: {found.path}"]
    lines += [f"Report: {found.report}"] if found.report else []
    return {
        **choice.to_json(),
        "reasons": [choice.headline, *choice.reasons],
        "run": str(run),
        "choice": str(found.path),
        "report": str(found.report) if found.report else None,
        "lines": lines,
    }

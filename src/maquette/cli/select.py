"""`maquette select`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.choosing.options import SelectOptions
from maquette.cli.options import options_of, price_option
from maquette.cli.output import follow, result_command


@result_command(
    click.argument("run", type=click.Path(path_type=Path)),
    *options_of(SelectOptions),
    price_option(),
    name="select",
    detachable=True,
)
def command(run: Path, price: bool, **given: Any) -> dict[str, Any]:
    """Choose the best checkpoint of RUN and its strength, say why, and whether the pictures can tell it from the runner-up.

    RUN is a run's folder, which is evaluated first where that was not done, or the folder of an evaluation. What is chosen is
    kept in RUN/choice.json, which maquette deploy and the report follow.
    """
    from maquette.choosing.select import cost_of_selection, select_events, told

    if price:
        cost = cost_of_selection(run, SelectOptions(**given))
        return {
            **cost.to_json(),
            "lines": list(filter(None, [cost.why and f"Evaluated first: {cost.why}.", cost.told, cost.note])),
        }
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

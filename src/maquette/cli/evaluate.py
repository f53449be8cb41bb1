"""`maquette evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.evaluating.options import EvaluateOptions


@result_command(
    click.argument("run", type=click.Path(path_type=Path)), *options_of(EvaluateOptions), name="evaluate"
)
def command(run: Path, **given: Any) -> dict[str, Any]:
    """Draw with no LoRA and with every checkpoint of RUN, same prompts and seeds, and write RUN/report.html."""
    from maquette.evaluating.run import evaluate_events

    found = follow(evaluate_events(run, EvaluateOptions(**given)))
    return {
        "run": str(run),
        "report": str(found.report),
        "pictures": found.pictures,
        "checkpoints": {
            card.column.label: {
                name: {"value": score.value.mean, "low": score.value.low, "high": score.value.high}
                for name, score in card.scores.items()
            }
            for card in found.cards.cards
        },
        "lines": [
            f"{found.pictures} pictures of {found.checkpoints} checkpoints and of the base alone",
            f"Report: {found.report}",
        ],
    }

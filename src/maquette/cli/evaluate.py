"""`maquette evaluate`."""

from __future__ import annotations

from typing import Any

import click

from maquette.cli.output import follow, result_command


@result_command(
    click.argument("run", type=click.Path()),
    click.option(
        "--prompt",
        "prompts",
        multiple=True,
        help="Prompt to draw; {trigger} stands for the trigger. Repeat for several.",
    ),
    click.option(
        "--seeds",
        default=4,
        show_default=True,
        metavar="N",
        type=click.IntRange(1, 64),
        help="Pictures per prompt, seeds 1 to N.",
    ),
    name="evaluate",
)
def command(run: str, prompts: tuple[str, ...], seeds: int) -> dict[str, Any]:
    """Draw with no LoRA and with every checkpoint of RUN, same prompts and seeds, and write RUN/report.html."""
    from maquette.api import evaluate_events

    look = follow(evaluate_events(run, prompts=prompts or None, seeds=range(1, seeds + 1)))
    return {
        "run": str(run),
        "report": str(look.report),
        "pictures": look.pictures,
        "checkpoints": look.checkpoints,
        "lines": [
            f"{look.pictures} pictures of {look.checkpoints} checkpoints and of the base alone",
            f"Report: {look.report}",
        ],
    }

"""`maquette demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import follow, result_command


@result_command(
    click.option(
        "--output",
        type=click.Path(path_type=Path),
        default=Path("demo-output"),
        show_default=True,
        help="Folder for pictures, run, LoRA and report.",
    ),
    click.option(
        "--seed", default=7, show_default=True, type=click.IntRange(0), help="Seed of pictures and training."
    ),
    name="demo",
)
def command(output: Path, seed: int) -> dict[str, Any]:
    """Run the whole way on the small world: draw a character, train its LoRA, judge it, install it, report.

    Everything goes through the code of a real run; only the base model is small enough for any laptop.
    The last line is the report's path.
    """
    from maquette.demo import run_demo

    result = follow(run_demo(output, seed=seed))
    return {**result.to_json(), "lines": [*result.summary, str(result.report)]}

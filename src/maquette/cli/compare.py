"""`maquette compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.choosing.options import CompareRunsOptions
from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command


@result_command(
    click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN…"),
    *options_of(CompareRunsOptions),
    name="compare",
)
def command(runs: tuple[Path, ...], **given: Any) -> dict[str, Any]:
    """Put evaluated runs side by side: what each is worth at its chosen checkpoint, and what was changed from one to the next.

    \b
      maquette compare my-project/runs/zkw-001 my-project/runs/zkw-002
      maquette compare sd15/runs/zkw sdxl/runs/zkw --html compare.html
    """
    from maquette.choosing.compare import compare_events, to_json, told

    found = follow(compare_events(runs, CompareRunsOptions(**given)))
    lines = [*told(found), *([f"Page: {found.page}"] if found.page else [])]
    return {**to_json(found), "lines": lines}

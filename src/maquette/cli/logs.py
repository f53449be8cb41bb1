"""`maquette logs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command
from maquette.jobs.following import log_of_run, require_run, tail_of
from maquette.jobs.ledger import Ledger


@result_command(
    click.argument("what", metavar="JOB|RUN"),
    click.option(
        "--lines",
        "most",
        type=click.IntRange(1, 100_000),
        default=200,
        show_default=True,
        help="At most the last N.",
        metavar="N",
    ),
    name="logs",
)
def command(what: str, most: int) -> dict[str, Any]:
    """Show what a JOB printed, or what the RUN of a folder said, traces of errors at the end."""
    if what.isdecimal():
        with Ledger() as ledger:
            job = ledger.job(int(what))
            path = ledger.job_folder(job.id) / "output.log"
        return _told({"job": job.id, "run": str(job.run) if job.run else None}, path, tail_of(path, most))
    run = require_run(Path(what))
    return _told({"job": None, "run": str(run)}, run / "run.log", log_of_run(run, most))


def _told(about: dict[str, Any], path: Path, lines: list[str]) -> dict[str, Any]:
    return {**about, "path": str(path), "log": lines, "lines": lines or ["Nothing was said."]}

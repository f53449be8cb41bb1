"""`maquette demo`."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from maquette.cli.options import options_of
from maquette.cli.output import follow, result_command
from maquette.demo.options import DemoOptions


@result_command(*options_of(DemoOptions), name="demo")
def command(**given: Any) -> dict[str, Any]:
    """Run the whole way on the small world: draw a character, train its LoRA, judge it, install it, report.

    Everything goes through the code of a real run; only the base model is small enough for any laptop.
    The last line is the report's path.
    """
    from maquette.demo.tour import run_demo

    options = DemoOptions(**given)
    result = follow(run_demo(options.output, seed=options.seed))
    *told, last = result.summary
    return {**result.to_json(), "lines": [*told, offer(result.output), last, str(result.report)]}


def offer(project: Path) -> str:
    """Return the line that says how to open the demo's project in the studio, by a command that the shell finds."""
    program = "maquette" if shutil.which("maquette") else sys.argv[0]
    return f"Look at it in your browser: {shlex.join([program, 'studio', str(project)])}"

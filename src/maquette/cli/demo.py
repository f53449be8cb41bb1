"""`maquette demo`."""

from __future__ import annotations

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
    return {**result.to_json(), "lines": [*result.summary, str(result.report)]}

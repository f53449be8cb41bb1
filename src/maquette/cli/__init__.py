"""The command line. Each command's module is imported only when that command runs."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its code. With --json even a wrong flag ends in one JSON object."""
    # OpenMP threads that spin while they wait starve a training as soon as anything else runs on the machine: a step of
    # the demo took 24 s instead of 0.3 s on two busy cores. It must be said before torch is loaded; the user's word wins.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import click

    from maquette.cli.app import maquette

    try:
        code = maquette.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        if "--json" in sys.argv[1:]:
            import json

            problem = {"where": "command line", "given": error.format_message(), "required": "", "remedy": ""}
            click.echo(json.dumps({"error": [problem]}, ensure_ascii=False))
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)

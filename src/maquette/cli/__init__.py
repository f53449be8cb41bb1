"""The command line. Each command's module is imported only when that command runs."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line and exit with its code. With --json even a wrong flag ends in one JSON object."""
    from maquette.cli.signals import signals_end_the_start

    signals_end_the_start()
    import click

    from maquette.cli.app import maquette

    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # a terminal or pipe that cannot show every letter gets it escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        code = maquette.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        from maquette.cli.output import json_line
        from maquette.spoken import printable

        told = io.StringIO()
        error.show(file=told)
        click.echo(printable(told.getvalue()), nl=False, err=True)
        if "--json" in sys.argv[1:]:
            problem = {"where": "command line", "given": error.format_message(), "required": "", "remedy": ""}
            click.echo(json_line({"error": [problem]}))
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)

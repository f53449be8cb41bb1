"""`maquette studio`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import json_line, result_command, say
from maquette.studio.options import StudioOptions


@result_command(
    click.argument("project", required=False, type=click.Path(path_type=Path)),
    *options_of(StudioOptions),
    name="studio",
)
def command(project: Path | None, **given: Any) -> dict[str, Any]:
    """Open the studio: a page in your browser, served by this computer for this computer.

    \b
      maquette studio my-project
      maquette studio --port 0 --no-browser
    """
    from maquette.studio.server import Address, serve

    options = StudioOptions(**given)
    as_json = bool(click.get_current_context().params.get("as_json"))

    def ready(address: Address) -> None:
        if as_json:
            click.echo(json_line({"url": address.url, "token": address.token}))
            sys.stdout.flush()
        say(f"The studio is at {address.url} (Ctrl-C ends it)")
        if options.browser:
            click.launch(address.url)

    serve(project, options, ready)
    return {"lines": ["The studio has ended."]}

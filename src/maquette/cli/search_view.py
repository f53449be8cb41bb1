"""The live table of a search: on a terminal it is drawn anew whenever a trial moves; on a pipe there are lines alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from maquette.cli.output import TerminalView, say
from maquette.errors import MaquetteError
from maquette.events import Artifact, Event, Progress
from maquette.searching.records import read_study
from maquette.searching.search import STUDY
from maquette.searching.telling import table


class SearchView(TerminalView):
    """Messages scroll by above; below them stands the table."""

    def __init__(self) -> None:
        super().__init__()
        self._folder: Path | None = None
        self._drawn = 0

    def show(self, event: Event) -> None:
        """Show an event; the table is drawn anew with every step of the search."""
        if isinstance(event, Artifact) and event.kind == STUDY:
            self._folder = event.path
        if self._live and isinstance(event, Progress) and self._folder is not None:
            self._draw(self._folder)
            return
        self.clear()
        super().show(event)

    def clear(self) -> None:
        """Take the table away, so that a message may stand where it was."""
        if self._drawn:
            click.echo(f"\x1b[{self._drawn}A\x1b[J", nl=False, err=True)
            self._drawn = 0

    def _draw(self, folder: Path) -> None:
        size = shutil.get_terminal_size()
        try:
            lines = table(read_study(folder), size.columns - 1)
        except MaquetteError:
            return
        self.clear()
        self.end_line()
        most = max(4, size.lines - 2)
        shown = lines if len(lines) <= most else [lines[0], *lines[-(most - 1) :]]
        for line in shown:
            say(line)
        self._drawn = len(shown)

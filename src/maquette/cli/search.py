"""`maquette search`: the search itself, and the commands beside it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import GroupedCommand, follow, result_command
from maquette.searching.options import SearchOptions
from maquette.stopping import Stop

BESIDE: dict[str, str] = {}
"""Commands beside the search itself, each in cli/search_NAME.py, with their summaries."""


class SearchGroup(click.Group):
    """`maquette search PROJECT …` is the search; `maquette search NAME …` a command beside it, imported when asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(BESIDE)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in BESIDE:
            return search
        command: click.Command = importlib.import_module(f"maquette.cli.search_{name}").command
        return command

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Take everything that names no command beside it as the search's own."""
        rest = args if args and args[0] in BESIDE else ["", *args]
        return super().parse_args(context, rest)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, *rest = args
        return name or None, self.get_command(context, name), rest

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(BESIDE.items()))

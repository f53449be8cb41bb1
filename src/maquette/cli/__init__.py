"""The command line. Each command's module is imported only when that command runs."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit with its code."""
    from maquette.cli.app import maquette

    maquette()

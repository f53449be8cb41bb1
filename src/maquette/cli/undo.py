"""`maquette undo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command


@result_command(
    click.argument("path", type=click.Path(path_type=Path)),
    click.option("--list", "listed", is_flag=True, help="Show what can be undone; change nothing."),
    name="undo",
)
def command(path: Path, listed: bool) -> dict[str, Any]:
    """Take back the last change that Maquette made at PATH: captions, repairs, decisions, copies.

    PATH is a folder of pictures or a project. Call it again for the change before. A caption that you edited since stays as
    it is, and is named; repairs are taken back whole or not at all.

    \b
      maquette undo pictures/
      maquette undo my-project --list
    """
    from maquette.project.undoing import changes_at, undo

    if not listed:
        return report(undo(path))
    found = changes_at(path)
    return {
        "changes": [
            {"change": each.number, "kind": each.kind, "what": each.what, "files": len(each.entries)}
            for each in found
        ],
        "lines": [
            f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(each.at))}  {each.what}: {len(each.entries)} files"
            for each in found
        ]
        or ["Nothing to undo."],
    }


def report(undone: Any) -> dict[str, Any]:
    """Return what an undo prints with --json, with the lines a person reads."""
    lines = [f"Taken back: {undone.what}. {len(undone.restored)} files are as they were."]
    lines += [f"  {path}: changed since by something else, left as it is" for path in undone.kept]
    lines += [f"Their earlier content is in {undone.old_texts}"] if undone.old_texts else []
    lines += [f"{undone.left} earlier changes can be undone."] if undone.left else []
    return {
        "undone": undone.kind,
        "what": undone.what,
        "restored": [str(path) for path in undone.restored],
        "kept": [str(path) for path in undone.kept],
        "left": undone.left,
        "lines": lines,
    }

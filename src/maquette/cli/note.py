"""`maquette note`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command
from maquette.cli.runs import note_lines


@result_command(
    click.argument("run", type=click.Path(path_type=Path)),
    click.argument("text", required=False),
    click.option(
        "--verdict",
        metavar="[kept|rejected|open]",
        help="What was decided. A note may say it itself: 'rejected: …'.",
    ),
    click.option(
        "--amends", type=int, metavar="N", help="The number of the note that this one takes the place of."
    ),
    name="note",
)
def command(run: Path, text: str | None, verdict: str | None, amends: int | None) -> dict[str, Any]:
    """Write down what was decided about RUN and why; without TEXT, show its notes.

    Notes lie in RUN/notes.jsonl with their times and are never changed: a later one amends an earlier one. `maquette runs`,
    `diff` and the report show them.

    \b
      maquette note my-project/runs/zkw-003 "rejected: trigger decoupled, the hair is in the captions"
      maquette note my-project/runs/zkw-004 "best at 800 steps" --verdict kept
    """
    from maquette.api import note, notes_of
    from maquette.runs.notes import amended, standing_of

    if text is None and (verdict is not None or amends is not None):
        raise click.UsageError('A verdict needs a reason: maquette note RUN "why" --verdict rejected')
    notes = notes_of(run) if text is None else note(run, text, verdict=verdict, amends=amends)
    standing, gone = standing_of(notes), amended(notes)
    return {
        "run": str(run),
        "verdict": standing.verdict,
        "reason": standing.reason,
        "notes": [
            {"number": number, **asdict(each), "amended": number in gone}
            for number, each in enumerate(notes, 1)
        ],
        "lines": list(note_lines(notes)) or [f"{run} has no note."],
    }

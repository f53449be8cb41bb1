"""`maquette runs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import painted, result_command
from maquette.comparing.options import RunsOptions

if TYPE_CHECKING:
    from maquette.comparing.listing import RunLine, RunsFound
    from maquette.runs.notes import Note

COLOURS = {"kept": "green", "rejected": "red", "open": "yellow"}
LONGEST_REASON = 60


@result_command(
    click.argument("folder", default=".", type=click.Path(path_type=Path)),
    *options_of(RunsOptions),
    name="runs",
)
def command(folder: Path, **given: Any) -> dict[str, Any]:
    """List the runs below FOLDER (default: here), the newest first: base, trigger, steps, losses, what was decided.

    Records that cannot be read are named below the table. Nothing is written.

    \b
      maquette runs my-project --sort validation
      maquette runs my-project --notes
      maquette runs my-project --html notebook.html
    """
    from maquette.api import list_runs

    options = RunsOptions(**given)
    found = list_runs(folder, options=options)
    page = str(options.html) if options.html else None
    lines = [*_lines(found, options.notes), *([f"Page: {page}"] if page else [])]
    return {**found.to_json(), "page": page, "lines": lines}


def _lines(found: RunsFound, with_notes: bool) -> Iterator[str]:
    if not found.runs:
        yield f"No run below {found.folder}."
    elif with_notes:
        yield from _notebook(found)
    else:
        yield from _table(found)
    yield from found.remarks()


def _table(found: RunsFound) -> Iterator[str]:
    head = ("run", "began", "base", "trigger", "steps", "state", "loss", "validation", "chosen", "verdict")
    rows = [_row(each, found.folder) for each in found.runs]
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
    yield painted(_joined(head, widths), bold=True)
    for row, each in zip(rows, found.runs, strict=True):
        told = _joined(row, widths)
        verdict = each.verdict or ""
        yield told if not verdict else told[: -len(row[-1])] + painted(row[-1], fg=COLOURS[verdict])


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    *first, last = cells
    return "  ".join(
        [*(f"{cell:<{width}}" for cell, width in zip(first, widths, strict=False)), last]
    ).rstrip()


def _row(each: RunLine, folder: Path) -> tuple[str, ...]:
    below = each.path.relative_to(folder).as_posix() if each.path != folder else each.name
    verdict = f"{each.verdict or 'noted'}: {each.reason}" if each.reason else each.verdict or ""
    return (
        below,
        each.when[:16].replace("T", " "),
        each.base,
        each.trigger,
        str(each.step) if each.step == each.steps else f"{each.step} of {each.steps}",
        each.told_state,
        "" if each.loss is None else f"{each.loss:.4f}",
        "" if each.validation is None else f"{each.validation:.4f}",
        each.choice or "",
        verdict if len(verdict) <= LONGEST_REASON else f"{verdict[: LONGEST_REASON - 1]}…",
    )


def _notebook(found: RunsFound) -> Iterator[str]:
    noted = [each for each in found.runs if each.notes]
    for each in noted:
        told = f"{each.path}  ({each.when[:10]}, {each.trigger}, {each.step} steps, {each.told_state})"
        yield painted(told, bold=True)
        yield from note_lines(each.notes)
    if without := len(found.runs) - len(noted):
        yield f"{without} of {len(found.runs)} runs have no note."


def note_lines(notes: Sequence[Note]) -> Iterator[str]:
    """Yield a run's notes with their numbers, those that were amended marked as such."""
    from maquette.runs.notes import amended

    gone = amended(notes)
    for number, note in enumerate(notes, 1):
        verdict = f"{note.verdict}: " if note.verdict else ""
        beside = f"  (amends {note.amends})" if note.amends else ""
        beside += "  (amended)" if number in gone else ""
        text = f"  {number}. {note.time[:16].replace('T', ' ')}  {verdict}{note.text}{beside}"
        colour = COLOURS.get(note.verdict or "") if number not in gone else None
        yield painted(text, fg=colour) if colour else text

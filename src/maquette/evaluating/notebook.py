"""The notebook of a row of experiments as one self-contained page: what was kept, rejected or failed, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette import __version__
from maquette.comparing.history import changes_along
from maquette.comparing.listing import RunLine, RunsFound
from maquette.evaluating.page import json_markup, own_asset, render
from maquette.files import write_atomic
from maquette.runs.notes import Note, amended
from maquette.spoken import counted

BLOCK_ID = "maquette-notebook"
FAILED = ("failed", "interrupted", "stopped", "pruned")
GROUPS = (
    ("rejected", "Rejected", "Decided against, and why."),
    ("failed", "Failed or cut short", "They did not come to their end, and nothing was decided about them."),
    ("open", "Open", "Not decided yet."),
    ("kept", "Kept", "What these experiments came to."),
    ("none", "Nothing noted", 'Runs that nobody wrote a word about: maquette note RUN "why".'),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a notebook."""

    number: int
    note: Note
    is_amended: bool

    @property
    def day(self) -> str:
        return self.note.time[:16].replace("T", " ")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One run on the page."""

    run: RunLine
    entries: Sequence[Entry]
    before: str = ""
    changed: str = ""
    """What it changed against the run before it."""

    @property
    def group(self) -> str:
        if self.run.verdict:
            return self.run.verdict
        if self.run.is_left or self.run.state in FAILED:
            return "failed"
        return "open" if self.run.notes else "none"


def entries_of(notes: Sequence[Note]) -> list[Entry]:
    """Return the notes of a run as a page shows them."""
    gone = amended(notes)
    return [
        Entry(number=number, note=note, is_amended=number in gone) for number, note in enumerate(notes, 1)
    ]


def write_notebook(path: Path, found: RunsFound) -> Path:
    """Write the page of all decisions, failures and reasons to `path`; return it."""
    return write_atomic(path, render_notebook(found))


def render_notebook(found: RunsFound) -> str:
    """Return the page's HTML."""
    changes = changes_along(found.runs)
    experiments = [_experiment(each, changes) for each in found.runs]
    groups = [
        (title, lead, name, those)
        for name, title, lead in GROUPS
        if (those := [each for each in experiments if each.group == name])
    ]
    return render(
        "notebook.html.jinja",
        version=__version__,
        style=own_asset("report.css"),
        own_style=own_asset("notebook.css"),
        block_id=BLOCK_ID,
        block=json_markup(found.to_json()),
        folder=str(found.folder),
        headline=_headline(found, groups),
        groups=groups,
        remarks=list(found.remarks()),
    )


def _experiment(run: RunLine, changes: Mapping[Path, tuple[str, str]]) -> Experiment:
    before, changed = changes.get(run.path, ("", ""))
    return Experiment(run=run, entries=entries_of(run.notes), before=before, changed=changed)


def _headline(found: RunsFound, groups: Sequence[tuple[str, str, str, Sequence[Experiment]]]) -> str:
    told = ", ".join(f"{len(those)} {title.lower()}" for title, _, _, those in groups)
    return f"{counted(len(found.runs), 'run')}: {told}." if told else f"No run below {found.folder}."

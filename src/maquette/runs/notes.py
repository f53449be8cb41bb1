"""What a person decided about a run, and why: RUN/notes.jsonl, a line each, never changed; a later note amends an earlier one.

A file of its own, since the record belongs to whoever trains the run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from maquette.errors import ConfigError, OutputError, Problem
from maquette.files import append_line, cannot_write
from maquette.reading import Unreadable, is_writable, read_lines
from maquette.runs.folder import RunFolder

Verdict = Literal["kept", "rejected", "open"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
LONGEST_NOTE = 4000
_LEADING = re.compile(rf"({'|'.join(VERDICTS)})\s*:\s*(?=\S)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Note:
    """One entry of a run's notebook."""

    text: str
    """The reason, as it was written."""
    verdict: Verdict | None = None
    amends: int | None = None
    """The number (from 1) of the note that this one takes the place of."""
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a run stands by its notes: the last word that no later note took back."""

    verdict: Verdict | None = None
    reason: str = ""


def note_on(text: str, verdict: str | None = None, amends: int | None = None, known: int = 0) -> Note:
    """Return the note that is meant; `rejected: too long` says its verdict itself. `known` notes are there already.

    Raises ConfigError with every problem.
    """
    text = text.strip()
    said = _LEADING.match(text)
    own = said[1].lower() if said else None
    problems = list(_problems(text, verdict, own, amends, known))
    if problems:
        raise ConfigError(problems)
    meant = verdict or own
    chosen = next((each for each in VERDICTS if each == meant), None)
    reason = text[said.end() :] if said else text
    return Note(text=reason, verdict=chosen, amends=amends)


def _problems(
    text: str, verdict: str | None, own: str | None, amends: int | None, known: int
) -> list[Problem]:
    found = []
    if not text or len(text) > LONGEST_NOTE or not is_writable(text):
        given = "empty" if not text else f"{len(text):,} letters"
        required = f"a reason of 1 to {LONGEST_NOTE:,} letters that a text file can hold"
        found.append(Problem("note", given, required, 'Say why: maquette note RUN "rejected: too dark".'))
    if verdict is not None and verdict not in VERDICTS:
        found.append(
            Problem("--verdict", f"'{verdict}'", f"one of {', '.join(VERDICTS)}", "Give one of them.")
        )
    elif verdict and own and verdict != own:
        given = f"'{verdict}', where the note begins with '{own}:'"
        found.append(Problem("--verdict", given, "one verdict", "Leave one of them out."))
    if amends is not None and not 1 <= amends <= known:
        required = f"a note of this run, 1 to {known}" if known else "a run that has a note"
        found.append(Problem("--amends", str(amends), required, "See maquette note RUN."))
    return found


def add_note(folder: RunFolder, note: Note) -> Note:
    """Append `note` with the time; return it as it stands there. Raises OutputError where the run cannot be written."""
    stamped = {**asdict(note), "time": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        append_line(folder.notes, {name: value for name, value in stamped.items() if value is not None})
    except OSError as error:
        raise cannot_write(folder.notes, error) from error
    return Note(**stamped)


def read_notes(folder: RunFolder) -> list[Note]:
    """Return the run's notes in the order in which they were written; lines that say something else are passed over."""
    found: list[Note] = []
    if folder.notes.is_file():
        with suppress(Unreadable):
            found += [note for line in read_lines(folder.notes) if (note := _note(line)) is not None]
    return found


def _note(line: dict[str, Any]) -> Note | None:
    known = {each.name for each in fields(Note)}
    text, amends = line.get("text"), line.get("amends")
    if not line.keys() <= known or not isinstance(text, str) or not isinstance(line.get("time", ""), str):
        return None
    if amends is not None and (not isinstance(amends, int) or isinstance(amends, bool)):
        return None
    return Note(**line) if line.get("verdict") in (None, *VERDICTS) else None


def amended(notes: Sequence[Note]) -> set[int]:
    """Return the numbers (from 1) of notes that later ones took the place of."""
    return {note.amends for number, note in enumerate(notes, 1) if note.amends and note.amends < number}


def standing_of(notes: Sequence[Note]) -> Standing:
    """Return the last verdict that stands, with its reason; the last note where none has a verdict."""
    gone = amended(notes)
    valid = [note for number, note in enumerate(notes, 1) if number not in gone]
    decided = [note for note in valid if note.verdict is not None]
    last = (decided or valid or [Note(text="")])[-1]
    return Standing(verdict=last.verdict, reason=last.text)


def require_run(folder: RunFolder) -> None:
    """Raise OutputError where there is no run to note something on."""
    if not folder.record.is_file():
        given = "no run" if folder.path.exists() else "no such folder"
        required = f"a run's folder, with its {folder.record.name}"
        raise OutputError(
            Problem(str(folder.path), given, required, "maquette runs FOLDER lists the runs below a folder.")
        )

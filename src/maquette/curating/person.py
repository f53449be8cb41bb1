"""A person's own word about pictures: keep, reject, look again, leave it to Maquette; and taking back the last change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from maquette.curating.decisions import (
    Decision,
    Decisions,
    as_text,
    decisions_path,
    read_decisions,
)
from maquette.curating.records import MAQUETTE, YOU, State
from maquette.errors import DatasetError, Problem, did_you_mean
from maquette.locking import held
from maquette.project.journal import Journal
from maquette.project.undoing import changes_at
from maquette.project.undoing import undo as undo_change

KINDS = ("curate", "yours", "apply")
"""Who changes what curation decides: a run, a person, the copies of --apply."""
KEPT_CHANGES = 40

Word = Literal["kept", "rejected", "review", "automatic"]


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What a person's word changed."""

    decisions: Path
    changed: Mapping[str, State]
    """Picture → the state it is in now."""


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What was taken back."""

    kind: str
    """curate, yours, apply; empty when there was nothing."""
    remaining: int
    """Changes that can still be undone."""
    decisions: Path
    notes: tuple[str, ...] = ()


def decide(directory: Path, words: Mapping[Word, Sequence[str]]) -> Decided:
    """Write a person's decisions: word → names of pictures (or patterns with * and ?). Raises DatasetError.

    They stand above every reason and survive every later run; `automatic` hands a picture back to the reasons.
    """
    _require_decisions(directory)
    with held(directory, what="curate"):
        return _decided(directory, words)


def _decided(directory: Path, words: Mapping[Word, Sequence[str]]) -> Decided:
    found = _require_decisions(directory)
    matched = {word: _matches(found, names, directory) for word, names in words.items()}
    _refuse_contradictions(matched, directory)
    changed = {
        name: _told(found.pictures[name], word)
        for word, names in matched.items()
        for name in names
        if _told(found.pictures[name], word) != found.pictures[name]
    }
    write_decisions(replace(found, pictures={**found.pictures, **changed}), "yours")
    return Decided(
        decisions=decisions_path(directory),
        changed={name: decision.state for name, decision in sorted(changed.items())},
    )


def write_decisions(decisions: Decisions, kind: str) -> bool:
    """Write curation.json and keep what stood there for --undo; nothing happens when nothing changed."""
    path = decisions_path(decisions.folder)
    before = path.read_bytes() if path.is_file() else None
    text = as_text(decisions).encode()
    if text == before:
        return False
    what = {"curate": "the decisions of a run", "yours": "your own decisions"}[kind]
    journal = Journal(decisions.folder)
    journal.begin(kind, what, policy="always", keep=KEPT_CHANGES).write(path, text)
    return True


def undo(directory: Path) -> Undone:
    """Take back the last change in `directory`: a run's decisions, a person's, or the copies of --apply."""
    path = decisions_path(directory)
    if not changes_at(directory, kinds=KINDS):
        return Undone(kind="", remaining=0, decisions=path)
    done = undo_change(directory, kinds=KINDS)
    notes = tuple(f"{kept} was changed since it was copied and stays as it is" for kept in done.kept)
    for folder in sorted({file.parent for file in done.restored} - {directory.absolute()}, reverse=True):
        _remove_empty(folder)
    return Undone(kind=done.kind, remaining=done.left, decisions=path, notes=notes)


def _remove_empty(folder: Path) -> None:
    """Remove a folder that held copies alone, and those above it that are empty then."""
    while folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def automatic_state(decision: Decision) -> State:
    """Return what a decision's reasons alone amount to."""
    weights = {reason.weight for reason in decision.reasons}
    if "reject" in weights:
        return "rejected"
    return "review" if "review" in weights else "kept"


def _told(decision: Decision, word: Word) -> Decision:
    if word == "automatic":
        return replace(decision, state=automatic_state(decision), decided_by=MAQUETTE)
    return replace(decision, state=word, decided_by=YOU)


def _require_decisions(directory: Path) -> Decisions:
    found = read_decisions(directory)
    if found is None:
        raise DatasetError(
            Problem(
                str(directory),
                "no decisions here yet",
                "a folder that curate has looked at",
                f"Run: maquette curate {directory}",
            )
        )
    return found


def _matches(decisions: Decisions, names: Iterable[str], directory: Path) -> list[str]:
    """Return the pictures that `names` mean: a name below the folder, a bare file name, a path, a pattern, a group."""
    chosen: list[str] = []
    problems = []
    for given in names:
        found = _meant(decisions, given, directory)
        if not found:
            known = [name.rpartition("/")[2] for name in decisions.pictures]
            problems.append(
                Problem(
                    given, "no such picture here", f"a picture in {directory}", did_you_mean(given, known)
                )
            )
        chosen += found
    if problems:
        raise DatasetError(problems)
    return list(dict.fromkeys(chosen))


def _meant(decisions: Decisions, given: str, directory: Path) -> list[str]:
    if given in decisions.pictures:
        return [given]
    path = Path(given)
    try:
        below = path.resolve().relative_to(directory.resolve()).as_posix()
    except ValueError:
        below = ""
    if below in decisions.pictures:
        return [below]
    return [
        name
        for name in decisions.pictures
        if fnmatchcase(name, given) or fnmatchcase(name.rpartition("/")[2], given)
    ]


def _refuse_contradictions(matched: Mapping[Word, Sequence[str]], directory: Path) -> None:
    seen: dict[str, Word] = {}
    problems = []
    for word, names in matched.items():
        for name in names:
            if seen.setdefault(name, word) != word:
                given = f"told to be {seen[name]} and {word}"
                problems.append(Problem(str(directory / name), given, "one of them", "Leave one out."))
    if problems:
        raise DatasetError(problems)

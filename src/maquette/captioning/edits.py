"""Parts of many captions changed together (put in, taken out, replaced, moved), and one caption written anew.

A caption is parts between commas, as trainers shuffle them. Every change goes through the journal, so one undo takes it back;
with `dry_run` it is only shown. Lines after the first, which no trainer reads, stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from maquette.captioning.history import begin, write_caption
from maquette.captioning.records import Target
from maquette.captioning.targets import find_place, find_targets
from maquette.captioning.words_diff import Difference
from maquette.errors import ConfigError, OutputError, Problem, did_you_mean
from maquette.locking import held
from maquette.words.text import parts_of, same_part

Kind = Literal["insert", "remove", "replace", "move"]
SEPARATOR = ","
LAST = -1


class ChangedSince(OutputError):
    """A caption is no longer what it was when a person began to write it anew."""


@dataclass(frozen=True, kw_only=True)
class PartEdit:
    """One change of a part."""

    kind: Kind
    part: str
    """The part that is put in, taken out, replaced or moved, however it is spelled in capitals."""
    other: str = ""
    """What it is replaced by."""
    place: int = LAST
    """Where it is put in or moved to: 0 is the first, -1 the last; beyond the end is the last."""

    def __post_init__(self) -> None:
        problems = []
        if self.kind not in get_args(Kind):
            given = did_you_mean(str(self.kind), get_args(Kind))
            problems.append(Problem("kind", f"'{self.kind}'", "insert, remove, replace or move", given))
        needed = {"part": self.part} | ({"other": self.other} if self.kind == "replace" else {})
        problems += [
            Problem(
                name,
                f"'{text}'",
                "one part of a caption, without comma or line end",
                "Give one part at a time.",
            )
            for name, text in needed.items()
            if not text.strip() or SEPARATOR in text or len(text.splitlines()) > 1
        ]
        if self.place < LAST:
            problems.append(Problem("place", str(self.place), "-1, the last, or 0 and up", "Count from 0."))
        if problems:
            raise ConfigError(problems)

    @property
    def what(self) -> str:
        """The change in words."""
        where = (
            "at the end"
            if self.place == LAST
            else "at the beginning"
            if self.place == 0
            else f"in place {self.place + 1}"
        )
        return {
            "insert": f"put in '{self.part}' {where}",
            "remove": f"take out '{self.part}'",
            "replace": f"replace '{self.part}' by '{self.other}'",
            "move": f"move '{self.part}' {where}",
        }[self.kind]

    def applied(self, line: str) -> str:
        """Return the caption with the change; the very same text where it changes nothing."""
        parts = list(parts_of(line))
        changed = _EDITS[self.kind](parts, self)
        return line if changed == parts else f"{SEPARATOR} ".join(changed)


def _insert(parts: list[str], edit: PartEdit) -> list[str]:
    return parts if _index(parts, edit.part) is not None else _with(parts, edit.part.strip(), edit.place)


def _remove(parts: list[str], edit: PartEdit) -> list[str]:
    return [part for part in parts if same_part(part) != same_part(edit.part)]


def _replace(parts: list[str], edit: PartEdit) -> list[str]:
    changed = [edit.other.strip() if same_part(part) == same_part(edit.part) else part for part in parts]
    # What would then stand twice stands once, where it came first.
    return (
        parts
        if changed == parts
        else list({same_part(part): part for part in reversed(changed)}.values())[::-1]
    )


def _move(parts: list[str], edit: PartEdit) -> list[str]:
    place = _index(parts, edit.part)
    return parts if place is None else _with(parts[:place] + parts[place + 1 :], parts[place], edit.place)


_EDITS: dict[str, Callable[[list[str], PartEdit], list[str]]] = {
    "insert": _insert,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
}


def _index(parts: Sequence[str], wanted: str) -> int | None:
    return next((place for place, part in enumerate(parts) if same_part(part) == same_part(wanted)), None)


def _with(parts: list[str], part: str, place: int) -> list[str]:
    at = len(parts) if place == LAST else place
    return [*parts[:at], part, *parts[at:]]


@dataclass(frozen=True, kw_only=True)
class Edited:
    """What a change of captions did, or with `dry_run` would do."""

    diff: tuple[Difference, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    """Pictures whose caption is left as it is, and why."""
    dry_run: bool = False


def edit_parts(directory: Path, edit: PartEdit, names: Iterable[str], *, dry_run: bool = False) -> Edited:
    """Make one change in the captions of the pictures `names` (paths below the captioned folder).

    A picture without a caption gets one where the change puts something in. Raises ConfigError for unknown names.
    """
    place = find_place(directory)

    def work() -> Edited:
        known = {target.name: target for target in find_targets(place)[0]}
        wanted = list(dict.fromkeys(names))
        _require_known(wanted, known, place.root)
        recorder = begin(place.root, edit.what)
        differences: list[Difference] = []
        refused: dict[str, str] = {}
        done: set[Path] = set()
        for name in wanted:
            target = known[name]
            if target.caption in done:  # pictures of one stem share their caption
                continue
            done.add(target.caption)
            if target.problem:
                refused[name] = target.problem
                continue
            after = edit.applied(target.existing)
            if after == target.existing:
                continue
            if not after:
                refused[name] = "nothing would be left of the caption"
                continue
            text = _with_first_line(target, after)
            if dry_run:
                path = target.caption.relative_to(place.root).as_posix()
                differences.append(Difference(path=path, before=target.existing, after=after))
            else:
                differences.append(write_caption(recorder, target.caption, text.encode("utf-8")))
        return Edited(diff=tuple(differences), refused=refused, dry_run=dry_run)

    if dry_run:
        return work()
    with held(place.root, what="caption"):
        return work()


def write_one(directory: Path, name: str, text: str, *, expected: str) -> Difference:
    """Give the picture `name` the caption `text`, where its caption still is `expected`.

    Raises ChangedSince where it is not, ConfigError for an unknown name or a text of several lines.
    """
    if len(text.splitlines()) > 1:
        given = f"{len(text.splitlines())} lines"
        raise ConfigError(Problem(name, given, "one line: trainers read no other", "Write it in one line."))
    place = find_place(directory)
    with held(place.root, what="caption"):
        known = {target.name: target for target in find_targets(place)[0]}
        _require_known([name], known, place.root)
        target = known[name]
        if target.problem:
            raise ConfigError(
                Problem(str(target.caption), target.problem, "a caption in UTF-8", "maquette check --fix")
            )
        if target.existing != expected:
            raise ChangedSince(
                Problem(
                    str(target.caption),
                    f"its caption was changed meanwhile, to '{target.existing[:200]}'",
                    "the caption as it was when you began to write",
                    "Look at the new one, then write again.",
                )
            )
        recorder = begin(place.root, f"the caption of {name}")
        return write_caption(recorder, target.caption, _with_first_line(target, text.strip()).encode("utf-8"))


def _with_first_line(target: Target, line: str) -> str:
    """Return the whole text of a caption file with another first line."""
    if not target.lines_left_out or not target.caption.is_file():
        return f"{line}\n"
    before = target.caption.read_bytes().decode("utf-8")
    _, end, rest = before.partition("\n")
    return f"{line}{end}{rest}"


def _require_known(names: Iterable[str], known: dict[str, Target], root: Path) -> None:
    problems = [
        Problem(
            name[:200], "no such picture here", f"a picture in {root}", did_you_mean(name[:200], list(known))
        )
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigError(problems)

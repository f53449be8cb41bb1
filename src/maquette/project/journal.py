"""One journal for all that changes a person's files: captions, repairs, decisions, copies. What it noted can be undone.

    ROOT/.maquette/history/000007.jsonl    a change: its header, then a line a file, on the disk before that file is touched
    ROOT/.maquette/history/files/SHA256    bytes as they were, where they are no short text; text is kept as SHA256.gz

Paths in it are below ROOT, and nothing outside ROOT is ever written, whatever a journal says that came with a downloaded
folder. Changes that one action made in several folders carry the same session: each folder's journal answers for its own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from maquette.errors import OutputError, Problem
from maquette.files import append_line, write_atomic, write_new
from maquette.locking import held
from maquette.reading import Unreadable, read_lines

FOLDER = Path(".maquette") / "history"
CHANGE = re.compile(r"(\d{6,})\.jsonl")
SHA256 = re.compile(r"[0-9a-f]{64}")
SCHEMA = 1
LONGEST_NAME_BYTES = 255
INLINE_BYTES = 16 * 1024
"""Text up to this size stands in the line itself, where a person can read it."""

Policy = Literal["each", "together", "always"]
"""What undoing does about files that something else changed since: leaves those alone; touches nothing at all; puts the
old bytes back all the same (for files that are the program's own)."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of a change. A hash of None: there was no such file, or there is none any more."""

    path: str
    """Below the journal's folder, with forward slashes."""
    before: str | None
    after: str | None
    text: str | None = None
    """The old content, where it stands in the line."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One recorded change; a file that it touched twice counts once, with its first bytes and its last."""

    number: int
    kind: str
    """Who made it: captions, repairs, curate, yours, apply."""
    what: str
    at: float
    """Unix seconds."""
    session: str
    policy: Policy
    elsewhere: tuple[Path, ...]
    """Other folders in which the same session changed something."""
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did. Paths are whole."""

    kind: str
    what: str
    change: int
    restored: tuple[Path, ...]
    kept: tuple[Path, ...] = ()
    """Files that something else changed since: left as they are."""
    old_texts: Path | None = None
    """Where the old content of kept files can be read."""
    left: int = 0
    """How many earlier changes of these kinds can still be undone."""


class Journal:
    """The recorded changes of what lies below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.folder = self.root / FOLDER

    def begin(
        self,
        kind: str,
        what: str,
        *,
        policy: Policy = "each",
        session: str = "",
        elsewhere: Iterable[Path] = (),
        keep: int | None = None,
    ) -> Recorder:
        """Return a recorder for a new change; nothing is written before its first file is.

        Changes of one `session` are undone together. With `keep`, older changes of this kind beyond that many are
        forgotten.
        """
        header = {
            "schema": SCHEMA,
            "kind": kind,
            "what": what,
            "session": session or uuid4().hex,
            "policy": policy,
            "elsewhere": [str(Path(path).absolute()) for path in elsewhere],
        }
        return Recorder(self, header, keep)

    def changes(self, kinds: Sequence[str] = ()) -> list[Change]:
        """Return the changes that were not undone, oldest first; those of `kinds` alone where any are given.

        A clock that was set back puts no later change before an earlier one: it counts as made with the earlier one.
        """
        numbers = sorted(int(match[1]) for match in map(CHANGE.fullmatch, self._names()) if match)
        found, latest = [], 0.0
        for change in map(self.change, numbers):
            latest = max(latest, change.at)
            found.append(replace(change, at=latest))
        return [change for change in found if not kinds or change.kind in kinds]

    def change(self, number: int) -> Change:
        """Return one change. Raises OutputError for a damaged record or one that leads out of the folder."""
        file = self.file_of(number)
        try:
            header, *lines = list(read_lines(file)) or [{}]
            entries: dict[str, Entry] = {}
            for line in lines:
                entry = _entry(line)
                self._confine(entry.path)
                first = entries.get(entry.path)
                entries[entry.path] = entry if first is None else _joined(first, entry)
            return Change(
                number=number,
                kind=str(header["kind"]),
                what=str(header["what"]),
                at=float(header["at"]),
                session=str(header["session"]),
                policy=_policy(header["policy"]),
                elsewhere=tuple(Path(path) for path in header["elsewhere"]),
                entries=tuple(entries.values()),
            )
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise OutputError(
                Problem(
                    str(file),
                    f"is no record of a change ({type(error).__name__}: {error})",
                    "a file that Maquette wrote",
                    "Move it away; what it noted cannot be undone.",
                )
            ) from error

    def differences(self, change: Change) -> Iterator[tuple[str, bytes | None, bytes | None]]:
        """Yield (path, bytes before the change, bytes now) of its files that differ now from what they were."""
        for entry in change.entries:
            now = _read(self.root / entry.path)
            before = self.before(entry)
            if now != before:
                yield entry.path, before, now

    def before(self, entry: Entry) -> bytes | None:
        """Return the bytes that a file had before its change. Raises OutputError when they are gone or not the same."""
        if entry.before is None:
            return None
        data = entry.text.encode("utf-8") if entry.text is not None else self._kept_bytes(entry.before)
        if data is None or hashlib.sha256(data).hexdigest() != entry.before:
            raise OutputError(
                Problem(
                    str(self.root / entry.path),
                    "its old content is missing from the history, or damaged",
                    f"the kept file {self._kept(entry.before)}",
                    "Nothing was changed.",
                )
            )
        return data

    def undo(self, change: Change) -> tuple[list[Path], list[Path], Path | None]:
        """Take `change` back; return (restored, kept, where the old content of kept files stands)."""
        restored: list[Path] = []
        kept: list[Path] = []
        for entry in reversed(change.entries):
            path = self.root / entry.path
            now = hash_of(path)
            if now == entry.before:
                continue
            if now != entry.after and change.policy == "each":
                kept.append(path)
                continue
            data = self.before(entry)
            if data is None:
                path.unlink(missing_ok=True)
            else:
                write_atomic(path, data)
            restored.append(path)
        aside = self._close(change.number, keep=bool(kept))
        return sorted(restored), sorted(kept), aside

    def changed_since(self, changes: Sequence[Change]) -> list[Problem]:
        """Return which files are no longer as `changes` (the latest first) left them; none is touched."""
        expected: dict[str, str | None] = {}
        problems = []
        for change in changes:
            for entry in reversed(change.entries):
                now = expected[entry.path] if entry.path in expected else hash_of(self.root / entry.path)
                if now not in (entry.after, entry.before):
                    problems.append(
                        Problem(
                            str(self.root / entry.path),
                            f"changed since ({change.what})",
                            "the file as that change left it, so that nothing newer is lost",
                            "Move your version elsewhere, then undo again.",
                        )
                    )
                expected[entry.path] = entry.before
        return problems

    def file_of(self, number: int) -> Path:
        """Return the file of a change."""
        return self.folder / f"{number:06d}.jsonl"

    def forget(self, number: int) -> None:
        """Remove a change and the kept bytes that no other change needs."""
        self._close(number, keep=False)

    def keep_bytes(self, data: bytes) -> str:
        """Keep bytes by their content and return their hash."""
        sha256 = hashlib.sha256(data).hexdigest()
        if self._kept_bytes(sha256) != data:
            path = self._kept(sha256)
            if b"\0" in data[:4096]:
                write_atomic(path, data)
            else:
                write_atomic(path.with_suffix(".gz"), gzip.compress(data, 6, mtime=0))
        return sha256

    def next_number(self) -> int:
        """Return a number that no change has, undone ones included."""
        used = [int(name.partition(".")[0]) for name in self._names() if name.partition(".")[0].isdigit()]
        return max(used, default=0) + 1

    def _close(self, number: int, *, keep: bool) -> Path | None:
        """Take a change out of the history; with `keep` its record stays readable beside it."""
        file = self.file_of(number)
        if keep:
            aside = file.with_suffix(".undone.jsonl")
            file.replace(aside)
            return aside
        file.unlink(missing_ok=True)
        self._sweep()
        return None

    def _sweep(self) -> None:
        """Remove kept bytes that no change needs, and folders that are empty then."""
        kept = self.folder / "files"
        changes = [self.folder / name for name in self._names() if name.endswith(".jsonl")]
        try:
            needed = {line.get("before") for path in changes for line in read_lines(path)}
        except (OSError, TypeError, Unreadable):  # who cannot read a change does not know what it needs
            return
        for path in kept.iterdir() if kept.is_dir() else ():
            if path.name.removesuffix(".gz") not in needed:
                path.unlink(missing_ok=True)
        for folder in (kept, self.folder, self.folder.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _confine(self, name: str) -> None:
        root = self.root.resolve()
        path = Path(name)
        outside = path.is_absolute() or ".." in path.parts or "\0" in name
        if any(len(part.encode()) > LONGEST_NAME_BYTES for part in path.parts):
            raise ValueError(f"'{name[:80]}…' is too long for a file's name")
        if outside or not (root / path).resolve().is_relative_to(root):
            raise ValueError(f"'{name}' leads out of {self.root}")

    def _kept(self, sha256: str) -> Path:
        if not SHA256.fullmatch(sha256):
            raise ValueError(f"'{sha256[:80]}' is no SHA-256")
        return self.folder / "files" / sha256

    def _kept_bytes(self, sha256: str) -> bytes | None:
        path = self._kept(sha256)
        packed = _read(path.with_suffix(".gz"))
        try:
            return _read(path) if packed is None else gzip.decompress(packed)
        except (OSError, EOFError):
            return None

    def _names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []


@dataclass
class Recorder:
    """Writes and removes files, each noted first."""

    journal: Journal
    header: dict[str, Any]
    keep: int | None = None
    number: int | None = None
    """The change's number once something was written."""
    _file: Path = field(default_factory=Path)

    @property
    def session(self) -> str:
        return str(self.header["session"])

    def write(self, path: Path, data: bytes, *, note: str = "") -> bytes | None:
        """Give `path` exactly these bytes; return those it had. Raises OutputError."""
        before = self._note(path, data, note)
        write_atomic(path, data)
        return before

    def remove(self, path: Path, *, note: str = "") -> bytes | None:
        """Take a file away; return its bytes, which the journal keeps."""
        before = self._note(path, None, note)
        path.unlink(missing_ok=True)
        return before

    def note_all(self, changes: Iterable[tuple[Path, bytes | None, str]]) -> None:
        """Note (path, bytes to come or None for none, note) of files that the caller is about to change together."""
        for path, data, note in changes:
            self._note(path, data, note)

    def open(self) -> None:
        """Begin the change even though it has no file here yet: what it did lies elsewhere. Raises OutputError."""
        if self.number is None:
            try:
                self._open()
            except OSError as error:
                raise self._no_room(error) from error

    def _open(self) -> None:
        self.journal.folder.mkdir(parents=True, exist_ok=True)
        header = json.dumps({**self.header, "at": round(time.time(), 3)}, ensure_ascii=False) + "\n"
        number = self.journal.next_number()
        while not write_new(
            self.journal.file_of(number), header
        ):  # another takes the same number at the same moment
            number = self.journal.next_number()
        self.number, self._file = number, self.journal.file_of(number)
        if self.keep is not None:
            for change in self.journal.changes((str(self.header["kind"]),))[: -self.keep]:
                self.journal.forget(change.number)

    def _note(self, path: Path, after: bytes | None, note: str) -> bytes | None:
        name = path.absolute().relative_to(self.journal.root.absolute()).as_posix()
        before = _read(path)
        line: dict[str, Any] = {"path": name, "before": None, "after": None}
        try:
            self.open()
            if before is not None:
                text = _short_text(before)
                line["before"] = hashlib.sha256(before).hexdigest() if text is not None else None
                line |= {"text": text} if text is not None else {"before": self.journal.keep_bytes(before)}
            if after is not None:
                line["after"] = hashlib.sha256(after).hexdigest()
            append_line(self._file, line | ({"note": note} if note else {}))
        except OSError as error:
            raise self._no_room(error) from error
        return before

    def _no_room(self, error: OSError) -> OutputError:
        return OutputError(
            Problem(
                str(self.journal.folder),
                f"cannot be written ({error.strerror or error})",
                "room for what every file was before it changes",
                "Make the folder writable or free some space. Nothing was changed without being noted.",
            )
        )


def latest_first(changes: Iterable[Change]) -> list[Change]:
    """Return changes of one journal or several, the latest first."""
    return sorted(changes, key=lambda change: (change.at, change.number), reverse=True)


def undo_last(roots: Sequence[Path], *, kinds: Sequence[str] = (), where: Path | None = None) -> Undone:
    """Take back the latest change noted in any of `roots`, with all that its session did elsewhere.

    kinds: only changes of these kinds. where: what the person named, for the error. Raises OutputError when there is
    nothing to undo, or a change that is undone whole or not at all meets a file that is newer.
    """
    with held(*(root for root in roots if Path(root).is_dir()), what="undo"):
        return _undo_last(roots, kinds, where)


def _undo_last(roots: Sequence[Path], kinds: Sequence[str], where: Path | None) -> Undone:
    journals = [Journal(root) for root in dict.fromkeys(Path(root).absolute() for root in roots)]
    known = [(change.at, index, change) for index, j in enumerate(journals) for change in j.changes(kinds)]
    if not known:
        given = "nothing to undo"
        place = str(where or roots[0])
        raise OutputError(
            Problem(place, given, "a change that Maquette made here", "Give the folder that was changed.")
        )
    _, index, last = max(known, key=lambda each: (each[0], each[2].number))
    parts = _session_of(journals[index], last)
    own = {Path(root).resolve() for root in roots}
    others = [journal.root for journal, _ in parts if journal.root.resolve() not in own]
    with held(*others, what="undo"):
        return _undone(journals, kinds, last, parts)


def _undone(
    journals: Sequence[Journal],
    kinds: Sequence[str],
    last: Change,
    parts: Sequence[tuple[Journal, list[Change]]],
) -> Undone:
    problems = [
        problem
        for journal, changes in parts
        if any(change.policy == "together" for change in changes)
        for problem in journal.changed_since(changes)
    ]
    if problems:
        raise OutputError(problems)
    restored: list[Path] = []
    kept: list[Path] = []
    old_texts = None
    for journal, changes in parts:
        for change in changes:
            done, left_alone, aside = journal.undo(change)
            restored += done
            kept += left_alone
            old_texts = aside or old_texts
    return Undone(
        kind=last.kind,
        what=last.what,
        change=last.number,
        restored=tuple(dict.fromkeys(restored)),
        kept=tuple(dict.fromkeys(kept)),
        old_texts=old_texts,
        left=sum(len(journal.changes(kinds)) for journal in journals),
    )


def hash_of(path: Path) -> str | None:
    """Return the SHA-256 of a file, None where there is none."""
    data = _read(path)
    return None if data is None else hashlib.sha256(data).hexdigest()


def _session_of(journal: Journal, change: Change) -> list[tuple[Journal, list[Change]]]:
    """Return every journal that the change's session wrote to, with its changes, the latest first."""
    folders = [journal.root, *change.elsewhere]
    found = []
    for folder in dict.fromkeys(Path(folder).absolute() for folder in folders):
        other = Journal(folder)
        changes = [each for each in other.changes() if each.session == change.session]
        if changes:
            found.append((other, changes[::-1]))
    return found


def _entry(line: dict[str, Any]) -> Entry:
    hashes = [line["before"], line["after"]]
    if not all(each is None or SHA256.fullmatch(each) for each in hashes):
        raise ValueError("a hash is none")
    text = line.get("text")
    str(text).encode("utf-8")
    return Entry(
        path=str(line["path"]),
        before=line["before"],
        after=line["after"],
        text=None if text is None else str(text),
        note=str(line.get("note", "")),
    )


def _joined(first: Entry, last: Entry) -> Entry:
    return Entry(path=first.path, before=first.before, after=last.after, text=first.text, note=last.note)


def _policy(name: Any) -> Policy:
    if name not in ("each", "together", "always"):
        raise ValueError(f"policy {name!r}")
    policy: Policy = name
    return policy


def _short_text(data: bytes) -> str | None:
    if len(data) > INLINE_BYTES:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None

"""Every change to caption files, written down before it happens: what `--diff` shows and `--undo` takes back.

Beside the pictures lies `.captions/` with one file a change: `0001.jsonl`, a header line, then one line a caption file
with its bytes before and after. A line is on the disk before its file is touched, so that a killed run can be undone too.
An undone change keeps its file as `0001.undone.jsonl`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.captioning.records import Difference
from maquette.errors import ConfigError, OutputError, Problem
from maquette.files import write_atomic

FOLDER = ".captions"
CHANGE = re.compile(r"(\d{4,})\.jsonl")


@dataclass(frozen=True)
class Entry:
    """One caption file of a change. None: there was no such file, or there is none any more."""

    path: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True)
class Change:
    """One recorded change, with the first bytes and the last that it gave each file."""

    number: int
    what: str
    file: Path
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What an undo did. Paths are below the captioned folder."""

    change: int
    what: str
    restored: tuple[str, ...]
    kept: tuple[str, ...]
    """Files that something else changed since: left as they are; their old text is in `file`."""
    file: Path
    left: int
    """How many earlier changes can still be undone."""


class History:
    """The recorded changes of the captions below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.folder = self.root / FOLDER

    def begin(self, what: str) -> Recorder:
        """Return a recorder for a new change; nothing is written before the first caption is."""
        return Recorder(self, what)

    def numbers(self) -> list[int]:
        """Return the numbers of the changes that were not undone, ascending."""
        return sorted(int(match[1]) for match in map(CHANGE.fullmatch, self._names()) if match)

    def next_number(self) -> int:
        """Return a number that no change has, undone ones included."""
        used = [int(name.partition(".")[0]) for name in self._names() if name.partition(".")[0].isdigit()]
        return max(used, default=0) + 1

    def change(self, number: int) -> Change:
        """Return one change as its file has it; a line cut short by a kill is left out, its file was not touched."""
        file = self.folder / f"{number:04d}.jsonl"
        header, *lines = list(read_lines(file)) or [{}]
        entries: dict[str, Entry] = {}
        for line in lines:
            entry = Entry(line["path"], _bytes(line["before"]), _bytes(line["after"]))
            known = entries.get(entry.path)
            entries[entry.path] = Entry(entry.path, known.before, entry.after) if known else entry
        return Change(number, str(header.get("what", "")), file, tuple(entries.values()))

    def last(self) -> Change:
        """Return the last change that was not undone. Raises ConfigError when there is none."""
        numbers = self.numbers()
        if not numbers:
            raise ConfigError(
                Problem(
                    str(self.root),
                    f"no recorded change of captions in {FOLDER}",
                    "a folder whose captions maquette has changed",
                    "Give the folder that was captioned.",
                )
            )
        return self.change(numbers[-1])

    def differences(self) -> tuple[Difference, ...]:
        """Return how the caption files of the last change differ now from what they were before it."""
        found = []
        for entry in self.last().entries:
            now = _read(self.root / entry.path)
            if now != entry.before:
                found.append(Difference(path=entry.path, before=_text(entry.before), after=_text(now)))
        return tuple(found)

    def undo(self) -> Undone:
        """Take the last change back, byte for byte; call again for the one before. Raises ConfigError when there is none.

        A file that something else changed since stays as it is.
        """
        change = self.last()
        restored, kept = [], []
        for entry in reversed(change.entries):
            path = self.root / entry.path
            now = _read(path)
            if now == entry.before:
                continue
            if now != entry.after:
                kept.append(entry.path)
            elif entry.before is None:
                path.unlink()
                restored.append(entry.path)
            else:
                write_atomic(path, entry.before)
                restored.append(entry.path)
        aside = change.file.with_name(f"{change.number:04d}.undone.jsonl")
        change.file.replace(aside)
        return Undone(
            change=change.number,
            what=change.what,
            restored=tuple(sorted(restored)),
            kept=tuple(sorted(kept)),
            file=aside,
            left=len(self.numbers()),
        )

    def _names(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []


class Recorder:
    """Writes captions, each recorded first."""

    def __init__(self, history: History, what: str) -> None:
        self._history = history
        self._what = what
        self._file: Path | None = None
        self.number: int | None = None
        """The change's number once something was written."""

    def write(self, path: Path, text: str) -> Difference:
        """Give `path` the caption `text` and a line's end; return what that changes. Raises OutputError."""
        before, after = _read(path), (text + "\n").encode("utf-8")
        name = path.relative_to(self._history.root).as_posix()
        self._record({"path": name, "before": _plain(before), "after": _plain(after)})
        write_atomic(path, after)
        return Difference(path=name, before=_text(before), after=_text(after))

    def write_bytes(self, path: Path, data: bytes) -> Difference:
        """Give `path` exactly these bytes."""
        before = _read(path)
        name = path.relative_to(self._history.root).as_posix()
        self._record({"path": name, "before": _plain(before), "after": _plain(data)})
        write_atomic(path, data)
        return Difference(path=name, before=_text(before), after=_text(data))

    def _record(self, line: dict[str, Any]) -> None:
        try:
            if self._file is None:
                self._open()
            assert self._file is not None
            append_line(self._file, line)
        except OSError as error:
            raise OutputError(
                Problem(
                    str(self._history.folder),
                    f"cannot be written ({error.strerror})",
                    "room for the backup of every caption that changes",
                    "Make the folder writable or free some space. No caption was changed without a backup.",
                )
            ) from error

    def _open(self) -> None:
        self._history.folder.mkdir(exist_ok=True)
        while True:  # another run may take the same number at the same moment
            self.number = self._history.next_number()
            self._file = self._history.folder / f"{self.number:04d}.jsonl"
            try:
                with self._file.open("x", encoding="utf-8"):
                    break
            except FileExistsError:
                continue
        append_line(self._file, {"what": self._what, "at": time.strftime("%Y-%m-%dT%H:%M:%S")})


def append_line(file: Path, value: Any) -> None:
    """Append one JSON line that is on the disk when this returns; an unfinished line before it is closed first."""
    with file.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_lines(file: Path) -> Iterator[Any]:
    """Yield the values of a JSON-lines file; lines that were cut short are passed over."""
    for line in file.read_bytes().split(b"\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _plain(data: bytes | None) -> Any:
    """Return bytes for JSON: as text where they are UTF-8, else as base64, None for no file."""
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return str(value).encode("utf-8")


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", errors="replace")

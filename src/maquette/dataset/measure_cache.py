"""What was measured once is not measured again: a small database in the user's cache folder.

Measures are kept by the content's SHA-256, so copies, renamed files and other projects find them too; a second table
says which content a path had, by size and time of change, so that an unchanged file is not even opened.
A cache can only save time: whatever is wrong with it, pictures are measured as if there were none.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import PIL

from maquette.dataset.measures import Measured, Measures
from maquette.errors import Problem
from maquette.files import cache_folder
from maquette.reading import parse_json

MEASURE_VERSION = "2"
"""Raise it when a measure's definition changes: older entries are then taken anew."""
FRESH_NS = 2_000_000_000
"""A file changed this recently may change again within one tick of its disk's clock: its path is not remembered."""
BATCH = 256
BUSY_S = 5.0

TABLES = """
CREATE TABLE IF NOT EXISTS measures (sha256 TEXT, version TEXT, value TEXT, PRIMARY KEY (sha256, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paths (path TEXT PRIMARY KEY, size INTEGER, changed_ns INTEGER, sha256 TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class FileState:
    """What tells that a file is still the same without opening it."""

    size: int
    changed_ns: int

    @staticmethod
    def of(path: Path) -> FileState | None:
        """Return the state of a file, or None where there is none to be had."""
        try:
            status = path.stat()
        except OSError:
            return None
        return FileState(status.st_size, status.st_mtime_ns)

    @property
    def is_settled(self) -> bool:
        return abs(time.time_ns() - self.changed_ns) > FRESH_NS


class MeasureCache:
    """The database of measures. May be used from several threads, and by several processes at once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.file = (folder or cache_folder()) / "measures.sqlite3"
        self.trouble = ""
        """Why the cache is not used, or was begun anew; empty when all is well."""
        self._lock = threading.Lock()
        self._pending: list[tuple[Path, FileState | None, str, str]] = []
        self._connection = self._open()

    def recall(self, paths: Sequence[Path]) -> dict[Path, Measured]:
        """Return what is known of those `paths` whose files are still as they were measured."""
        states = {path: state for path in paths if (state := FileState.of(path)) is not None}
        found: dict[Path, Measured] = {}
        for path, state in states.items():
            row = self._one(
                "SELECT value FROM paths JOIN measures USING (sha256) "
                "WHERE path = ? AND size = ? AND changed_ns = ? AND version = ?",
                (_name(path), state.size, state.changed_ns, _version()),
            )
            result = _read(path, row)
            if result is not None:
                found[path] = result
        return found

    def by_content(self, path: Path, sha256: str) -> Measured | None:
        """Return what is known of a content, as the result for `path`."""
        query = "SELECT value FROM measures WHERE sha256 = ? AND version = ?"
        return _read(path, self._one(query, (sha256, _version())))

    def remember(self, result: Measured, sha256: str, state: FileState | None) -> None:
        """Keep a result; `state` is the file's from before it was read. Written in batches and by `flush`."""
        with self._lock:
            self._pending.append((result.path, state, sha256, _written(result)))
            full = len(self._pending) >= BATCH
        if full:
            self.flush()

    def flush(self) -> None:
        """Write what is pending."""
        with self._lock:
            pending, self._pending = self._pending, []
            if self._connection is None or not pending:
                return
            try:
                with self._connection as connection:
                    connection.executemany(
                        "INSERT OR REPLACE INTO measures VALUES (?, ?, ?)",
                        [(sha256, _version(), value) for _, _, sha256, value in pending],
                    )
                    connection.executemany(
                        "INSERT OR REPLACE INTO paths VALUES (?, ?, ?, ?)", _settled(pending)
                    )
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Write what is pending and let go of the file."""
        self.flush()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not isinstance(error, sqlite3.OperationalError) and self._set_aside():
                try:
                    connection = self._connect()
                except (OSError, sqlite3.Error) as again:
                    error = again  # type: ignore[assignment]
                else:
                    self.trouble = f"{self.file} was damaged and has been begun anew"
                    return connection
            self._give_up(error)
        except OSError as error:
            self._give_up(error)
        return None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.file, timeout=BUSY_S, check_same_thread=False)
        try:
            _keep_a_log(connection)
            connection.execute(
                "PRAGMA synchronous = OFF"
            )  # losing a cache in a power cut costs a second look
            connection.executescript(TABLES)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> bool:
        """Rename a damaged database, so that a new one can take its place."""
        try:
            self.file.replace(self.file.with_suffix(".damaged"))
            for suffix in ("-wal", "-shm"):
                self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        except OSError:
            return False
        return True

    def _one(self, query: str, values: tuple[Any, ...]) -> str | None:
        with self._lock:
            if self._connection is None:
                return None
            try:
                row = self._connection.execute(query, values).fetchone()
            except sqlite3.Error as error:
                self._give_up(error)
                return None
        return row[0] if row else None

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"{self.file} cannot be used ({error}); pictures are measured anew each time"
        if getattr(self, "_connection", None) is not None:
            self._connection.close()  # type: ignore[union-attr]
        self._connection = None


def _settled(pending: Iterable[tuple[Path, FileState | None, str, str]]) -> list[tuple[str, int, int, str]]:
    return [
        (_name(path), state.size, state.changed_ns, sha256)
        for path, state, sha256, _ in pending
        if state is not None and state.is_settled
    ]


def _name(path: Path) -> str:
    """Return a path as text that SQLite takes, even where the disk holds a name that is no UTF-8."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")  # noqa: PTH100 (no disk access)


def _version() -> str:
    return f"{MEASURE_VERSION}, Pillow {PIL.__version__}"  # what can be decoded depends on it


def _written(result: Measured) -> str:
    if isinstance(result.result, Problem):
        return json.dumps({"problem": asdict(result.result)})
    values = asdict(result.result)
    return json.dumps({"measures": {**values, "thumbnail": values["thumbnail"].hex()}})


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work at once. SQLite does not wait for others by itself where a file first changes to that."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def _read(path: Path, text: str | None) -> Measured | None:
    """Return an entry as the result for `path`; None for none, or for one that cannot be understood."""
    if text is None:
        return None
    try:
        value = parse_json(text)
        if "problem" in value:
            return Measured(path, replace(Problem(**value["problem"]), where=str(path)))
        values = value["measures"]
        values["thumbnail"] = bytes.fromhex(values["thumbnail"])
        for name in ("edge_contacts", "bars", "palette"):
            values[name] = tuple(values[name])
        return Measured(path, Measures(**values))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None

"""Files that are never half written: each appears whole beside its target, then takes its name.

Until then it is called `.NAME.PROCESS-PLACE-LETTERS.part`: what a kill left behind is told by it from what is being written.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from maquette.errors import OutputError, Problem

PARTIAL = re.compile(r"\..*\.([0-9a-f]+)-([0-9a-f]{8})-\w{8}\.part")
PARTIAL_OF_0_1 = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
HASH_BLOCK_BYTES = 1 << 20
SHOWN_LETTERS = 40
"""Of a file's name in that of its partial one, which is not to be longer than the disk allows where the name itself is not."""
LONGEST_WRITE_S = 3600.0
"""What was not written to for so long is being written by nobody."""


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    durable: it is on the disk before it takes its name, so that even a power cut leaves the old file or the new one.
    Raises OutputError when the folder cannot be written or the disk is full; what stood at `path` stays.
    """
    path = Path(path)
    with partial(path) as temporary:
        yield temporary
        _settle(temporary, durable=durable)
        temporary.replace(path)


@contextmanager
def partial(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which is removed afterwards. Raises OutputError for errors of the system."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name[:SHOWN_LETTERS]}.{os.getpid():x}-{_place()}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str, *, durable: bool = True) -> Path:
    """Write `content` (text as UTF-8) to `path` whole or not at all, as `replacing` does; return `path`."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path, durable=durable) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_new(path: Path, content: str) -> bool:
    """Write `content` to `path` whole, unless something is there; return whether it was written."""
    with partial(path) as temporary:
        temporary.write_bytes(content.encode())
        _settle(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError:  # a disk without links
            if path.exists():
                return False
            temporary.replace(path)
    return True


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as indented JSON, whole or not at all; return `path`."""
    return write_atomic(path, json_text(value))


def json_text(value: Any) -> str:
    """Return `value` as the indented JSON of a file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class LineLog:
    """Appends lines whole and at once: nothing stays in memory that a full disk could refuse when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Append `line` and its end, or nothing. Raises OutputError."""
        data, before = line + b"\n", self._file.tell()
        try:
            written = self._file.write(data)
            if written != len(data):
                self._file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Push everything to the disk."""
        if not self._file.closed:
            with suppress(OSError):  # what was refused has been said; what was taken stays
                os.fsync(self._file.fileno())
            self._file.close()


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line that is on the disk when this returns; an unfinished line before it is closed first."""
    with path.open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                stream.write(b"\n")
        stream.write(json.dumps(value, ensure_ascii=False).encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


def sha256_file(path: Path, given_up: Callable[[], bool] = lambda: False) -> str:
    """Return the hex SHA-256 of a file's bytes; nothing once `given_up` says that nobody waits for it."""
    found = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(HASH_BLOCK_BYTES):
            if given_up():
                return ""
            found.update(block)
    return found.hexdigest()


def require_writable_folder(folder: Path) -> None:
    """Create `folder` if needed and prove that a file can be written in it, or raise OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error) from error


def require_name_fits(folder: Path, name: str) -> None:
    """Prove that a file called `name` can be made in `folder`, or raise OutputError: disks bound names, each in its own way."""
    path = folder / name
    try:
        path.open("xb").close()
        path.unlink()
    except FileExistsError:
        return
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_stale_partials(folder: Path, *, below: bool = True) -> int:
    """Remove what killed processes left half written in `folder` and `below`; return how many files that were."""
    removed = 0
    for path, folders, names in os.walk(folder):
        folders[:] = folders if below else []
        for name in names:
            file = Path(path) / name
            if name.endswith(".part") and _is_stale(file):
                with suppress(OSError):
                    file.unlink()
                    removed += 1
    return removed


def _is_stale(partial: Path) -> bool:
    """Return whether nobody is writing a partial file any more: its process is gone, or it was long not written to."""
    match = PARTIAL.fullmatch(partial.name)
    if match is None and not PARTIAL_OF_0_1.fullmatch(partial.name):
        return False
    if match is not None and match[2] == _place():
        import psutil

        if not psutil.pid_exists(int(match[1], 16)):
            return True
    try:
        return time.time() - partial.lstat().st_mtime > LONGEST_WRITE_S
    except OSError:
        return False


@cache
def _place() -> str:
    """Return what process numbers are unique in, hashed: this machine, and this container of it."""
    try:
        container = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (its target is no path)
    except OSError:
        container = ""
    return hashlib.sha256(f"{socket.gethostname()}\n{container}".encode()).hexdigest()[:8]


def _settle(temporary: Path, *, durable: bool = True) -> None:
    """Give the file ordinary permissions (mkstemp makes it private) and push it to the disk before it is renamed."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    if not durable:
        return
    with temporary.open("rb") as file:
        os.fsync(file.fileno())


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the error that says in words why something could not be written at `path`."""
    if error.errno == errno.ENAMETOOLONG:
        return OutputError(
            Problem(
                str(path),
                f"the name is too long for this disk ({len(os.fsencode(path.name))} bytes)",
                "a shorter one",
                "Choose a shorter name, or a folder higher up.",
            )
        )
    return OutputError(
        Problem(
            str(path),
            f"cannot be written ({error.strerror or error})",
            "a writable place with free space",
            "Choose another output folder, or free space or permissions there.",
        )
    )


def cache_folder() -> Path:
    """Return where this user's caches belong: MAQUETTE_CACHE, else the system's own place."""
    given = os.environ.get("MAQUETTE_CACHE")
    if given:
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "maquette"
    if sys.platform == "win32":
        return (
            Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "maquette" / "cache"
        )
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maquette"


def state_folder() -> Path:
    """Return where this user's lasting state belongs (jobs, notifications): MAQUETTE_HOME, else the system's own place."""
    given = os.environ.get("MAQUETTE_HOME")
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "maquette"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "maquette"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "maquette"

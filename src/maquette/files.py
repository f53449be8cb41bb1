"""Files that are never half written: each appears whole beside its target, then takes its name."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from maquette.errors import OutputError, Problem


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    Raises OutputError when the folder cannot be written or the disk is full; what stood at `path` stays.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _settle(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes | str) -> Path:
    """Write `content` (text as UTF-8) to `path` whole or not at all; return `path`."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return Path(path)


def write_json(path: Path, value: Any) -> Path:
    """Write `value` as indented JSON, whole or not at all; return `path`."""
    return write_atomic(path, json_text(value))


def json_text(value: Any) -> str:
    """Return `value` as the indented JSON of a file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


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


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file; lines that were cut short are passed over."""
    for line in path.read_bytes().split(b"\n"):
        try:
            value = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_writable_folder(folder: Path) -> None:
    """Create `folder` if needed and prove that a file can be written in it, or raise OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _settle(temporary: Path) -> None:
    """Give the file ordinary permissions (mkstemp makes it private) and push it to the disk before it is renamed."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())


def _cannot_write(path: Path, error: OSError) -> OutputError:
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

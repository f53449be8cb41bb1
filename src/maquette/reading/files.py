"""Files as plain values: JSON, TOML, YAML and lines of JSON."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, MaquetteError
from maquette.reading.limits import (
    MAX_JSON_BYTES,
    MAX_LINE_BYTES,
    MAX_TOML_BYTES,
    MAX_YAML_BYTES,
    Malformed,
    Unreadable,
    shown,
)
from maquette.reading.texts import parse_json, parse_toml


@dataclass(frozen=True)
class FileKind:
    """What a file is to be, what to do where it is not, and which error says so."""

    required: str
    remedy: str
    error: type[MaquetteError] = ConfigError
    damaged: str = ""
    """What to do about a wrong value in it, where no person writes such a file; empty: write it otherwise."""


def read_table(path: Path, kind: FileKind) -> dict[str, Any]:
    """Return the table in a JSON (by its ending) or TOML file. Raises `kind.error` with one problem that says where.

    UTF-8 with or without a byte order mark, no key twice.
    """
    is_json = path.suffix.lower() == ".json"
    if is_json:
        return _table(path, kind, parse_json, MAX_JSON_BYTES)
    return _table(path, kind, parse_toml, MAX_TOML_BYTES)


def read_yaml(path: Path, kind: FileKind) -> dict[str, Any]:
    """Return the table in a YAML file, likewise. Tags of a program are refused; dates stay the text that is written."""
    from maquette.reading.yaml_values import parse_yaml

    return _table(path, kind, parse_yaml, MAX_YAML_BYTES)


def _table(path: Path, kind: FileKind, parse: Callable[[str], Any], max_bytes: int) -> dict[str, Any]:
    try:
        values = parse(text_of(path, max_bytes))
        if not isinstance(values, dict):
            given = "nothing in it" if values is None else shown(values)
            raise Unreadable(f"{given}, where keys and values belong")
    except Unreadable as error:
        raise kind.error(error.problem(path, kind.required, kind.remedy)) from None
    return values


def json_of(path: Path) -> Any:
    """Return the value of a JSON file. Raises Unreadable."""
    return parse_json(text_of(path))


def text_of(path: Path, max_bytes: int = MAX_JSON_BYTES) -> str:
    """Return the text of an ordinary file of at most `max_bytes`, UTF-8 with or without its mark. Raises Unreadable."""
    data = bytes_of(path, max_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Unreadable("not UTF-8 text but UTF-16", "", "Save it as UTF-8.") from None
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable("not UTF-8 text", f" line {line}", "Save it as UTF-8.") from None


def bytes_of(path: Path, max_bytes: int) -> bytes:
    """Return what an ordinary file of at most `max_bytes` holds. Raises Unreadable; no pipe or device is opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable(
                "cannot be read (it is a folder)" if path.is_dir() else "cannot be read (no ordinary file)"
            )
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except FileNotFoundError:
        raise Unreadable("no such file") from None
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})") from None
    except Unreadable:
        raise
    except ValueError:  # a NUL in the path, or half of a surrogate pair
        raise Unreadable("no name of a file") from None
    if len(data) > max_bytes:
        size = f"{max_bytes >> 20} MiB" if max_bytes >= 2**20 else f"{max_bytes >> 10} KiB"
        raise Unreadable(f"larger than {size}")
    return data


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file, one line in memory at a time.

    Lines that were cut short are passed over, as a crash leaves them. Raises Unreadable for one beyond the limits.
    """
    for number, line in enumerate(_lines(path), 1):
        try:
            value = parse_json(line) if line.strip() else None
        except Malformed:
            continue
        except Unreadable as error:
            raise Unreadable(error.given, f" line {number}") from None
        if isinstance(value, dict):
            yield value


def _lines(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        raise Unreadable("no such file, or no ordinary one")
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise Unreadable(f"a line longer than {MAX_LINE_BYTES >> 20} MiB", f" line {number}")
            yield line

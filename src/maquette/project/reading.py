"""The one way to read our own JSON and TOML from disk: within limits, and every failure in words.

`read_table` gives plain values; `validation.checked` turns them into a record.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, MaquetteError, Problem

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 64
"""Tables and lists inside one another; our own files have seven."""
MAX_VALUES = 10_000_000
"""Of one level; a YAML file of a few lines can mean more than any memory holds."""
MAX_SHOWN = 200
"""Letters of a wrong value that a message shows."""


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

    UTF-8 with or without a byte order mark, up to MAX_BYTES, no deeper than MAX_DEPTH, no key twice, no text that could
    not be written back.
    """
    return _read(path, kind, _json if path.suffix.lower() == ".json" else _toml)


def read_yaml(path: Path, kind: FileKind) -> dict[str, Any]:
    """Return the table in a YAML file, within the same limits. Tags of a program are refused."""
    return _read(path, kind, _yaml)


def _read(path: Path, kind: FileKind, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        values = _parsed(_text_of(path), parse)
        if not isinstance(values, dict):
            given = "nothing in it" if values is None else shown(values)
            raise _BadFile(f"{given}, where keys and values belong")
        _require_plain(values)
    except _BadFile as error:
        where = f"{path}{error.place}"
        raise kind.error(Problem(where, error.given, kind.required, error.remedy or kind.remedy)) from None
    return values


class _BadFile(Exception):
    def __init__(self, given: str, place: str = "", remedy: str = "") -> None:
        super().__init__(given)
        self.given, self.place, self.remedy = given, place, remedy


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _BadFile(f"larger than {MAX_BYTES >> 20} MiB")
        data = path.read_bytes()
    except FileNotFoundError:
        raise _BadFile("no such file") from None
    except OSError as error:
        raise _BadFile(f"cannot be read ({error.strerror or error})") from None
    except ValueError:  # a NUL in the path
        raise _BadFile("no name of a file") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _BadFile("not UTF-8 text", f" line {line}", "Save it as UTF-8.") from None


def _parsed(text: str, parse: Callable[[str], Any]) -> Any:
    try:
        return parse(text)
    except RecursionError:
        raise _BadFile(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:  # a number of thousands of digits, a date that is none
        raise _BadFile(f"not valid ({str(error).partition(';')[0]})") from None


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        place = f" line {error.lineno}"
        raise _BadFile(f"not valid JSON ({error.msg}, column {error.colno})", place) from None


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        remedy = "Repair the line it names; texts need quotes."
        raise _BadFile(f"not valid TOML ({error})", remedy=remedy) from None


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _BadFile(f"not valid YAML ({' '.join(str(error).split())})") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _BadFile(f"the key '{twice}' stands twice in one table")
    return table


def _require_plain(values: Any) -> None:
    """Refuse what is too deep to handle, and texts that no file can hold."""
    level = [values]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.keys()
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str) and not _is_writable(value):
                raise _BadFile(f"{shown(value)} holds a character that no text file can")
        if not inner:
            return
        if len(inner) > MAX_VALUES:
            raise _BadFile(f"more than {MAX_VALUES:,} values")
        level = inner
    raise _BadFile(f"nested deeper than {MAX_DEPTH} levels")


def _is_writable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def shown(value: Any) -> str:
    """Return a value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"

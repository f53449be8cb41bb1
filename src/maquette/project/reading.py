"""The one way to read our own JSON and TOML from disk: within limits, and every failure in words.

`read_table` gives plain values, `checked` turns them into a record: a dataclass or a pydantic model, whose annotations
are the schema. Numbers and texts are taken as they are written, never converted; unknown keys are problems.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from maquette.errors import ConfigError, MaquetteError, Problem, did_you_mean

T = TypeVar("T")
Location = tuple[int | str, ...]
"""Keys and positions (from 0) that lead to a value."""

MAX_BYTES = 256 * 2**20
MAX_DEPTH = 64
"""Tables and lists inside one another; our own files have seven."""
MAX_SHOWN = 200
"""Letters of a wrong value that a message shows."""


class Unfit(ValueError):
    """Raised by a record's own validators: what is required instead, what to do, and how the value is shown."""

    def __init__(self, required: str, remedy: str, given: str = "") -> None:
        super().__init__(required)
        self.required, self.remedy, self.given = required, remedy, given


@dataclass(frozen=True)
class FileKind:
    """What a file is to be, what to do where it is not, and which error says so."""

    required: str
    remedy: str
    error: type[MaquetteError] = ConfigError


# --- from disk to plain values ---------------------------------------------------------------------------


def read_table(path: Path, kind: FileKind) -> dict[str, Any]:
    """Return the table in a JSON (by its ending) or TOML file. Raises `kind.error` with one problem that says where.

    UTF-8 with or without a byte order mark, up to MAX_BYTES, no deeper than MAX_DEPTH, no key twice, no text that could
    not be written back.
    """
    try:
        return _parse(_bytes_of(path), is_json=path.suffix.lower() == ".json")
    except _BadFile as error:
        raise kind.error(
            Problem(f"{path}{error.place}", error.given, kind.required, error.remedy or kind.remedy)
        ) from None


class _BadFile(Exception):
    def __init__(self, given: str, place: str = "", remedy: str = "") -> None:
        super().__init__(given)
        self.given, self.place, self.remedy = given, place, remedy


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _BadFile(f"larger than {MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except FileNotFoundError:
        raise _BadFile("no such file") from None
    except OSError as error:
        raise _BadFile(f"cannot be read ({error.strerror or error})") from None
    except ValueError:  # a NUL in the path
        raise _BadFile("no name of a file") from None


def _parse(data: bytes, *, is_json: bool) -> dict[str, Any]:
    """Return the table that the bytes of a JSON or TOML file hold; `_BadFile` says what is wrong."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _BadFile("not UTF-8 text", f" line {line}", "Save it as UTF-8.") from None
    language = "JSON" if is_json else "TOML"
    try:
        values = json.loads(text, object_pairs_hook=_pairs) if is_json else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise _BadFile(
            f"not valid JSON ({error.msg}, column {error.colno})", f" line {error.lineno}"
        ) from None
    except tomllib.TOMLDecodeError as error:
        remedy = "Repair the line it names; texts need quotes."
        raise _BadFile(f"not valid TOML ({error})", remedy=remedy) from None
    except RecursionError:
        raise _BadFile(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:  # a number of thousands of digits
        raise _BadFile(f"not valid {language} ({str(error).partition(';')[0]})") from None
    if not isinstance(values, dict):
        raise _BadFile(f"{_shown(values)} where keys and values belong")
    _require_plain(values)
    return values


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
                raise _BadFile(f"{_shown(value)} holds a character that no text file can")
        if not inner:
            return
        level = inner
    raise _BadFile(f"nested deeper than {MAX_DEPTH} levels")


def _is_writable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


# --- from plain values to records ------------------------------------------------------------------------


def checked(record: type[T], values: Any, where: str, *, error: type[MaquetteError] = ConfigError) -> T:
    """Return `values` as a `record`. Raises `error` with every problem, each with its place after `where`."""
    found, problems = check_table(record, values, where)
    if found is None:
        raise error(problems)
    return found


def check_table(record: type[T], values: Any, where: str) -> tuple[T | None, list[Problem]]:
    """Return `values` as a `record`, or None and every problem."""
    from pydantic import ValidationError

    try:
        text = json.dumps({"value": values}, default=str)
        return cast(T, _holder(cast(Any, record)).model_validate_json(text).value), []
    except ValidationError as error:
        is_toml = where.endswith(".toml")
        return None, [
            problem_of(detail, record, detail["loc"][1:], place_after(where), is_toml=is_toml)
            for detail in error.errors(include_url=False)
        ]


@cache
def _holder(record: Any) -> Any:
    """Return a strict model around `record`: pydantic hands its strictness on to dataclasses inside."""
    from pydantic import ConfigDict, create_model

    return create_model("Holder", __config__=ConfigDict(extra="forbid", strict=True), value=(record, ...))


def place_after(where: str) -> Callable[[Location], str]:
    """Return how a location is told: `FILE details 2 name`, positions counted from 1."""

    def told(location: Location) -> str:
        parts = [str(part + 1) if isinstance(part, int) else part for part in location]
        return " ".join([where, *parts])

    return told


def problem_of(
    detail: Any, record: Any, location: Location, place: Callable[[Location], str], *, is_toml: bool = True
) -> Problem:
    """Return one of pydantic's error details in our words; `location` leads from `record` to the value."""
    field = _field_at(record, location)
    hint = field.hint
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        *parent, name = location
        known = _fields_of(_bare(_field_at(record, tuple(parent)).hint))
        return Problem(
            place(tuple(parent)), f"unknown key '{name}'", "a known key", did_you_mean(str(name), known)
        )
    if location and isinstance(location[-1], int) and not _fields_of(_bare(hint)):
        location = location[:-1]  # the value itself says which of a list's texts or numbers is meant
    cause = (detail.get("ctx") or {}).get("error")
    key = next((part for part in reversed(location) if isinstance(part, str)), "")
    remedy = field.description or _remedy(hint, key, is_toml=is_toml)
    if detail["type"] == "missing":
        return Problem(place(location), "not given", words_for(hint), remedy)
    given = _shown(detail["input"])
    if isinstance(cause, Unfit):
        return Problem(place(location), cause.given or given, cause.required, cause.remedy)
    if detail["type"] == "literal_error":
        choices = [str(each) for each in get_args(_bare(hint))]
        nearest = did_you_mean(str(detail["input"]), choices)
        return Problem(place(location), given, words_for(hint), field.description or nearest)
    if detail["type"] == "string_pattern_mismatch":
        return Problem(place(location), given, field.form or "a text in its form", remedy)
    if detail["type"].endswith(("_type", "_parsing", "_from_float")):
        return Problem(place(location), given, words_for(hint), remedy)
    required = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(place(location), given, required[0].lower() + required[1:], remedy)


def words_for(hint: Any) -> str:
    """Return what an annotation asks for, in words: `a list of texts`, `a whole number`, `one of left, right`."""
    hint = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(str(each) for each in inner)}"
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        return f"a list of {len(inner)} {_plural(inner[0])}"
    if origin in (tuple, list) or (isinstance(origin, type) and origin.__name__ == "Sequence"):
        return f"a list of {_plural(inner[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a table of {_plural(inner[1])}"
    return _ONE.get(hint, "a table" if _fields_of(hint) else "a value")


_ONE = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
_MANY = {str: "texts", int: "whole numbers", float: "numbers", bool: "true or false", Path: "paths"}


def _plural(hint: Any) -> str:
    hint = _bare(hint)
    if get_origin(hint) is Literal:
        return f"texts, each {words_for(hint)}"
    return _MANY.get(hint, "tables" if _fields_of(hint) else "values")


def _remedy(hint: Any, key: str, *, is_toml: bool) -> str:
    words = words_for(hint)
    sign = f"{key} = " if is_toml else f'"{key}": '
    if words == "a list of tables":
        return f"Write each below a line [[{key}]]." if is_toml else f"Write: {sign}[{{…}}, {{…}}]"
    if words.startswith("a list of"):
        return f'Write: {sign}["…", "…"]' if "text" in words or "path" in words else f"Write: {sign}[…, …]"
    if words.startswith("a table"):
        return f"Write it below a line [{key}]." if is_toml else f"Write: {sign}{{…}}"
    if words in ("a text", "a path") or words.startswith("one of"):
        return f'Write it in quotes: {sign}"…"'
    return f"Write it without quotes: {sign}…"


@dataclass(frozen=True)
class _Field:
    """What a record says of a value: its annotation, and in a pydantic model a description and a form in words."""

    hint: Any = Any
    description: str = ""
    form: str = ""


def _field_at(record: Any, location: Location) -> _Field:
    """Return the field at `location` below `record`."""
    field = _Field(record)
    for part in location:
        hint = _bare(field.hint)
        if isinstance(part, int):
            field = _Field(_item(hint, part))
        else:
            fields = _fields_of(hint)
            field = fields.get(part, _Field()) if fields else _Field((get_args(hint) or (Any,))[-1])
    return field


def _item(hint: Any, position: int) -> Any:
    """Return the annotation of a list's item."""
    inner = get_args(hint)
    if not inner:
        return Any
    return inner[0] if inner[-1] is Ellipsis else inner[min(position, len(inner) - 1)]


@cache
def _fields_of(hint: Any) -> dict[str, _Field]:
    """Return the fields of a dataclass or model by name; none for anything else."""
    models = getattr(hint, "model_fields", None)
    if models is not None:
        return {
            name: _Field(
                info.annotation, info.description or "", (info.json_schema_extra or {}).get("form", "")
            )
            for name, info in models.items()
        }
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return {each.name: _Field(hints[each.name]) for each in fields(hint)}
    return {}


def _bare(hint: Any) -> Any:
    """Return an annotation without `Annotated` and `| None`."""
    while True:
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Annotated:
            hint = inner[0]
        elif origin in (Union, UnionType) and NoneType in inner:
            hint = next(each for each in inner if each is not NoneType)
        else:
            return hint


def _shown(value: Any) -> str:
    """Return a value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"

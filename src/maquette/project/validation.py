"""Plain values checked against a record, a dataclass or a pydantic model: its annotations are the schema.

Numbers and texts are taken as they are written, never converted; unknown keys are problems; what is wrong is told in
words and all together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from maquette.errors import ConfigError, Problem, did_you_mean, nearest
from maquette.reading import FileKind, read_table, shown

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

T = TypeVar("T")
BOUNDS = ("ge", "gt", "le", "lt", "multiple_of")
Location = tuple[int | str, ...]
"""Keys and positions (from 0) that lead to a value."""


class Unfit(ValueError):
    """Raised by a record's own validators: what is required instead, what to do, and how the value is shown."""

    def __init__(self, required: str, remedy: str, given: str = "") -> None:
        super().__init__(required)
        self.required, self.remedy, self.given = required, remedy, given


def below(path: str) -> str:
    """Return a path that stays below its folder: what a file that came with a downloaded folder may name."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise Unfit("a path below its folder", "Take it out.")
    return path


def read_as(record: type[T], path: Path, kind: FileKind) -> T:
    """Return what is written in the JSON or TOML file `path`. Raises `kind.error` with every problem."""
    return checked(record, read_table(path, kind), str(path), kind)


def checked(record: type[T], values: Any, where: str, kind: FileKind | None = None) -> T:
    """Return `values` as a `record`. Raises the kind's error (ConfigError) with every problem, its place after `where`."""
    found, problems = check(record, values, where)
    if found is None and kind is not None:
        raise kind.error(replace(each, remedy=kind.damaged or each.remedy) for each in problems)
    if found is None:
        raise ConfigError(problems)
    return found


def check(record: type[T], values: Any, where: str) -> tuple[T | None, list[Problem]]:
    """Return `values` as a `record`, or None and every problem."""
    from pydantic import ValidationError

    try:
        text = json.dumps({"value": values}, default=str)
        return cast(T, _holder(cast(Any, record)).model_validate_json(text).value), []
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [_problem(detail, record, detail["loc"][1:], where) for detail in details]


@cache
def _holder(record: Any) -> Any:
    """Return a strict model around `record`: pydantic hands its strictness on to dataclasses, a model has its own."""
    from pydantic import ConfigDict, create_model

    return create_model("Holder", __config__=ConfigDict(extra="forbid", strict=True), value=(record, ...))


# --- problems in words -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What a record says of a value: its annotation, and in a pydantic model a description and a form in words."""

    hint: Any = Any
    description: str = ""
    form: str = ""
    """What a pattern means: `.txt` or another ending."""
    bounds: Mapping[str, float] = field(default_factory=dict)
    """Bounds of a number by pydantic's names: ge, gt, le, lt, multiple_of."""

    @classmethod
    def of(cls, field: FieldInfo) -> Asked:
        """Return what a model's field asks for; its form stands in `json_schema_extra`."""
        more = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        bounds = {
            name: bound
            for each in field.metadata
            for name in BOUNDS
            if (bound := getattr(each, name, None)) is not None
        }
        return cls(field.annotation, field.description or "", str(more.get("form", "")), bounds)


def _problem(detail: Mapping[str, Any], record: Any, location: Location, where: str) -> Problem:
    """Return one of pydantic's error details in our words; `location` leads from `record` to the value."""
    asked = _asked_at(record, location)
    if detail["type"] in UNKNOWN:
        *parent, name = location
        known = _fields_of(_bare(_asked_at(record, tuple(parent)).hint))
        return Problem(
            place_of(where, parent), f"unknown key '{name}'", "a known key", did_you_mean(str(name), known)
        )
    example = asked.hint
    if location and isinstance(location[-1], int):
        around = _asked_at(record, location[:-1])
        example = around.hint
        if not _fields_of(_bare(asked.hint)):
            location = location[:-1]  # the value itself says which of a list's texts or numbers is meant
            asked = around if detail["type"].endswith(PLAIN_KINDS) else asked
    key = next((part for part in reversed(location) if isinstance(part, str)), "")
    remedy = _example(example, key, is_toml=where.endswith(".toml"))
    return told(detail, place_of(where, location), asked, remedy)


PLAIN_KINDS = ("_type", "_parsing", "_parsing_size", "_from_float", "too_long", "too_short")
"""Ends of pydantic's error types for which what is asked for says it all."""
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def place_of(where: str, location: Sequence[int | str]) -> str:
    """Return how a location is told: `FILE details 2 name`, positions counted from 1."""
    return " ".join([where, *(str(part + 1) if isinstance(part, int) else part for part in location)])


def told(detail: Mapping[str, Any], place: str, asked: Asked, remedy: str = "") -> Problem:
    """Return one of pydantic's error details in our words: at `place`, the field's description before another remedy."""
    kind, remedy = detail["type"], asked.description or remedy
    plain = words_for(asked.hint)
    words = within(plain, asked.bounds)
    given = shown(detail["input"])
    cause = (detail.get("ctx") or {}).get("error")
    if isinstance(cause, Unfit):
        return Problem(place, cause.given or given, cause.required, cause.remedy)
    if kind == "missing":
        return Problem(place, "not given", f"required: {words}", remedy)
    if kind == "literal_error":
        written, choices = str(detail["input"]), [str(each) for each in get_args(_bare(asked.hint))]
        if nearest(written, choices) or not asked.description:
            remedy = did_you_mean(written, choices)
        return Problem(place, given, words, remedy)
    if kind == "string_pattern_mismatch":
        return Problem(place, given, asked.form or "a text in its form", remedy)
    if kind.startswith(("greater_than", "less_than", "multiple_of", "finite_number")):
        return Problem(place, given, within(plain, asked.bounds or detail.get("ctx") or {}), remedy)
    if kind.endswith(PLAIN_KINDS):
        return Problem(place, given, words, remedy)
    required = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(place, given, required[0].lower() + required[1:], remedy)


def within(words: str, bounds: Mapping[str, Any]) -> str:
    """Return a number's words with its bounds: `a whole number from 1 to 64`, `a number of 0 or more, below 1`."""
    if "ge" in bounds and "le" in bounds:
        told = [f"from {_plain(bounds['ge'])} to {_plain(bounds['le'])}"]
    else:
        forms = {"ge": "of {} or more", "gt": "above {}", "le": "of at most {}", "lt": "below {}"}
        told = [form.format(_plain(bounds[name])) for name, form in forms.items() if name in bounds]
    told += [f"a multiple of {_plain(bounds['multiple_of'])}"] if "multiple_of" in bounds else []
    return f"{words} {', '.join(told)}".strip()


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def words_for(hint: Any) -> str:
    """Return what an annotation asks for, in words: `a list of texts`, `a whole number`, `one of left, right`."""
    hint = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " * (len(inner) > 1) + ", ".join(str(each) for each in inner)
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


def _example(hint: Any, key: str, *, is_toml: bool) -> str:
    """Return how a value is written."""
    words = words_for(hint)
    sign = "" if not key else f"{key} = " if is_toml else f'"{key}": '
    if words == "a list of tables":
        return f"Write each below a line [[{key}]]." if is_toml else f"Write: {sign}[{{…}}, {{…}}]"
    if words.startswith("a list of"):
        return f'Write: {sign}["…", "…"]' if "text" in words or "path" in words else f"Write: {sign}[…, …]"
    if words.startswith("a table"):
        return f"Write it below a line [{key}]." if is_toml else f"Write: {sign}{{…}}"
    if words in ("a text", "a path") or words.startswith("one of"):
        return f'Write it in quotes: {sign}"…"'
    return f"Write it without quotes: {sign}…"


def _asked_at(record: Any, location: Location) -> Asked:
    """Return the field at `location` below `record`."""
    field = Asked(record)
    for part in location:
        hint = _bare(field.hint)
        if isinstance(part, int):
            field = Asked(_item(hint, part))
        else:
            fields = _fields_of(hint)
            field = fields.get(part, Asked()) if fields else Asked((get_args(hint) or (Any,))[-1])
    return field


def _item(hint: Any, position: int) -> Any:
    """Return the annotation of a list's item."""
    inner = get_args(hint)
    if not inner:
        return Any
    return inner[0] if inner[-1] is Ellipsis else inner[min(position, len(inner) - 1)]


@cache
def _fields_of(hint: Any) -> dict[str, Asked]:
    """Return the fields of a dataclass or model by name; none for anything else."""
    models = getattr(hint, "model_fields", None)
    if models is not None:
        return {name: Asked.of(info) for name, info in models.items()}
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return {each.name: Asked(hints[each.name]) for each in fields(hint)}
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

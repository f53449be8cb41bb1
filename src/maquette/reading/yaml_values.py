"""YAML as plain values, built from the parser's events: nothing recurses, no tag runs anything, aliases are counted.

PyYAML's own constructors fail in many ways (a wrong date, `!!int ''`, `!!bool maybe`), write aliases out without end and
call whatever a tag names. Values mean what they mean to PyYAML, but dates and sexagesimal numbers (`1:30`) stay the text
that is written, and so does every key: `no: 1` is a key of two letters.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from maquette.reading.limits import MAX_DEPTH, MAX_YAML_VALUES, Unreadable, is_writable, shown
from maquette.reading.texts import plain

Value = Any
PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STANDARD = "tag:yaml.org,2002:"
TRUE = frozenset({"yes", "true", "on"})
MERGE = object()
"""The key `<<`, which takes another table's keys in."""
MAX_NUMBER_CHARS = 400


@dataclass
class _Open:
    """A table or list that is not finished."""

    holds: dict[Any, Value] | list[Value]
    anchor: str | None
    size_before: int
    key: Any = None
    has_key: bool = False
    merged: list[Any] = field(default_factory=list)


def parse_yaml(text: str) -> Value:
    """Return the value of a YAML text of one document, None for an empty one. Raises Unreadable."""
    if not is_writable(text):
        raise Unreadable("not valid YAML (it holds a character that no text file can)")
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=PARSER):
            builder.take(event)
    except RecursionError:
        raise Unreadable(f"nested deeper than {MAX_DEPTH} levels") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or " ".join(str(error).split())
        place = f" line {mark.line + 1}" if mark is not None else ""
        if "nesting depth" in said:  # the C parser reads ahead and meets its own limit first
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels", place) from None
        raise Unreadable(f"not valid YAML ({said})", place) from None
    return plain(builder.result)


class _Builder:
    def __init__(self) -> None:
        self.result: Value = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Value, int]] = {}
        self._size = 0
        """Values so far, those of aliases included."""
        self._documents = 0

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _refused(event, "a second document begins")
        elif isinstance(event, yaml.ScalarEvent):
            self._grow(1)
            value = _scalar(event, is_key=self._expects_key())
            self._anchor(event.anchor, value, 1)
            self._put(value, event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end(event)

    def _begin(self, event: Any) -> None:
        plain = "map" if isinstance(event, yaml.MappingStartEvent) else "seq"
        if event.tag not in (None, "!", STANDARD + plain):
            raise _refused(event, f"the tag {shown(event.tag)} is not for plain values")
        if self._expects_key():
            raise _refused(event, "a list or table as a key")
        if len(self._open) >= MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels", _line(event))
        holds: dict[Any, Value] | list[Value] = {} if plain == "map" else []
        self._open.append(_Open(holds, event.anchor, self._size))
        self._anchors.pop(event.anchor or "", None)

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        self._grow(1)
        if isinstance(done.holds, dict):
            for table in done.merged:
                done.holds = {**table, **done.holds}
        self._anchor(done.anchor, done.holds, self._size - done.size_before)
        self._put(done.holds, event)

    def _alias(self, event: Any) -> None:
        if any(each.anchor == event.anchor for each in self._open):
            raise Unreadable(
                f"nested deeper than {MAX_DEPTH} levels: *{event.anchor} stands inside itself", _line(event)
            )
        if event.anchor not in self._anchors:
            raise _refused(event, f"nothing is called &{event.anchor}")
        value, size = self._anchors[event.anchor]
        self._grow(size)
        self._put(_copied(value), event)

    def _put(self, value: Value, event: Any) -> None:
        if not self._open:
            self.result = value
            return
        at = self._open[-1]
        if isinstance(at.holds, list):
            at.holds.append(value)
        elif not at.has_key:
            if isinstance(value, dict | list):
                raise _refused(event, "a list or table as a key")
            if value is not MERGE and value in at.holds:
                raise Unreadable(f"the key {shown(value)} stands twice in one table", _line(event))
            at.key, at.has_key = value, True
        else:
            at.has_key = False
            if at.key is MERGE:
                at.merged += _tables(value, event)
            else:
                at.holds[at.key] = value

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].holds, dict) and not self._open[-1].has_key

    def _anchor(self, name: str | None, value: Value, size: int) -> None:
        if name is not None:
            self._anchors[name] = (value, size)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_YAML_VALUES:
            raise Unreadable(f"more than {MAX_YAML_VALUES:,} values")


def _tables(value: Value, event: Any) -> list[dict[Any, Value]]:
    tables = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in tables):
        raise _refused(event, "'<<' takes in a table or a list of tables")
    return tables


def _copied(value: Value) -> Value:
    """Return a copy, so that no two places share a table."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


# --- scalars ---------------------------------------------------------------------------------------------


def _scalar(event: Any, *, is_key: bool) -> Value:
    text: str = event.value
    if event.tag is not None and event.tag != "!":
        kind = event.tag.removeprefix(STANDARD)
        if kind not in ("str", "int", "float", "bool", "null", "timestamp"):
            raise _refused(event, f"the tag {shown(event.tag)} is not for plain values")
        if kind != "str" and not _is_written_as(text, kind):
            raise _refused(event, f"{shown(text)} is not what its tag {event.tag} says")
    elif event.implicit[0] and event.tag is None:
        kind = next((kind for kind, form in _resolvers(text) if form.match(text)), "str")
    else:
        kind = "str"
    if is_key:
        return MERGE if kind == "merge" else text
    return _meant(text, kind, event)


def _resolvers(text: str) -> list[tuple[str, re.Pattern[str]]]:
    table = yaml.SafeLoader.yaml_implicit_resolvers
    return [(tag.removeprefix(STANDARD), form) for tag, form in table.get(text[:1], [])]


def _is_written_as(text: str, kind: str) -> bool:
    return any(each == kind and form.match(text) for each, form in _resolvers(text))


def _meant(text: str, kind: str, event: Any) -> Value:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in TRUE
    if kind == "timestamp":
        return _date(text, event)
    if kind in ("int", "float") and ":" not in text:
        if len(text) > MAX_NUMBER_CHARS:
            raise _refused(event, f"a number of {len(text)} characters")
        return _whole(text) if kind == "int" else _real(text)
    return text


def _date(text: str, event: Any) -> str:
    try:
        datetime.date(*(int(part) for part in re.split(r"[-Tt \t]", text)[:3]))
    except ValueError:
        raise Unreadable(
            f"'{text}' is no date of the calendar",
            _line(event),
            f"Correct it, or write it in quotes: '{text}'",
        ) from None
    return text


def _whole(text: str) -> int:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    digits = digits.replace("_", "")
    if digits.startswith(("0b", "0x")):
        return sign * int(digits[2:] or "0", 2 if digits[1] == "b" else 16)
    return sign * int(digits, 8 if digits.startswith("0") and digits != "0" else 10)


def _real(text: str) -> float:
    plain = text.replace("_", "").lower()
    return float(plain.replace(".inf", "inf").replace(".nan", "nan"))


def _line(event: Any) -> str:
    return f" line {event.start_mark.line + 1}" if event.start_mark is not None else ""


def _refused(event: Any, why: str) -> Unreadable:
    return Unreadable(f"not valid YAML ({why})", _line(event))

"""JSON and TOML as plain values, within limits."""

from __future__ import annotations

import json
import math
import re
import tomllib
from typing import Any

from maquette.reading.limits import (
    MAX_DEPTH,
    MAX_VALUES,
    MAX_WHOLE,
    Malformed,
    Unreadable,
    is_writable,
    shown,
)


def parse_json(text: str | bytes, *, any_text: bool = False) -> Any:
    """Return the value of a JSON text. Raises Unreadable.

    `any_text` takes characters that no text file and no name can hold, too: for what is only shown, which may quote anything.
    """
    text = _decoded(text)
    if text.count(",") + text.count("[") + text.count("{") > MAX_VALUES:
        raise Unreadable(f"more than {MAX_VALUES:,} values")
    try:
        value = json.loads(text, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        given = f"not valid JSON ({error.msg}, column {error.colno})"
        raise Malformed(given, f" line {error.lineno}") from None
    except RecursionError:
        raise Unreadable(f"nested deeper than {MAX_DEPTH} levels") from None
    except Unreadable:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise Unreadable(f"not valid ({str(error).partition(';')[0]})") from None
    return plain(value, any_text=any_text)


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text. Raises Unreadable."""
    # Each part of a dotted key is looked up below all before it: thousands of parts would take minutes.
    if _LONG_KEY.search(text):
        raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        how = "write folders with / or in 'single quotes', since \\ begins an escape"
        remedy = f"Repair the line it names; {how if chr(92) in text else 'texts need quotes'}."
        raise Unreadable(f"not valid TOML ({error})", remedy=remedy) from None
    except RecursionError:
        raise Unreadable(f"nested deeper than {MAX_DEPTH} levels") from None
    except (ValueError, OverflowError) as error:  # a number of thousands of digits, a date that is none
        raise Unreadable(f"not valid ({str(error).partition(';')[0]})") from None
    found: dict[str, Any] = plain(value)
    return found


_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-])(?:{_PART}[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}")


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8 text") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Unreadable(f"the key {shown(twice)} stands twice in one table")
    return table


def _digits(value: int) -> int:
    """Return how many digits a whole number has, without writing it out: Python refuses to from 4,300 on."""
    found = int(math.log10(abs(value))) + 1
    return found - 1 if abs(value) < 10 ** (found - 1) else found


def plain(values: Any, *, any_text: bool = False) -> Any:
    """Return `values`, or refuse what is too deep to handle, what no file can hold and what no machine counts."""
    level, num_values = [values], 0
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, str):
                if not any_text and not is_writable(value):
                    raise Unreadable(f"{shown(value)} holds a character that no text file can")
            elif isinstance(value, dict):
                inner += value.keys()
                inner += value.values()
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, int) and not -MAX_WHOLE < value < MAX_WHOLE:
                raise Unreadable(f"a whole number of {_digits(value)} digits")
        num_values += len(inner)
        if num_values > 2 * MAX_VALUES:
            raise Unreadable(f"more than {MAX_VALUES:,} values")
        if not inner:
            return values
        level = inner
    raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")

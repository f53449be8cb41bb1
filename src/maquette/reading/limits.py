"""What is wrong with a text that cannot be taken, and the limits that hold for all of them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any, TypeGuard

from maquette.errors import Problem

MAX_JSON_BYTES = 32 * 2**20
MAX_TOML_BYTES = MAX_YAML_BYTES = 2**19
"""Their parsers take a second for a megabyte; such files are written by hand."""
MAX_LINE_BYTES = 4 * 2**20
MAX_DEPTH = 64
"""Tables and lists inside one another; our own files have seven."""
MAX_VALUES = 1_000_000
"""Of a whole file."""
MAX_YAML_VALUES = 100_000
"""With every alias written out: a YAML file of a few lines can mean more than any memory holds."""
MAX_WHOLE = 2**64
MAX_SHOWN = 200
"""Letters of a wrong value that a message shows."""


class Unreadable(ValueError):
    """What is wrong with a text that cannot be taken, in words; `place` begins with a space (` line 3`) or is empty."""

    def __init__(self, given: str, place: str = "", remedy: str = "") -> None:
        super().__init__(given)
        self.given, self.place, self.remedy = given, place, remedy

    def problem(self, path: Path, required: str, remedy: str) -> Problem:
        """Return it as the problem of a file; a remedy of its own comes first."""
        return Problem(f"{path}{self.place}", self.given, required, self.remedy or remedy)


class Malformed(Unreadable):
    """It is no text of its format at all: cut short, or something else."""


def is_writable(text: str) -> bool:
    """Tell whether a text file, or a file's name, can hold `text`: no NUL, no half of a surrogate pair."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def is_finite(value: Any) -> TypeGuard[float]:
    """Tell whether `value` is a number that can be counted with; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def shown(value: Any) -> str:
    """Return a value as a message shows it, as files spell it (`true`, `[1, 2]`), cut where it is long."""
    text = _written(_begin(value))
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _begin(value: Any) -> Any:
    """Return what of a value can be seen in MAX_SHOWN letters: writing out all of a large one takes seconds."""
    if isinstance(value, str):
        return value[: MAX_SHOWN + 1]
    if isinstance(value, list | tuple):
        return type(value)(_begin(each) for each in value[:MAX_SHOWN])
    if isinstance(value, dict):
        return {_begin(key): _begin(inner) for key, inner in itertools.islice(value.items(), MAX_SHOWN)}
    return value

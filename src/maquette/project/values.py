"""Values that people write in more than one way, read one way."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from typing import Any

RESOLUTION_FORMS = '512, "512,768", "512x768" or [512, 768] (width, height)'


def parse_resolution(value: Any) -> tuple[int, int]:
    """Return (width, height) in pixels from 512, "512", "512,768", "512x768", [512] or [512, 768].

    Raises ValueError that names the accepted forms.
    """
    parts = _parts(value)
    if not 1 <= len(parts) <= 2:
        raise ValueError(f"a resolution is {RESOLUTION_FORMS}")
    numbers = [_pixels(part) for part in parts]
    return numbers[0], numbers[-1]


RANGE_FORM = '"2.0,4.0" or [2.0, 4.0] (least, most), both above 0'


def parse_range(value: Any) -> tuple[float, float] | None:
    """Return (least, most) from "2.0,4.0" or [2.0, 4.0]; None stays None. Raises ValueError that names the forms."""
    if value is None:
        return None
    try:
        parts = value.split(",") if isinstance(value, str) else list(value)
        least, most = (float(part) for part in parts if not isinstance(part, bool))
    except (TypeError, ValueError):
        raise ValueError(f"a range is {RANGE_FORM}") from None
    if not 0 < least <= most < math.inf:
        raise ValueError(f"a range is {RANGE_FORM}")
    return least, most


def _parts(value: Any) -> list[Any]:
    if isinstance(value, str):
        return re.split(r"[,x×]", value.strip().strip("()[]"), flags=re.IGNORECASE)
    if isinstance(value, list | tuple):
        return list(value)
    return [value]


def _pixels(part: Any) -> int:
    text = str(part).strip()
    if isinstance(part, bool) or not re.fullmatch(r"\d+(\.0)?", text) or not 8 <= int(float(text)) <= 16384:
        raise ValueError(f"a resolution is {RESOLUTION_FORMS}, each from 8 to 16384")
    return int(float(text))


STEPS_FORMS = "a whole number of steps, or a share of them below 1, such as 0.1 or 10%"


def parse_steps(value: Any) -> int | float:
    """Return steps (a whole number from 1 on, or 0) or a share of all steps (below 1) from 100, "100", 0.1, "0.1" or "10%".

    Raises ValueError that names the accepted forms.
    """
    text = str(value).strip()
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(STEPS_FORMS) from None
    is_share = 0 < number < 1
    if isinstance(value, bool) or not (is_share or (number >= 0 and number == int(number))):
        raise ValueError(STEPS_FORMS)
    if text.endswith("%") and number >= 1:
        raise ValueError(f"{STEPS_FORMS}; {text} is all of them")
    return number if is_share else int(number)


def steps_of(value: int | float, total: int) -> int:
    """Return how many steps of `total` a number of steps or a share is; shares are cut, as sd-scripts cuts them."""
    return int(value * total) if 0 < value < 1 else int(value)


# --- arguments of classes --------------------------------------------------------------------------------

LONGEST_LITERAL = 1000
CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_class_path(name: str) -> bool:
    """Return whether `name` has the form of a class with its package: package.Class."""
    return CLASS_PATH.fullmatch(name) is not None


def literal_arguments(given: Sequence[str], *, words: bool = False) -> dict[str, Any]:
    """Return the arguments that `given` (NAME=VALUE each) say, each value a literal as Python writes it.

    Nothing is evaluated. With `words`, what is no literal is a text, as if it stood in quotes. Raises ValueError with everything
    that is wrong.
    """
    found: dict[str, Any] = {}
    wrong = []
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name.isidentifier():
            wrong.append(f"'{text}' must be NAME=VALUE")
            continue
        try:
            found[name] = literal(value)
        except ValueError:
            if words:
                found[name] = value
            else:
                wrong.append(
                    f"{name} must be a number, True, False, None, numbers with commas, or a text in quotes, not '{value}'"
                )
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def literal(text: str) -> Any:
    """Return the value of a Python literal; true, false and none may be written small. Raises ValueError."""
    small = {"true": True, "false": False, "none": None}
    if text.lower() in small:
        return small[text.lower()]
    if len(text) > LONGEST_LITERAL:
        raise ValueError("too long")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise ValueError(f"{text!r} is no literal") from None

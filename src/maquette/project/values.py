"""Values that people write in more than one way, read one way."""

from __future__ import annotations

import math
import re
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

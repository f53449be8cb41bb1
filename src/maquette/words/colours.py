"""Colours as people see them: how different two codes `#rrggbb` look."""

from __future__ import annotations

from functools import lru_cache

WHITE_XYZ = (0.95047, 1.0, 1.08883)
"""D65, the white of sRGB."""
TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to CIE XYZ, IEC 61966-2-1."""


def colour_difference(one: str, other: str) -> float:
    """Return the CIE76 difference of two codes: 0 equal, 2.3 just seen, 100 black to white."""
    (l_one, a_one, b_one), (l_other, a_other, b_other) = lab_of(one), lab_of(other)
    return float(((l_one - l_other) ** 2 + (a_one - a_other) ** 2 + (b_one - b_other) ** 2) ** 0.5)


@lru_cache(maxsize=4096)
def lab_of(code: str) -> tuple[float, float, float]:
    """Return CIE L*a*b* of `#rrggbb`."""
    linear = [_linear(int(code[place : place + 2], 16) / 255) for place in (1, 3, 5)]
    x, y, z = (
        _curved(sum(factor * value for factor, value in zip(row, linear, strict=True)) / white)
        for row, white in zip(TO_XYZ, WHITE_XYZ, strict=True)
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _curved(value: float) -> float:
    return value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116

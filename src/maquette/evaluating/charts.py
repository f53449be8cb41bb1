"""Line charts worked out for a page: where every line, tick and name of an SVG lies. The template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

WIDTH = 720
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 46
_MOST_POINTS = 480
_NAME_PX = 7.0

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line. `style` names its CSS class: main, raw, second, floor. `band` holds (x, low, high)."""

    name: str
    """In the legend; an empty one has no place there."""
    points: Sequence[Point]
    style: str = "main"
    band: Sequence[tuple[float, float, float]] = ()
    dots: bool = False
    line: bool = True
    tips: Sequence[str] = ()
    """What each dot says when it is pointed at; else its numbers."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis with its label; limits of None follow the data, and zero is included on demand."""

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    """Every factor of ten as wide as the next; of a horizontal axis alone."""
    names: Sequence[str] = ()
    """What stands under 0, 1, 2 … in place of numbers; of a horizontal axis alone."""


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers that cover [low, high], steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers within [low, high], which is above 0: 1, 2 and 5 times powers of ten; even steps where few fit."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    if len(found) > 8:
        found = [value for value in found if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)]
    return found if len(found) > 1 else ticks(low, high, 5)


def short(value: float) -> str:
    """Return a tick's number in few characters: 0.25, 1200, 5e-4."""
    if value and abs(value) < 0.01:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.6g}"


def smoothed(points: Sequence[Point], share: float = 0.05) -> list[Point]:
    """Return the exponential moving average over about `share` of the points; values that are not finite are
    left out.
    """
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    keep = 1 - 1 / max(2.0, share * len(finite))
    total, weight, line = 0.0, 0.0, []
    for x, y in finite:
        total, weight = keep * total + (1 - keep) * y, keep * weight + (1 - keep)
        line.append((x, total / weight))
    return line


def thinned(points: Sequence[Point], most: int = _MOST_POINTS) -> list[Point]:
    """Return at most about `most` points that keep each stretch's lowest and highest value."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(2 * len(points) / most)
    kept: list[Point] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        broken = [point for point in part if not math.isfinite(point[1])]
        whole = [point for point in part if math.isfinite(point[1])]
        extremes = [min(whole, key=lambda p: p[1]), max(whole, key=lambda p: p[1])] if whole else []
        kept += sorted({*extremes, *broken[:1]})
    return kept


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart in the units of its own picture, `width` × `height`."""

    title: str
    description: str
    """What a screen reader says."""
    height: int
    x_label: str
    y_label: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    rules: tuple[tuple[str, float, float, float], ...]
    """Named horizontal lines: name, height of the line, right end and height of its name."""
    bands: tuple[tuple[str, str], ...]
    """SVG path and style."""
    lines: tuple[tuple[str, str], ...]
    dots: tuple[tuple[float, float, str, str], ...]
    """x, y, style, and what it says when pointed at."""
    legend: tuple[tuple[str, str], ...]
    width: int = WIDTH
    left: int = LEFT
    right: int = WIDTH - RIGHT

    @property
    def base(self) -> int:
        """Height of the x axis."""
        return self.height - BOTTOM

    @property
    def middle(self) -> float:
        return (TOP + self.base) / 2


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    rules: Sequence[tuple[str, float]] = (),
    height: int = 300,
) -> Chart:
    """Return the chart of `series`. `rules` are named horizontal lines."""
    frame = _Frame.around(series, x, y, [value for _, value in rules], height)
    return Chart(
        title=title,
        description=description,
        height=height,
        x_label=x.label,
        y_label=y.label,
        x_ticks=_x_ticks(frame, x),
        y_ticks=tuple((frame.y(value), short(value)) for value in ticks(frame.y_low, frame.y_high)),
        rules=tuple(_rule(name, frame.y(value), frame, series) for name, value in rules),
        bands=tuple((_band(frame, entry), entry.style) for entry in series if entry.band),
        lines=tuple((path, entry.style) for entry in series if entry.line for path in _paths(frame, entry)),
        dots=tuple(dot for entry in series if entry.dots for dot in _dots(frame, entry)),
        legend=tuple((entry.name, entry.style) for entry in series if entry.name),
    )


def _x_ticks(frame: _Frame, axis: Axis) -> tuple[tuple[float, str], ...]:
    if axis.names:
        return tuple((frame.x(float(place)), name) for place, name in enumerate(axis.names))
    if axis.log:
        return tuple((frame.x(value), short(value)) for value in log_ticks(frame.x_low, frame.x_high))
    return tuple((frame.x(value), f"{value:,.6g}") for value in ticks(frame.x_low, frame.x_high, 8))


@dataclass(frozen=True)
class _Frame:
    """Where numbers lie on the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: int
    log: bool = False

    @classmethod
    def around(cls, series: Sequence[Series], x: Axis, y: Axis, rules: list[float], height: int) -> _Frame:
        xs = [point[0] for entry in series for point in entry.points] or [0.0, 1.0]
        ys = [point[1] for entry in series for point in entry.points if math.isfinite(point[1])] + rules
        ys += [value for entry in series for _, *ends in entry.band for value in ends]
        ys = ys or [0.0, 1.0]
        x_low, x_high = _limits(min(xs), max(xs), x, margin=0.0)
        if x.names:
            x_low, x_high = -0.5, len(x.names) - 0.5
        y_low, y_high = _limits(min(ys), max(ys), y, margin=0.06)
        return cls(x_low, x_high, y_low, y_high, height, x.log)

    def x(self, value: float) -> float:
        low, high = self.x_low, self.x_high
        if self.log:
            value, low, high = (math.log10(each) for each in (value, low, high))
        share = (value - low) / (high - low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)

    @property
    def base(self) -> float:
        return self.height - BOTTOM

    def height_at(self, points: Sequence[Point], column: float) -> float | None:
        """Return where the line through `points` runs at a column of the picture, None where it does not."""
        placed = [(self.x(x), self.y(y)) for x, y in points if math.isfinite(y)]
        for (x0, y0), (x1, y1) in pairwise(placed):
            if x0 <= column <= x1:
                return y0 + (y1 - y0) * (column - x0) / (x1 - x0 or 1.0)
        return None


def _limits(low: float, high: float, axis: Axis, margin: float) -> tuple[float, float]:
    pad = (high - low) * margin or abs(high) * 0.05 or 0.5
    found_low = axis.low if axis.low is not None else (low - pad if margin or low == high else low)
    found_high = axis.high if axis.high is not None else (high + pad if margin or low == high else high)
    return (found_low, found_high) if found_high > found_low else (found_low, found_low + 1.0)


def _segments(points: Sequence[Point]) -> list[list[Point]]:
    """Split at values that are not finite."""
    parts: list[list[Point]] = [[]]
    for point in points:
        if math.isfinite(point[1]):
            parts[-1].append(point)
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _rule(name: str, at: float, frame: _Frame, series: Sequence[Series]) -> tuple[str, float, float, float]:
    """Return a named line; its name stands where the fewest lines run through it, to the right and above by preference."""
    width = _NAME_PX * len(name)
    ends = (WIDTH - RIGHT - 12.0, (LEFT + WIDTH - RIGHT + width) / 2, LEFT + 16.0 + width)
    places = [
        (end, at + offset)
        for offset in (-6.0, 20.0, -24.0)
        for end in ends
        if at + offset - 10 > TOP and at + offset < frame.base
    ]
    crossed = [_crossings(place, width, frame, series) for place in places]
    end, name_y = places[crossed.index(min(crossed))] if places else (ends[0], at - 6.0)
    return name, at, round(end, 1), round(name_y, 1)


def _crossings(place: Point, width: float, frame: _Frame, series: Sequence[Series]) -> int:
    """Return through how many of a name's columns a line runs. `place` is the name's right end and its base line."""
    end, base = place
    columns = [end - width + width * index / 12 for index in range(13)]
    heights = [frame.height_at(entry.points, column) for entry in series if entry.line for column in columns]
    return sum(height is not None and base - 15 < height < base + 6 for height in heights)


def _paths(frame: _Frame, series: Series) -> list[str]:
    parts = _segments(thinned(series.points))
    return ["M" + "L".join(f"{frame.x(x)} {frame.y(y)}" for x, y in part) for part in parts]


def _dots(frame: _Frame, series: Series) -> list[tuple[float, float, str, str]]:
    tips = series.tips or [f"{series.name}: {y:.3g} at {x:,.6g}" for x, y in series.points]
    return [
        (frame.x(x), frame.y(y), series.style, tip)
        for (x, y), tip in zip(series.points, tips, strict=True)
        if math.isfinite(y)
    ]


def _band(frame: _Frame, series: Series) -> str:
    upper = [f"{frame.x(x)} {frame.y(high)}" for x, _, high in series.band]
    lower = [f"{frame.x(x)} {frame.y(low)}" for x, low, _ in reversed(series.band)]
    return "M" + "L".join([*upper, *lower]) + "Z"

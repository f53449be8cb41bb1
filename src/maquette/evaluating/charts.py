"""Line charts as inline SVG, drawn with the page's own colours; no script, readable by screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maquette.evaluating.page import Markup, el

WIDTH = 720
LEFT, RIGHT, TOP, BOTTOM = 62, 16, 14, 46
_MOST_POINTS = 480

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line. `style` names its CSS class: main, raw, second, floor. `band` holds (x, low, high)."""

    name: str
    points: Sequence[Point]
    style: str = "main"
    band: Sequence[tuple[float, float, float]] = ()
    dots: bool = False


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis with its label; limits of None follow the data, and zero is included on demand."""

    label: str
    low: float | None = None
    high: float | None = None


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


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    description: str,
    x: Axis,
    y: Axis,
    rules: Sequence[tuple[str, float]] = (),
    height: int = 300,
) -> Markup:
    """Return the chart. `rules` are named horizontal lines. `description` is what a screen reader says."""
    frame = _Frame.around(series, x, y, [value for _, value in rules], height)
    parts = [el("title", title), el("desc", description), *frame.grid(x.label, y.label)]
    parts += [_band(frame, entry) for entry in series if entry.band]
    for name, value in rules:
        at = frame.y(value)
        parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="rule"))
        beside = at - 6 if at > TOP + 24 else at + 20  # a line near the top has its name beneath
        parts.append(el("text", name, x=WIDTH - RIGHT - 4, y=beside, class_="rule-name", text_anchor="end"))
    for entry in series:
        parts += _line(frame, entry)
    legend = _legend(series)
    chart = el("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", class_="chart", aria_label=title)
    return el("figure", chart, legend, class_="plot")


@dataclass(frozen=True)
class _Frame:
    """Where numbers lie on the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: int

    @classmethod
    def around(cls, series: Sequence[Series], x: Axis, y: Axis, rules: list[float], height: int) -> _Frame:
        xs = [point[0] for entry in series for point in entry.points] or [0.0, 1.0]
        ys = [point[1] for entry in series for point in entry.points if math.isfinite(point[1])] + rules
        ys += [value for entry in series for _, *ends in entry.band for value in ends]
        ys = ys or [0.0, 1.0]
        x_low, x_high = _limits(min(xs), max(xs), x, margin=0.0)
        y_low, y_high = _limits(min(ys), max(ys), y, margin=0.06)
        return cls(x_low, x_high, y_low, y_high, height)

    def x(self, value: float) -> float:
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return round(self.height - BOTTOM - share * (self.height - TOP - BOTTOM), 1)

    def grid(self, x_label: str, y_label: str) -> list[Markup]:
        parts = []
        for value in ticks(self.y_low, self.y_high):
            at = self.y(value)
            parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"))
            parts.append(el("text", short(value), x=LEFT - 8, y=at + 4, text_anchor="end"))
        for value in ticks(self.x_low, self.x_high, 8):
            at = self.x(value)
            parts.append(
                el("line", x1=at, x2=at, y1=self.height - BOTTOM, y2=self.height - BOTTOM + 5, class_="axis")
            )
            parts.append(el("text", f"{value:,.6g}", x=at, y=self.height - BOTTOM + 19, text_anchor="middle"))
        base = self.height - BOTTOM
        middle = (TOP + base) / 2
        parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=base, y2=base, class_="axis"))
        parts.append(
            el(
                "text",
                x_label,
                x=(LEFT + WIDTH - RIGHT) / 2,
                y=self.height - 6,
                text_anchor="middle",
                class_="label",
            )
        )
        turned = f"rotate(-90 14 {middle})"
        parts.append(
            el("text", y_label, x=14, y=middle, text_anchor="middle", transform=turned, class_="label")
        )
        return parts


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


def _line(frame: _Frame, series: Series) -> list[Markup]:
    drawn = []
    for part in _segments(thinned(series.points)):
        path = "M" + "L".join(f"{frame.x(x)} {frame.y(y)}" for x, y in part)
        drawn.append(el("path", d=path, class_=f"line {series.style}"))
    if series.dots:
        for x, y in series.points:
            if math.isfinite(y):
                tip = el("title", f"{series.name}: {y:.3g} at {x:,.6g}")
                drawn.append(
                    el("circle", tip, cx=frame.x(x), cy=frame.y(y), r=4, class_=f"dot {series.style}")
                )
    return drawn


def _band(frame: _Frame, series: Series) -> Markup:
    upper = [f"{frame.x(x)} {frame.y(high)}" for x, _, high in series.band]
    lower = [f"{frame.x(x)} {frame.y(low)}" for x, low, _ in reversed(series.band)]
    return el("path", d="M" + "L".join([*upper, *lower]) + "Z", class_=f"band {series.style}")


def _legend(series: Sequence[Series]) -> Markup:
    entries = [el("span", el("i", class_=f"swatch {entry.style}"), entry.name) for entry in series]
    return el("figcaption", *entries, class_="legend")

"""The histogram of similarities with the pass rate at each threshold, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from maquette.drawing import paper
from maquette.files import replacing

WIDTH, HEIGHT = 1120, 620
LEFT, TOP, RIGHT, BOTTOM = 70, 110, 800, 540
"""The plot's frame."""
REFERENCE: paper.Rgb = (64, 96, 160)


def write_histogram(identity: Mapping[str, Any], path: Path) -> Path:
    """Draw `identity` (as curation.json holds it: histogram, threshold, references) to `path`; return it."""
    page = Image.new("RGB", (WIDTH, HEIGHT), paper.PAPER)
    draw = ImageDraw.Draw(page)
    histogram, threshold = identity["histogram"], float(identity["threshold"])
    draw.text((LEFT, 22), "Likeness to the references", paper.INK, paper.font(30))
    said = (
        f"{histogram['pictures']:,} pictures, {len(identity['references'])} references, {identity['encoder']}"
    )
    draw.text((LEFT, 64), paper.fitted(said, 15, WIDTH - 2 * LEFT), paper.SOFT, paper.font(15))
    low = _lowest(identity)
    _bars(draw, histogram["counts"], threshold, float(identity["review_band"]), low)
    _references(draw, identity["calibration"]["similarities"], low)
    _axis(draw, low)
    _threshold(draw, threshold, low)
    _table(draw, histogram["pass_rates"], threshold)
    with replacing(path) as temporary:
        page.save(temporary, format="PNG")
    return path


def _lowest(identity: Mapping[str, Any]) -> float:
    """Return where the axis begins: a tenth below everything that is to be shown, 0 at the least."""
    counts = identity["histogram"]["counts"]
    first = next((index for index, count in enumerate(counts) if count), 0) / len(counts)
    shown = [first, float(identity["threshold"]), *identity["calibration"]["similarities"]]
    return max(0.0, int(min(shown) * 10 - 0.5) / 10)


def _x(value: float, low: float) -> float:
    return LEFT + (RIGHT - LEFT) * (value - low) / (1.0 - low)


def _bars(draw: ImageDraw.ImageDraw, counts: list[int], threshold: float, band: float, low: float) -> None:
    most = max([1, *counts])
    for mark in marks(most):
        y = BOTTOM - (BOTTOM - TOP) * mark / most
        draw.line((LEFT, y, RIGHT, y), paper.LINE)
        draw.text((LEFT - 8, y), f"{mark:,}", paper.SOFT, paper.font(13), anchor="rm")
    for index, count in enumerate(counts):
        start, end = index / len(counts), (index + 1) / len(counts)
        middle = (start + end) / 2
        if not count or end <= low:
            continue
        color = paper.KEPT if middle >= threshold else paper.REJECTED
        color = paper.REVIEW if threshold - band <= middle < threshold else color
        top = BOTTOM - (BOTTOM - TOP) * count / most
        draw.rectangle((_x(start, low) + 1, top, _x(end, low) - 1, BOTTOM), fill=color)


def marks(most: int) -> list[int]:
    """Return up to five whole numbers from 1 to `most`, evenly spaced by 1, 2 or 5 times a power of ten."""
    power = 10 ** max(0, len(str(most)) - 2)
    step = next(step for factor in (1, 2, 5, 10, 20, 50) if (step := factor * power) * 5 >= most)
    return list(range(step, most + 1, step))


def _references(draw: ImageDraw.ImageDraw, similarities: list[float], low: float) -> None:
    """Draw a mark below the axis for each reference, as it fares against the others."""
    if not similarities:
        return
    for value in similarities:
        x = _x(value, low)
        draw.polygon([(x, BOTTOM + 34), (x - 6, BOTTOM + 46), (x + 6, BOTTOM + 46)], fill=REFERENCE)
    text = "each reference against the others"
    draw.text((LEFT, BOTTOM + 56), text, REFERENCE, paper.font(13))


def _axis(draw: ImageDraw.ImageDraw, low: float) -> None:
    draw.line((LEFT, BOTTOM, RIGHT, BOTTOM), paper.INK, 2)
    for tenth in range(round(low * 10), 11):
        x = _x(tenth / 10, low)
        draw.line((x, BOTTOM, x, BOTTOM + 5), paper.INK)
        draw.text((x, BOTTOM + 10), f"{tenth / 10:.1f}", paper.SOFT, paper.font(13), anchor="ma")


def _threshold(draw: ImageDraw.ImageDraw, threshold: float, low: float) -> None:
    x = _x(threshold, low)
    for y in range(TOP - 14, BOTTOM, 9):
        draw.line((x, y, x, y + 5), paper.INK, 2)
    draw.text((x, TOP - 16), f"threshold {threshold:.2f}", paper.INK, paper.font(14), anchor="mb")


def _table(draw: ImageDraw.ImageDraw, rates: list[dict[str, Any]], threshold: float) -> None:
    """Draw threshold, how many pass, and the share, with a bar."""
    left, right = RIGHT + 50, WIDTH - 40
    for x, text, anchor in ((left, "from", "ls"), (left + 120, "pass", "rs"), (right, "share", "rs")):
        draw.text((x, TOP - 6), text, paper.SOFT, paper.font(13), anchor=anchor)
    step_px = min(38, (BOTTOM - TOP) / max(1, len(rates)))
    for row, rate in enumerate(rates):
        y = TOP + step_px * (row + 0.5)
        used = abs(rate["threshold"] - threshold) < 1e-9
        color = paper.INK if used else paper.SOFT
        if used:
            draw.rounded_rectangle(
                (left - 10, y - step_px / 2, right + 10, y + step_px / 2), 5, fill=paper.MAT
            )
        draw.text((left, y), f"{rate['threshold']:.2f}", color, paper.font(15), anchor="lm")
        draw.text((left + 120, y), f"{rate['passed']:,}", color, paper.font(15), anchor="rm")
        draw.text((right, y), f"{rate['rate']:.1%}", color, paper.font(15), anchor="rm")

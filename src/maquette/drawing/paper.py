"""Colours, type, cells and a few shapes that contact sheets, grids and charts share."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from maquette.files import replacing

Rgb = tuple[int, int, int]

PAPER: Rgb = (250, 249, 246)
CARD: Rgb = (255, 255, 255)
MAT: Rgb = (236, 234, 229)
LINE: Rgb = (221, 218, 211)
INK: Rgb = (38, 36, 34)
SOFT: Rgb = (118, 113, 106)
KEPT: Rgb = (62, 132, 88)
REVIEW: Rgb = (201, 138, 30)
REJECTED: Rgb = (186, 68, 58)
STATE_COLORS: dict[str, Rgb] = {"kept": KEPT, "review": REVIEW, "rejected": REJECTED}


@lru_cache
def font(size_px: int) -> Any:
    """Return Pillow's own typeface at a size; Latin, Greek and Cyrillic."""
    return ImageFont.load_default(size_px)


def fitted(text: str, size_px: int, width_px: float) -> str:
    """Return `text`, its middle replaced by … where it is wider than `width_px`."""
    face = font(size_px)
    if face.getlength(text) <= width_px:
        return text
    keep = len(text)
    while keep > 4 and face.getlength(_cut(text, keep)) > width_px:
        keep -= 1
    return _cut(text, keep)


def wrapped(text: str, size_px: int, width_px: float, max_lines: int) -> list[str]:
    """Return `text` in at most `max_lines` lines of that width; the last one ends in … when more follows."""
    face = font(size_px)
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width_px:
            lines.append(line)
            line = word
        else:
            line = longer
    lines.append(line)
    if len(lines) > max_lines:
        last = lines[max_lines - 1]
        while last and face.getlength(f"{last} …") > width_px:
            last = last[:-1]
        lines = [*lines[: max_lines - 1], f"{last} …"]
    return [fitted(line, size_px, width_px) for line in lines]


def cell_size(size_wh: tuple[int, int], least_px: int, most_px: int) -> tuple[int, int]:
    """Return a readable cell of a picture's shape: a small picture is enlarged whole times, a large one reduced."""
    longest = max(size_wh)
    if longest < least_px:
        factor = -(-least_px // longest)
        return size_wh[0] * factor, size_wh[1] * factor
    share = min(1.0, most_px / longest)
    return max(1, round(size_wh[0] * share)), max(1, round(size_wh[1] * share))


def in_cell(picture: Image.Image, cell_wh: tuple[int, int]) -> Image.Image:
    """Return the picture at the cell's size; pixels stay pixels where it is enlarged."""
    if picture.size == cell_wh:
        return picture
    enlarged = cell_wh[0] > picture.width
    return picture.resize(cell_wh, Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)


def save_sheet(sheet: Image.Image, path: Path) -> Path:
    """Write a sheet as PNG, whole or not at all; return `path`."""
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
    return path


def chip(draw: ImageDraw.ImageDraw, left: float, top: float, text: str, color: Rgb, size_px: int) -> float:
    """Draw a label with round ends; return its width."""
    width = font(size_px).getlength(text) + 2 * size_px * 0.7
    height = size_px * 1.7
    draw.rounded_rectangle((left, top, left + width, top + height), height / 2, fill=color)
    draw.text((left + size_px * 0.7, top + height / 2), text, "white", font(size_px), anchor="lm")
    return width


def _cut(text: str, keep: int) -> str:
    head = (keep - 1) // 2
    return f"{text[:head]}…{text[len(text) - (keep - 1 - head) :]}"

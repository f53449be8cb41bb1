"""Masks shown over their pictures, so that a person sees what will be learned: the picture, the mask, the latent's grid.

Left the picture; in the middle what is left out, darkened and red, with a line where the mask ends; right the same as training
weighs it, cell by cell. Shapes: pixels_HWC uint8 RGB, mask_HW uint8, grid_HW float32 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maquette.drawing import paper

CELL_PX, GAP_PX, LINE_PX, COLUMNS, MOST = 176, 8, 18, 3, 60
OUTSIDE = np.array([178, 24, 64], np.float32)
EDGE = (52, 199, 89)
CELLS = 64
"""Cells of the longer side where no run says how large its latents are."""


@dataclass(frozen=True)
class Shown:
    """One picture with its mask, as it is or as it is trained."""

    name: str
    pixels_HWC: NDArray[np.uint8]
    mask_HW: NDArray[np.uint8]
    grid_HW: NDArray[np.float32]


def grid_for(mask_HW: NDArray[np.uint8], cells: int = CELLS) -> NDArray[np.float32]:
    """Return a mask on a grid of so many cells along the longer side, each the mean of what lies in it."""
    height, width = mask_HW.shape
    factor = cells / max(height, width)
    size_wh = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(mask_HW.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
    return np.asarray(small / 255, np.float32)


def write_mask_sheet(shown: Iterable[Shown], path: Path) -> Path:
    """Write one PNG of all that is shown and return `path`."""
    entries = list(shown)
    columns = min(COLUMNS, max(1, len(entries)))
    rows = -(-len(entries) // columns)
    width, height = 3 * CELL_PX + 2 * GAP_PX, CELL_PX + LINE_PX
    size = (columns * (width + 2 * GAP_PX) + GAP_PX, rows * (height + GAP_PX) + GAP_PX)
    sheet = Image.new("RGB", size, paper.PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, entry in enumerate(entries):
        row, column = divmod(index, columns)
        left, top = GAP_PX + column * (width + 2 * GAP_PX), GAP_PX + row * (height + GAP_PX)
        for place, pixels in enumerate(views(entry)):
            cell = Image.fromarray(pixels)
            cell.thumbnail((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
            x = left + place * (CELL_PX + GAP_PX) + (CELL_PX - cell.width) // 2
            sheet.paste(cell, (x, top + (CELL_PX - cell.height) // 2))
        text = f"{entry.name}  {entry.grid_HW.mean():.0%}"
        said = paper.fitted(text, 12, width)
        draw.text((left, top + CELL_PX + 2), said, fill=paper.INK, font=paper.font(12))
    return paper.save_sheet(sheet, path)


def spread(count: int, most: int = MOST) -> Sequence[int]:
    """Return up to `most` of `count` places, spread over all."""
    step = max(1, -(-count // most))
    return range(0, count, step)


def views(entry: Shown) -> list[NDArray[np.uint8]]:
    """Return the picture, its mask over it, and the grid over it, all of one size; small ones are enlarged to the pixel."""
    factor = 2 * CELL_PX / max(entry.pixels_HWC.shape[:2])
    factor, how = (factor, cv2.INTER_AREA) if factor < 1 else (int(factor), cv2.INTER_NEAREST)
    height, width = (max(1, round(side * factor)) for side in entry.pixels_HWC.shape[:2])
    pixels = cv2.resize(entry.pixels_HWC, (width, height), interpolation=how)
    mask = cv2.resize(entry.mask_HW, (width, height), interpolation=how)
    grid = cv2.resize(entry.grid_HW, (width, height), interpolation=cv2.INTER_NEAREST)
    over = tinted(pixels, mask.astype(np.float32) / 255)
    outlines, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(over, outlines, -1, EDGE, max(1, round(max(height, width) / 150)))
    return [np.asarray(pixels, np.uint8), over, tinted(pixels, grid)]


def tinted(pixels_HWC: NDArray[np.uint8], weight_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture, darkened and red where the weight is small."""
    weight = weight_HW[..., None]
    outside = 0.3 * pixels_HWC + 0.45 * OUTSIDE
    return np.asarray((weight * pixels_HWC + (1 - weight) * outside).clip(0, 255), np.uint8)

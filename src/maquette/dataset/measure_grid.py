"""Pixel art enlarged without smoothing: how large its cells are, and how far its colour steps keep to them.

Nearest-neighbour enlargement of n cells to w pixels puts the border of cell i at i·w/n, rounded. Whole factors have
borders a constant number of pixels apart, in a cropped piece from any start.
Shapes: P positions along one axis at which colours step, G candidate grids.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_STEP_SHARE = 0.5
"""Enlarging twofold leaves at most half of all neighbours different."""
MIN_SAME_ROWS = 24
"""Of 64 rows looked at."""
MAX_CELL_PX = 128
MIN_BORDERS = 5
MIN_OCCUPIED = 0.25
"""Share of a grid's borders at which colours must really step: fewer would fit any drawing with straight edges."""
ON_GRID = 0.02
OFF_GRID = 0.25


@dataclass(frozen=True)
class Grid:
    """Edge of a cell in pixels (1 for none), and the share of colour steps that are not on a cell's border."""

    cell_px: float = 1.0
    error: float = 0.0


NO_GRID = Grid()


@dataclass(frozen=True)
class _Axis:
    """Where colours step along one axis of `length_px`: positions_P, and at how many pixels each, weights_P."""

    length_px: int
    positions_P: NDArray[np.int64]
    weights_P: NDArray[np.int64]

    def fit(self, on_PG: NDArray[np.bool_], cells_G: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
        """Return each grid's weight of steps that lie on it, and whether enough of its borders are occupied."""
        occupied = on_PG.sum(0)
        wanted = np.maximum(MIN_BORDERS, MIN_OCCUPIED * (self.length_px / cells_G - 1))
        return self.weights_P @ on_PG, occupied >= wanted


def pixel_grid(image: Image.Image, num_colours: int) -> Grid:
    """Return the grid of an RGB picture, or none: it is looked for where there are fewer than 4096 colours.

    It is the coarsest on which at least 98 % of all colour steps lie, else the coarsest with 75 %, believed where
    steps occupy five borders and a quarter of all, along both axes.
    """
    if num_colours < 2 or num_colours >= 4096 or min(image.size) < 8:
        return NO_GRID
    axes = _axes(image) if _rows_repeat(image) else None
    if axes is None:
        return NO_GRID
    cells_G, errors_G, believed_G = (
        np.concatenate(parts) for parts in zip(_whole_factors(*axes), _fractions(*axes), strict=True)
    )
    for limit in (ON_GRID, OFF_GRID):
        found = np.flatnonzero(believed_G & (errors_G <= limit))
        if found.size:
            best = found[np.argmax(cells_G[found])]
            return Grid(round(float(cells_G[best]), 3), round(float(errors_G[best]), 4))
    return NO_GRID


def _rows_repeat(image: Image.Image) -> bool:
    """Return whether enough rows equal the row above them, by eight bands of nine rows: half of them must at a cell of 2."""
    if image.height < 160:
        return True
    same = 0
    for top in np.linspace(0, image.height - 9, 8).astype(int):
        band = np.asarray(image.crop((0, int(top), image.width, int(top) + 9)).convert("L"))
        same += int(np.count_nonzero(~(band[1:] != band[:-1]).any(1)))
    return same >= MIN_SAME_ROWS


def _axes(image: Image.Image) -> tuple[_Axis, _Axis] | None:
    """Return the steps in brightness from left to right and from top to bottom, or None where there are too many."""
    grey_HW = np.asarray(image.convert("L"))
    across = _counted(cv2.compare(grey_HW[:, 1:], grey_HW[:, :-1], cv2.CMP_NE), axis=0)
    if across.sum() > MAX_STEP_SHARE * grey_HW.size:
        return None
    down = _counted(cv2.compare(grey_HW[1:], grey_HW[:-1], cv2.CMP_NE), axis=1)
    axes = []
    for length_px, steps in ((image.width, across), (image.height, down)):
        places = np.flatnonzero(steps)
        if not MIN_BORDERS <= len(places) <= 0.75 * length_px:
            return None
        axes.append(_Axis(length_px, places + 1, steps[places]))
    return axes[0], axes[1]


def _counted(differs_HW: NDArray[np.uint8], axis: int) -> NDArray[np.int64]:
    """Return along one axis how many values of 255 there are."""
    return cv2.reduce(differs_HW, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel().astype(np.int64) // 255


def _whole_factors(across: _Axis, down: _Axis) -> tuple[NDArray, NDArray, NDArray]:
    """Return cells, errors and belief of the grids whose cells are whole pixels, from any start."""
    cells_G = np.arange(2, MAX_CELL_PX + 1)
    fits = []
    for axis in (across, down):
        start = axis.positions_P[np.argmax(axis.weights_P)]
        fits.append(axis.fit((axis.positions_P[:, None] - start) % cells_G == 0, cells_G.astype(float)))
    return _judged(cells_G.astype(float), across, down, fits)


def _fractions(across: _Axis, down: _Axis) -> tuple[NDArray, NDArray, NDArray]:
    """Return the same for the grids that divide the whole picture into n cells, where n does not divide its width."""
    counts_G = np.arange(2, across.length_px // 2 + 1)
    cells_G = across.length_px / counts_G
    rows_G = down.length_px / cells_G
    possible = (across.length_px % counts_G > 0) & (np.abs(rows_G - np.rint(rows_G)) < 0.01) & (rows_G > 1)
    counts_G, cells_G, rows_G = counts_G[possible], cells_G[possible], np.rint(rows_G[possible])
    fits = []
    for axis, number_G in ((across, counts_G), (down, rows_G)):
        at_PG = axis.positions_P[:, None]
        border_PG = np.rint(at_PG * number_G / axis.length_px) * axis.length_px / number_G
        # Programs round a border that falls on half a pixel either way.
        fits.append(axis.fit(np.abs(border_PG - at_PG) <= 0.5 + 1e-6, cells_G))
    return _judged(cells_G, across, down, fits)


def _judged(
    cells_G: NDArray, across: _Axis, down: _Axis, fits: list[tuple[NDArray, NDArray]]
) -> tuple[NDArray, NDArray, NDArray]:
    (on_across_G, believed_across_G), (on_down_G, believed_down_G) = fits
    total = across.weights_P.sum() + down.weights_P.sum()
    return cells_G, 1 - (on_across_G + on_down_G) / total, believed_across_G & believed_down_G

"""Where the subject is, by classical means: nothing is downloaded, and nothing is known of what a subject is.

Before a plain wall a flood from the border finds the background by colour. Else GrabCut parts the picture by its colours, with
the border for background and what differs from it, nearer to the middle, for subject. That is a good guess where the subject
stands free, and a poor one in a crowd: whoever uses these masks looks at them. Shapes: pixels_HWC uint8 RGB, mask_HW uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.uint8]

WORKED_AT_PX = 384
"""Longer side at which the parting is done; masks need no finer one, since a latent's cell is eight pixels wide."""
PLAIN_DISTANCE = 10.0
"""In Lab, how far a pixel of a plain border may be from its main colour."""
PLAIN_SHARE = 0.75
FLOOD_STEP = 3.0
"""In 8-bit Lab, by how much neighbouring pixels of a wall may differ; a wall may darken as a whole."""
LEAST_SHARE, MOST_SHARE = 0.01, 0.95
SMALLEST_PIECE = 0.05
"""Of the largest piece of a subject; a smaller one is noise."""
ROUNDS = 6


@dataclass(frozen=True)
class Found:
    """A mask, how it was found, and why not to trust it; no reason where it seems right."""

    mask_HW: Mask
    how: str
    doubt: str = ""


def subject_of(pixels_HWC: Pixels) -> Found:
    """Return the mask of a picture's subject, in the picture's size."""
    small = _small(pixels_HWC)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    flooded = _flooded(lab) if _has_plain_border(lab) else None
    if flooded is not None and LEAST_SHARE < flooded.mean() < MOST_SHARE:
        mask, how = flooded, "flood"
    else:
        mask, how = _grab_cut(small, lab), "grabcut"
    mask = _tidied(mask)
    share = float(mask.mean())
    doubt = ""
    if share <= LEAST_SHARE:
        doubt = "nothing stands out from the border"
    elif share >= MOST_SHARE:
        doubt = "nearly all of it would be the subject"
    return Found(enlarged(mask.astype(np.float32), pixels_HWC.shape[:2]), how, doubt)


def enlarged(share_HW: NDArray[np.float32], size_hw: tuple[int, ...]) -> Mask:
    """Return a mask in 0..1 as one in 0..255 of another size, its edge as wide as one of its own pixels."""
    resized = cv2.resize(share_HW, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray((resized * 255).round().clip(0, 255), np.uint8)


def grown(mask_HW: Mask, share: float) -> Mask:
    """Return a mask whose white reaches further by a share of the longer side."""
    reach = round(share * max(mask_HW.shape))
    if reach < 1:
        return mask_HW
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.asarray(cv2.dilate(mask_HW, kernel), np.uint8)


def _small(pixels_HWC: Pixels) -> Pixels:
    height, width = pixels_HWC.shape[:2]
    factor = min(1.0, WORKED_AT_PX / max(height, width))
    size_wh = max(8, round(width * factor)), max(8, round(height * factor))
    return np.asarray(cv2.resize(pixels_HWC, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def _border(values_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the pixels of the outer ring, [N, 3]; the lower edge counts on its corners alone, where subjects stand."""
    edge = max(2, min(values_HWC.shape[:2]) // 40)
    sides = (values_HWC[:edge], values_HWC[:, :edge], values_HWC[:, -edge:])
    return np.concatenate([side.reshape(-1, 3) for side in sides]).astype(np.float32)


def _has_plain_border(lab_HWC: NDArray[np.uint8]) -> bool:
    ring = _border(lab_HWC)
    distance = np.linalg.norm(ring - np.median(ring, axis=0), axis=1)
    return bool((distance < PLAIN_DISTANCE).mean() >= PLAIN_SHARE)


def _flooded(lab_HWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what no flood from the border reaches: it runs over pixels like the wall, in small steps of colour."""
    height, width = lab_HWC.shape[:2]
    wall = np.median(_border(lab_HWC), axis=0)
    like_wall = np.linalg.norm(lab_HWC.astype(np.float32) - wall, axis=2) < 2.5 * PLAIN_DISTANCE
    near = np.linalg.norm(lab_HWC.astype(np.float32) - wall, axis=2) < PLAIN_DISTANCE
    reached = np.zeros((height + 2, width + 2), np.uint8)
    reached[1:-1, 1:-1] = ~like_wall
    step = (FLOOD_STEP,) * 3
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | (2 << 8)
    image = cv2.GaussianBlur(lab_HWC, (3, 3), 0)
    for y, x in _ring_of(height, width):
        if near[y, x] and not reached[y + 1, x + 1]:
            cv2.floodFill(image, reached, (x, y), (0, 0, 0), step, step, flags)
    return np.asarray(reached[1:-1, 1:-1] != 2)


def _ring_of(height: int, width: int) -> list[tuple[int, int]]:
    across = [(y, x) for y in (0, height - 1) for x in range(width)]
    return across + [(y, x) for x in (0, width - 1) for y in range(height)]


def _grab_cut(pixels_HWC: Pixels, lab_HWC: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return GrabCut's foreground, begun from what differs from the border and lies towards the middle."""
    height, width = pixels_HWC.shape[:2]
    odds = _distance_from_border(lab_HWC) * _towards_the_middle(height, width)
    guess = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    guess[odds > np.quantile(odds, 0.6)] = cv2.GC_PR_FGD
    edge = max(2, min(height, width) // 50)
    guess[:edge], guess[:, :edge], guess[:, -edge:] = cv2.GC_BGD, cv2.GC_BGD, cv2.GC_BGD
    if not (guess == cv2.GC_PR_FGD).any():
        return np.zeros((height, width), bool)
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    bgr = np.ascontiguousarray(pixels_HWC[:, :, ::-1])
    cv2.grabCut(bgr, guess, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.asarray((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD))


def _distance_from_border(lab_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how far each pixel is in colour from the nearest of the border's six main colours."""
    ring = _border(lab_HWC)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    cv2.setRNGSeed(0)
    _, _, colours = cv2.kmeans(ring, min(6, len(ring)), None, criteria, 2, cv2.KMEANS_PP_CENTERS)
    pixels = lab_HWC.reshape(-1, 3).astype(np.float32)
    nearest = np.min([np.linalg.norm(pixels - colour, axis=1) for colour in colours], axis=0)
    return np.asarray(cv2.GaussianBlur(nearest.reshape(lab_HWC.shape[:2]).astype(np.float32), (0, 0), 3))


def _towards_the_middle(height: int, width: int) -> NDArray[np.float32]:
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    return np.asarray(np.exp(-(x**2 + y**2) / 0.7), np.float32)


def _tidied(mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask without specks and holes."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    opened = cv2.morphologyEx(mask_HW.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    opened = opened if opened.any() else mask_HW.astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not count > 1:
        return np.zeros_like(mask_HW)
    kept = np.isin(labels, 1 + np.flatnonzero(areas >= SMALLEST_PIECE * areas.max()))
    return _without_holes(kept)


def _without_holes(mask_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask whose small holes are filled: those below a hundredth of it; a larger one may be an arm's."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask_HW).astype(np.uint8), connectivity=4)
    most = 0.01 * mask_HW.sum()
    small = [label for label in range(1, count) if stats[label, cv2.CC_STAT_AREA] < most]
    return np.asarray(mask_HW | np.isin(labels, small))

"""Variety: groups of like pictures (view, pose, scene), and the N most varied good ones among many.

Groups are spherical k-means from farthest-point centres. The choice is farthest-point sampling weighted by quality:
each next picture is the one least like everything chosen so far, a good one before a poor one. Both are
deterministic: no random numbers, ties go to the first.

Shapes: N pictures, D numbers a picture, C centres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 8192
MAX_CLUSTERS = 12
ROUNDS = 12
Rows = NDArray[Any]


def num_clusters(num_pictures: int) -> int:
    """Return how many groups suit so many pictures: half the square root, between 1 and 12."""
    return max(1, min(MAX_CLUSTERS, round(math.sqrt(num_pictures) / 2)))


def clusters(rows_ND: Rows, count: int | None = None) -> NDArray[np.int64]:
    """Return each picture's group, 0 the largest; `count` groups (default: what suits the number), or fewer."""
    total = len(rows_ND)
    if not total:
        return np.zeros(0, np.int64)
    wanted = min(count or num_clusters(total), total)
    centres_CD = _unit(rows_ND[farthest(rows_ND, wanted)])
    group = np.zeros(total, np.int64)
    for _ in range(ROUNDS):
        before = group
        group, sums_CD = _assign(rows_ND, centres_CD)
        if np.array_equal(group, before):
            break
        lengths = np.linalg.norm(sums_CD, axis=1, keepdims=True)
        centres_CD = np.where(lengths > 1e-9, sums_CD / np.maximum(lengths, 1e-9), centres_CD)
    order = np.argsort(-np.bincount(group, minlength=wanted), kind="stable")
    rank = np.empty(wanted, np.int64)
    rank[order] = np.arange(wanted)
    return rank[group]


def farthest(
    rows_ND: Rows, count: int, *, quality: Sequence[float] | None = None, chosen: Sequence[int] = ()
) -> list[int]:
    """Return the indices of `count` varied pictures, those in `chosen` first, then in the order of their choice.

    quality: 0 to 1 each; a picture's distance (1 − cosine to the nearest chosen one) is multiplied by its half plus
    a half of its quality. Begins with the best picture where nothing is chosen.
    """
    total = len(rows_ND)
    weight = 0.5 + 0.5 * np.asarray(quality if quality is not None else np.ones(total), np.float32)
    picked = list(dict.fromkeys(chosen))
    distance = np.full(total, 2.0, np.float32)
    lengths = _lengths(rows_ND)
    for index in picked:
        _approach(distance, rows_ND, lengths, index)
    while len(picked) < min(count, total):
        score = distance * weight
        score[picked] = -1.0
        index = int(np.argmax(score))
        picked.append(index)
        _approach(distance, rows_ND, lengths, index)
    return picked


def nearest_chosen(rows_ND: Rows, chosen: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return for each picture which of `chosen` it is most like (an index into the rows), and the cosine."""
    centres = _unit(rows_ND[list(chosen)])
    places, values = [], []
    for start in range(0, len(rows_ND), BLOCK_ROWS):
        table = _unit(rows_ND[start : start + BLOCK_ROWS]) @ centres.T
        places.append(table.argmax(axis=1))
        values.append(table.max(axis=1))
    return np.asarray(chosen, np.int64)[np.concatenate(places)], np.concatenate(values)


def alike_pairs(rows_ND: Rows, least: float) -> NDArray[np.int64]:
    """Return int [P, 2]: the pairs whose cosine is at least `least`."""
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(rows_ND), BLOCK_ROWS // 4):
        block = _unit(rows_ND[start : start + BLOCK_ROWS // 4])
        for other in range(start, len(rows_ND), BLOCK_ROWS):
            table = block @ _unit(rows_ND[other : other + BLOCK_ROWS]).T
            left, right = np.nonzero(table >= least)
            pairs = np.stack([left + start, right + other], axis=1)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    return np.concatenate(found)


def _approach(distance: NDArray[Any], rows_ND: Rows, lengths: NDArray[Any], index: int) -> None:
    """Lower every picture's distance to what it is from row `index`; `lengths` are the rows'."""
    point = _unit(rows_ND[index : index + 1])[0]
    for start in range(0, len(rows_ND), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        cosine = rows_ND[part].astype(np.float32) @ point / lengths[part]
        np.minimum(distance[part], 1.0 - cosine, out=distance[part])


def _lengths(rows_ND: Rows) -> NDArray[Any]:
    lengths = np.empty(len(rows_ND), np.float32)
    for start in range(0, len(rows_ND), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        lengths[part] = np.linalg.norm(rows_ND[part].astype(np.float32), axis=1)
    return np.maximum(lengths, 1e-9)


def _assign(rows_ND: Rows, centres_CD: Rows) -> tuple[NDArray[np.int64], Rows]:
    """Return each row's nearest centre, and the sums of the rows of each centre."""
    group = np.zeros(len(rows_ND), np.int64)
    sums = np.zeros(centres_CD.shape, np.float32)
    for start in range(0, len(rows_ND), BLOCK_ROWS):
        rows = _unit(rows_ND[start : start + BLOCK_ROWS])
        nearest = (rows @ centres_CD.T).argmax(axis=1)
        group[start : start + BLOCK_ROWS] = nearest
        sums += np.eye(len(centres_CD), dtype=np.float32)[:, nearest] @ rows
    return group, sums


def _unit(rows_ND: Rows) -> Rows:
    rows = rows_ND.astype(np.float32)
    unit: Rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit

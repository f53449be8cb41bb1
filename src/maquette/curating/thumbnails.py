"""Thumbnails (16 × 16 RGB, taken with a picture's measures) as rows of numbers: what looks alike, whoever it shows.

Shapes: N pictures, D = 768 values, uint8, rows of pixels from the top, R G B in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.curating.records import Look

SIZE_PX = 16
DIMS = SIZE_PX * SIZE_PX * 3

Rows = NDArray[np.uint8]


def thumbnails_of(looks: Sequence[Look]) -> Rows:
    """Return uint8 [N, 768]; every look must be of a readable picture."""
    data = b"".join(look.thumbnail for look in looks)
    return np.frombuffer(data, np.uint8).reshape(len(looks), DIMS)


def mirrored(rows_ND: Rows) -> Rows:
    """Return the thumbnails of the mirror images."""
    shaped = rows_ND.reshape(-1, SIZE_PX, SIZE_PX, 3)[:, :, ::-1]
    return np.ascontiguousarray(shaped).reshape(len(rows_ND), DIMS)


def difference(left_ND: Rows, right_ND: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return for each row how far the two differ in the channel that differs most: mean over the pixels, and maximum.

    Both of 255, as dataset.hashes measures them.
    """
    apart = np.abs(left_ND.astype(np.int16) - right_ND.astype(np.int16))
    worst = apart.reshape(len(apart), DIMS // 3, 3).max(axis=2)
    return worst.mean(axis=1), worst.max(axis=1)


def features(rows_ND: Rows) -> NDArray[Any]:
    """Return float16 [N, 768] of length 1 around each picture's mean colour: for variety where no encoder is at hand."""
    shaped = rows_ND.astype(np.float32).reshape(len(rows_ND), DIMS // 3, 3)
    flat = (shaped - shaped.mean(axis=1, keepdims=True)).reshape(len(rows_ND), DIMS)
    return (flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)).astype(np.float16)

"""Likeness to several references, and what the references say about themselves.

A picture's similarity is the mean of its best k references: k is a quarter of their number, at least 1, at most 3.
So the back view is compared with the back reference and not with the mean of all sides, and with a dozen
references a single lucky likeness does not decide. References are measured the same way against each
other (each against the rest), which shows how alike true pictures are at all.

Shapes: N pictures, R references, D numbers a picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.encoders import Encoder


def best_of(num_references: int) -> int:
    """Return k, the number of best references that a similarity averages."""
    return max(1, min(3, num_references // 4))


def scores(table_NR: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return for each picture its similarity (mean of its best k references) and its nearest reference's index.

    Entries of −inf are references that do not count for that picture (it is itself one of them).
    """
    k = best_of(table_NR.shape[1])
    ranked = -np.sort(-table_NR, axis=1)[:, :k]
    counted = np.where(np.isfinite(ranked), ranked, np.nan)
    with np.errstate(invalid="ignore"):
        means = np.nanmean(counted, axis=1) if len(counted) else np.zeros(0)
    return np.asarray(means, np.float32), np.argmax(table_NR, axis=1) if len(table_NR) else np.zeros(0, int)


def among_themselves(encoder: Encoder, references_RD: NDArray[Any]) -> NDArray[Any]:
    """Return each reference's similarity to the others, float32 [R]; empty with a single one."""
    if len(references_RD) < 2:
        return np.zeros(0, np.float32)
    table_RR = encoder.similarity(references_RD, references_RD).astype(np.float32).copy()
    np.fill_diagonal(table_RR, -np.inf)
    return scores(table_RR)[0]

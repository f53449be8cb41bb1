"""Is it the subject? Likeness to several references, and what the references say about themselves.

A picture's similarity is the mean of its best k references: k is a quarter of their number, at least 1, at most 3.
So the back view is compared with the back reference and not with the mean of all sides, and with a dozen
references a single lucky likeness does not decide. References are measured the same way against each
other (each against the rest), which shows how alike true pictures are at all.

Shapes: N pictures, R references, D numbers a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.curating.limits import Limits
from maquette.curating.records import Look, Weight
from maquette.encoders import Encoder

DEFAULT_THRESHOLD = 0.75
"""As in the Luca project: CLIP, 32 references, 3,008 frames, 15.9 % passed."""
BINS = 50
STEPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MARGIN = 0.02
FEW = 3


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How alike the references are to each other, each measured against the rest."""

    similarities: tuple[float, ...]
    """In the order of the references; empty with a single one."""
    proposed: float | None
    """A threshold that nearly every reference passes: their 5th percentile minus 0.02."""
    below: tuple[int, ...]
    """Indices of references that would not pass the threshold in use themselves."""


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


def calibrate(encoder: Encoder, references_RD: NDArray[Any], threshold: float) -> Calibration:
    """Return how the references fare against each other."""
    if len(references_RD) < 2:
        return Calibration(similarities=(), proposed=None, below=())
    table = encoder.similarity(references_RD, references_RD).astype(np.float32).copy()
    np.fill_diagonal(table, -np.inf)
    found, _ = scores(table)
    proposed = round(float(np.percentile(found, 5)) - MARGIN, 2) if len(found) > FEW else None
    below = tuple(int(index) for index in np.flatnonzero(found < threshold))
    rounded = tuple(round(float(value), 4) for value in found)
    return Calibration(similarities=rounded, proposed=proposed, below=below)


def judge_identity(looks: Sequence[Look], threshold: float, band: float) -> None:
    """Reject the looks whose similarity is below the threshold; those just below it go to review."""
    for look in looks:
        value = look.similarity
        if value is None or value >= threshold:
            continue
        near = f" (nearest {look.nearest_reference})" if look.nearest_reference else ""
        text = f"identity {value:.2f} below {threshold:.2f}{near}"
        weight: Weight = "review" if value >= threshold - band else "reject"
        look.add("identity", weight, text, value=round(value, 4), limit=threshold)


def histogram(similarities: Sequence[float], threshold: float) -> dict[str, Any]:
    """Return bins of 0.02 from 0 to 1, and how many pictures pass at each threshold from 0.50 to 0.95 and at the one used."""
    values = np.asarray(similarities, np.float32)
    counts, _ = np.histogram(np.clip(values, 0.0, 1.0 - 1e-6), bins=BINS, range=(0.0, 1.0))
    total = max(1, len(values))
    steps = sorted({*STEPS, round(threshold, 4)})
    passed = [int((values >= step).sum()) for step in steps]
    return {
        "bin_width": 1.0 / BINS,
        "counts": counts.tolist(),
        "pictures": len(values),
        "pass_rates": [
            {"threshold": step, "passed": count, "rate": round(count / total, 4)}
            for step, count in zip(steps, passed, strict=True)
        ],
    }


def advice(
    calibration: Calibration, names: Sequence[str], threshold: float, similarities: Sequence[float]
) -> list[str]:
    """Return sentences about references that disagree, are too few, or ask for another threshold."""
    said = []
    if len(names) < FEW:
        said.append(
            f"{len(names)} reference{'s' if len(names) > 1 else ''}: other views of the subject may fall below the "
            "threshold. Five to thirty from all sides are better."
        )
    if calibration.below:
        shown = ", ".join(
            f"{names[index]} ({calibration.similarities[index]:.2f})" for index in calibration.below[:3]
        )
        more = f" and {len(calibration.below) - 3} more" if len(calibration.below) > 3 else ""
        said.append(
            f"{len(calibration.below)} of {len(names)} references would not pass {threshold:.2f} against the others: "
            f"{shown}{more}. Is it another person, or a view that only they show?"
            + (
                f" The references agree with --threshold {calibration.proposed:.2f}."
                if calibration.proposed
                else ""
            )
        )
    elif calibration.proposed is not None and calibration.proposed > threshold + 0.05:
        said.append(
            f"The references are more alike than the threshold {threshold:.2f} asks: --threshold "
            f"{calibration.proposed:.2f} would still pass nearly all of them and keep strangers out better."
        )
    if len(similarities) >= 8:
        rate = float(np.mean(np.asarray(similarities) >= threshold))
        if rate in (0.0, 1.0):
            whom = "every" if rate else "no"
            said.append(f"{whom} picture passes {threshold:.2f}: see the histogram before believing it.")
    return [sentence[0].upper() + sentence[1:] for sentence in said]


def limits_note(limits: Limits) -> str:
    """Return how the review band works, for the chart."""
    return f"to review from {limits.review_band:.2f} below the threshold"

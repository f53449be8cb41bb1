"""Is it the subject? Who passes, who does not, who is looked at by a person, and what the references say about themselves.

From the threshold on a picture is kept, below the band beneath it rejected, between them it goes to review. Where the encoder's
slack was measured, references that are much alike narrow the band: what is far less like them than they are to each other is
somebody else, though it may pass for the subject where references differ more.

Shapes: R references, D numbers a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.curating.records import Look, Weight
from maquette.encoders import Encoder
from maquette.encoders.likeness import among_themselves

DEFAULT_THRESHOLD = 0.75
"""As in the Luca project: CLIP, 32 references, 3,008 frames, 15.9 % passed."""
BINS = 50
STEPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MARGIN = 0.02
NARROWEST = 0.02
"""The least band, however alike the references are."""
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


def calibrate(encoder: Encoder, references_RD: NDArray[Any], threshold: float) -> Calibration:
    """Return how the references fare against each other."""
    found = among_themselves(encoder, references_RD)
    proposed = round(float(np.percentile(found, 5)) - MARGIN, 2) if len(found) > FEW else None
    below = tuple(int(index) for index in np.flatnonzero(found < threshold))
    rounded = tuple(round(float(value), 4) for value in found)
    return Calibration(similarities=rounded, proposed=proposed, below=below)


def band_below(
    encoder: Encoder, calibration: Calibration, threshold: float, given: float | None = None
) -> float:
    """Return how far below the threshold a person is asked: `given`, or the encoder's own, narrowed by the references."""
    if given is not None:
        return given
    if encoder.slack is None or len(calibration.similarities) < FEW:
        return encoder.band
    least = min(calibration.similarities) - encoder.slack
    return round(min(encoder.band, max(NARROWEST, threshold - least)), 4)


def judge_identity(looks: Sequence[Look], threshold: float, band: float) -> None:
    """Reject the looks whose similarity is below the threshold; those just below it go to review."""
    for look in looks:
        value = look.similarity
        if value is None or value >= threshold:
            continue
        near = f" (nearest {look.nearest_reference})" if look.nearest_reference else ""
        digits = 2 if f"{value:.2f}" != f"{threshold:.2f}" else 4
        text = f"identity {value:.{digits}f} below {threshold:.2f}{near}"
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
    calibration: Calibration,
    names: Sequence[str],
    threshold: float,
    similarities: Sequence[float],
    *,
    is_measured: bool,
) -> list[str]:
    """Return sentences about references that disagree, are too few, or ask for another threshold.

    is_measured: whether the threshold and the band were; then alike references narrow the band and raise no threshold.
    """
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
    elif not is_measured and calibration.proposed is not None and calibration.proposed > threshold + 0.05:
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

"""Which picture stands apart in training: each picture's loss against what its levels of noise give at that time.

A training loss mixes easy and hard noise levels, and falls as the run goes on. Both are taken out: the logarithm of each
picture's loss is compared with a smooth surface over noise level and step that all pictures together make. What is left is the
picture's own: 0.3 means a loss a third above what is expected of it, over all its showings.

    above from the first steps on    the base already finds that the words do not fit: a wrong caption
    above as the others fall         what the others teach does not fit it: another subject
    below                            fitted ahead of the others: it teaches little more
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.runs.picture_losses import PictureLoss, Standing

Floats = NDArray[np.float64]

EARLY = 0.25
"""Share of the run in which the base still speaks."""
LEAST_SHOWINGS, LEAST_PICTURES = 10, 5
APART = 0.30
"""Excess from which a picture stands apart; a third above what is expected."""
SURE, UNUSUAL = 2.5, 3.0
"""In standard errors of the picture's own mean, and in robust deviations of all pictures' means."""
LEAST_SPREAD = 0.06


def picture_losses(rows: Iterable[Mapping[str, Any]]) -> tuple[PictureLoss, ...]:
    """Return each picture's part in the steps of `metrics.jsonl`, the highest excess first; () of too few to compare."""
    shown = [
        (row["step"], *map(float, each))
        for row in rows
        for each in row.get("shown", ())
        if len(each) == 3 and each[2] > 0 and math.isfinite(each[2])
    ]
    if not shown:
        return ()
    step, picture, timestep, loss = (np.array(column, np.float64) for column in zip(*shown, strict=True))
    is_early = step <= EARLY * step.max()
    counts = {int(each): int(((picture == each) & ~is_early).sum()) for each in np.unique(picture)}
    enough = [each for each, count in counts.items() if count >= LEAST_SHOWINGS]
    if len(enough) < LEAST_PICTURES:
        return ()
    early, late = (
        _residuals(step[part], timestep[part], np.log(loss[part]))
        if part.sum() > 20
        else np.zeros(part.sum())
        for part in (is_early, ~is_early)
    )
    means = {each: _mean(late[picture[~is_early] == each]) for each in enough}
    early_means = {each: _mean(early[picture[is_early] == each]) for each in enough}
    found = [
        PictureLoss(
            picture=each,
            showings=int((picture == each).sum()),
            excess=round(means[each][0], 4),
            error=round(means[each][1], 4),
            early=round(early_means[each][0], 4) if math.isfinite(early_means[each][1]) else None,
            standing=_standing(each, means, early_means),
        )
        for each in enough
    ]
    return tuple(sorted(found, key=lambda each: -each.excess))


def _residuals(step: Floats, timestep: Floats, log_loss: Floats) -> Floats:
    """Return what a smooth surface over noise level and step leaves of the logarithms."""
    level, time = _scaled(timestep), _scaled(step)
    surface = np.stack(
        [np.ones_like(level), level, level**2, level**3, level**4, time, time**2, level * time], axis=1
    )
    weights, *_ = np.linalg.lstsq(surface, log_loss, rcond=None)
    rest: Floats = log_loss - surface @ weights
    return rest


def _scaled(values: Floats) -> Floats:
    low, high = values.min(), values.max()
    scaled: Floats = (values - low) / (high - low or 1.0)
    return scaled


def _mean(values: Floats) -> tuple[float, float]:
    """Return the mean and its standard error, infinite of one value."""
    if len(values) < 2:
        return (float(values.mean()) if len(values) else 0.0), math.inf
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _standing(
    picture: int, means: Mapping[int, tuple[float, float]], early: Mapping[int, tuple[float, float]]
) -> Standing:
    excess, error = means[picture]
    beyond = _beyond([mean for mean, _ in means.values()], excess)
    if abs(excess) < APART or abs(excess) < SURE * error or abs(beyond) < UNUSUAL:
        return ""
    if excess < 0:
        return "ahead"
    first, first_error = early[picture]
    is_early = first >= APART and first >= SURE * first_error
    return "apart from the start" if is_early else "left behind"


def _beyond(every: Sequence[float], value: float) -> float:
    """Return how far a value lies from the middle of all, in robust standard deviations."""
    middle = float(np.median(every))
    spread = 1.4826 * float(np.median(np.abs(np.array(every) - middle)))
    return (value - middle) / max(spread, LEAST_SPREAD)

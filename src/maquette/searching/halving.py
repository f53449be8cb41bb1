"""Successive halving: which trials are worth going on with, by their validation loss at the same share of their length.

Trials reach a rung one after another, and none waits for others. At a rung a trial goes on where it is among the best third of
those that were measured there so far (rounded up), or while fewer than three were. Optuna's own pruner counts resources in
steps: trials of unlike lengths, whose schedules are then at unlike points, would be compared with one another, and its first two
trials already against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

REDUCTION = 3
"""One trial in so many goes on at a rung."""
RUNGS = 2
"""Beside the end."""
FELT = 2
"""Times the warm-up: as many steps at the whole rate as while it rose."""


def rungs_of(steps: int, reduction: int = REDUCTION, warmup: float = 0) -> tuple[int, ...]:
    """Return the steps at which a trial of `steps` is measured: 1/9, 1/3 and all of them. The end is always one.

    None lies within the warm-up, or so soon after it that the rate was not yet felt: there all trials look alike.
    """
    shares = [reduction ** (RUNGS - index) for index in range(RUNGS)] if reduction > 1 else []
    found = {max(1, math.ceil(steps / share)) for share in shares}
    return tuple(sorted({step for step in found if step >= FELT * warmup} | {steps}))


def goes_on(loss: float, others: Sequence[float], reduction: int = REDUCTION) -> bool:
    """Return whether a trial of this loss is worth going on with, beside those that were measured at the rung before it."""
    if not math.isfinite(loss):
        return False
    count = len(others) + 1
    if reduction < 2 or count < reduction:
        return True
    better = sum(other < loss for other in others)
    return better < math.ceil(count / reduction)

"""Arithmetic over a log's losses and times: where NaN begins, whether loss fell, whether it rose, when steps slowed down.

A diffusion loss is mostly noise: each step draws pictures, noise levels and noise anew. So means over many steps are
compared, with the error of those means. sd-scripts' `avr_loss` is already a mean over the last epoch's batches; its
neighbouring values share all but one batch, so only values a whole epoch apart are independent, and the size of one
step's noise follows from how much the mean moves from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median, stdev

from maquette.logs.facts import LogFacts

MOST_FALL_OF_A_FLAT_LOSS = 0.10
"""A loss is flat only when a fall by this share of it can be ruled out."""
LEAST_RISE = 0.10
LEAST_RISE_UNKNOWN_NOISE = 0.15
RISE_ERRORS = 3.5
"""How many standard errors a rise must measure: the lowest of several means is low partly by chance."""
FLAT_ERRORS = 2.1
BLOCKS = 8
LEAST_BLOCK = 10
SLOWER = 3.0
LEAST_WINDOW_S = 5.0
MOST_STRETCHES = 400


@dataclass(frozen=True)
class Mean:
    """A mean loss up to and with a step."""

    step: int
    value: float
    error: float | None
    """Standard error; None when the log does not tell."""


@dataclass(frozen=True)
class Change:
    """How loss moved between two parts of a run."""

    first: float
    last: float
    error: float
    """Standard error of the difference."""

    @property
    def fall(self) -> float:
        """The fall as a share of the first mean; negative for a rise."""
        return (self.first - self.last) / self.first

    @property
    def most_fall(self) -> float:
        """The largest fall that the noise leaves likely (upper end of the 95 % interval)."""
        return (self.first - self.last + FLAT_ERRORS * self.error) / self.first

    @property
    def margin(self) -> float:
        """Half the 95 % interval of `fall`."""
        return FLAT_ERRORS * self.error / self.first

    @property
    def is_flat(self) -> bool:
        """Whether no fall is seen and a fall worth the name can be ruled out."""
        known = self.margin < MOST_FALL_OF_A_FLAT_LOSS
        return known and abs(self.fall) <= self.margin and self.most_fall < MOST_FALL_OF_A_FLAT_LOSS


def first_nan(facts: LogFacts) -> int | None:
    """Return the step from which on the loss is no number, or None. One odd value that recovers does not count."""
    start = None
    for step, loss in facts.losses:
        if math.isfinite(loss):
            start = None
        elif start is None:
            start = step
    return start


def independent_means(facts: LogFacts) -> tuple[Mean, ...]:
    """Return means over parts of the run that share no batch, in order; empty when the log holds too little."""
    finite = [(step, loss) for step, loss in facts.losses if math.isfinite(loss)]
    if facts.averaged:
        return _averaged_means(finite, facts.steps_per_epoch)
    size = len(finite) // BLOCKS
    if size < LEAST_BLOCK:
        return ()
    blocks = [finite[index * size : (index + 1) * size] for index in range(BLOCKS)]
    return tuple(
        Mean(block[-1][0], fmean(v for _, v in block), stdev(v for _, v in block) / math.sqrt(size))
        for block in blocks
    )


def _averaged_means(finite: Sequence[tuple[int, float]], window: int | None) -> tuple[Mean, ...]:
    """Return one mean for each full window, read from the end of the run backwards."""
    if not finite or not window:
        # The first values are means of few steps, and as noisy as those.
        start = len(finite) // 5 if len(finite) > 30 else 0
        return tuple(Mean(step, value, None) for step, value in finite[start:])
    error = _window_error(finite, window)
    wanted, found = finite[-1][0], []
    for step, value in reversed(finite):
        if step <= wanted and step >= window:
            found.append(Mean(step, value, error))
            wanted = step - window
    return tuple(reversed(found))


def _window_error(finite: Sequence[tuple[int, float]], window: int) -> float | None:
    """Return the standard error of a moving mean over `window` values, from how far it moves from step to step.

    m(i) − m(i − k) has the variance 2 k σ² / window² where no value is in both means' difference twice (k < window); the
    printed three digits add a little, which is taken off.
    """
    moves = [
        ((after - before) ** 2 - 2 * _rounding(after) ** 2) / (later - step)
        for (step, before), (later, after) in pairwise(finite)
        if step >= window and 0 < later - step < window
    ]
    if len(moves) < 20:
        return None
    variance = max(fmean(moves), 0.0) * window**2 / 2
    return math.sqrt(variance / window)


def _rounding(value: float) -> float:
    """Return the standard error that printing three significant digits adds."""
    if value <= 0:
        return 0.0
    return 10.0 ** (math.floor(math.log10(value)) - 2) / math.sqrt(12)


def change_over_run(facts: LogFacts) -> Change | None:
    """Return how loss moved from the first to the last third of the run; None when noise cannot be told from change."""
    means = independent_means(facts)
    third = max(1, len(means) // 3)
    if len(means) < 3 or any(mean.error is None for mean in means):
        return None
    first, last = means[:third], means[-third:]
    error = math.sqrt(sum((mean.error or 0.0) ** 2 for mean in (*first, *last))) / third
    level = fmean(mean.value for mean in first)
    return Change(level, fmean(mean.value for mean in last), error) if level > 0 else None


def rise_at_end(facts: LogFacts) -> tuple[Mean, Mean] | None:
    """Return (lowest, last) mean when the loss ends clearly above its lowest part, or None."""
    means = independent_means(facts)
    if len(means) < 4:
        return None
    lowest, last = min(means[:-1], key=lambda mean: mean.value), means[-1]
    if lowest.value <= 0 or (facts.averaged and not _apart(lowest, last, facts.steps_per_epoch)):
        return None
    rise = last.value - lowest.value
    if lowest.error is None or last.error is None:
        return (lowest, last) if rise >= LEAST_RISE_UNKNOWN_NOISE * lowest.value else None
    clear = rise > RISE_ERRORS * math.hypot(lowest.error, last.error)
    return (lowest, last) if clear and rise >= LEAST_RISE * lowest.value else None


def _apart(lowest: Mean, last: Mean, window: int | None) -> bool:
    return window is None or last.step - lowest.step >= window


# --- time ------------------------------------------------------------------------------------------------


def paces(facts: LogFacts) -> list[tuple[int, float]]:
    """Return (step at which a stretch begins, seconds per step) over stretches of at least 5 s and 3 steps.

    The first stretch is left out: it carries compiling and warming up. A long run gives at most MOST_STRETCHES.
    """
    found: list[tuple[int, float]] = []
    times = [(step, second) for step, second in facts.elapsed if math.isfinite(second)]
    if len(times) < 2:
        return []
    start, begun = times[0]
    least = max(LEAST_WINDOW_S, (times[-1][1] - begun) / MOST_STRETCHES)
    for step, second in times[1:]:
        if second < begun:  # a bar that began anew
            start, begun = step, second
        elif second - begun >= least and step - start >= 3:
            found.append((start, (second - begun) / (step - start)))
            start, begun = step, second
    return found[1:]


@dataclass(frozen=True)
class Slowdown:
    """Steps that took much longer from a step on."""

    step: int
    before_s: float
    after_s: float

    @property
    def factor(self) -> float:
        return self.after_s / self.before_s


def slowdown(facts: LogFacts) -> Slowdown | None:
    """Return where steps became at least three times as slow and stayed so, or None."""
    found = paces(facts)
    if len(found) < 6:
        return None
    for index in range(2, len(found) - 2):
        before = median(pace for _, pace in found[:index])
        after = [pace for _, pace in found[index:]]
        # Pictures drawn or files saved make single stretches slow: all but a few later ones must be.
        slow = sum(pace >= SLOWER * before for pace in after)
        if after[0] >= SLOWER * before and slow >= 0.8 * len(after):
            return Slowdown(found[index][0], before, median(after))
    return None


def usual_pace(facts: LogFacts) -> float | None:
    """Return the median seconds per step, or None when the log does not tell."""
    found = [pace for _, pace in paces(facts)]
    return median(found) if len(found) >= 3 else None

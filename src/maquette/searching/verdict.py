"""Whether the best settings beat the baseline by more than seed noise: said, denied, or left open.

Two things make a search's best look better than it is. It is the luckiest of many (the winner's curse), so the seed by which it
was chosen says nothing of how good it is: only runs with further seeds count, of the finalists and of the baseline, the same for
all. And it is the best of several finalists, so each of K comparisons is held to 5 % / K.

Values are taken as settings + seed + rest. The seed's share is the same for all and falls out of a difference, so over S seeds

    difference = mean of (finalist − baseline),   error = sqrt(V / S),   V = max(V_own, 2 × V_rest)

where V_own is the variance of the finalist's own differences and V_rest the variance that neither settings nor seeds explain,
over all finalists and the baseline, with K × (S − 1) degrees of freedom. V_rest makes three seeds worth something; V_own keeps
settings that scatter more than the others from being called better. `benchmarks/search_verdict.py` counts what that comes to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance

from maquette.measuring.statistics import t_quantile
from maquette.searching.records import Comparison, Direction, SearchTrial, StudyRecord
from maquette.spoken import counted

RISK = 0.05
"""Of an interval that leaves out what is true, over all finalists together."""
MOST_SEEDS = 99
"""More than so many are no advice."""

Seeds = Mapping[int, float]
"""seed → value"""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a study answers: which settings are best, and how they stand against the baseline."""

    best: int | None
    beats_baseline: bool | None
    comparison: Comparison


def with_verdict(record: StudyRecord) -> StudyRecord:
    """Return the record with the answer that its trials give."""
    found = verdict_of(record)
    return replace(record, best=found.best, beats_baseline=found.beats_baseline, comparison=found.comparison)


def verdict_of(record: StudyRecord) -> Verdict:
    """Return what the trials of a study answer."""
    fresh = fresh_values(record.trials)
    base = fresh.get(record.baseline, {}) if record.baseline is not None else {}
    rivals = {number: seeds for number, seeds in fresh.items() if number != record.baseline}
    # A finalist that failed with one of the seeds is no candidate; where all have gaps, what all share is compared.
    rivals = {number: seeds for number, seeds in rivals.items() if set(base) <= set(seeds)} or rivals
    common = sorted(set(base).intersection(*rivals.values())) if rivals else []
    if not common:
        return _undecided(record)
    return _compared(
        record, list(rivals), [[each[seed] for seed in common] for each in (base, *rivals.values())]
    )


def fresh_values(trials: Sequence[SearchTrial]) -> dict[int, dict[int, float]]:
    """Return, for each trial that was repeated, the values of its further seeds: not of the seed by which it was chosen."""
    chosen_by = {each.number: each.seed for each in trials if each.of is None}
    found: dict[int, dict[int, float]] = {}
    for each in trials:
        if each.of is None or each.state != "finished" or each.value is None or each.seed is None:
            continue
        if math.isfinite(each.value) and each.seed != chosen_by.get(each.of):
            found.setdefault(each.of, {})[each.seed] = each.value
    return found


def best_of(trials: Sequence[SearchTrial], direction: Direction) -> SearchTrial | None:
    """Return the finished trial with the best value of its own, finalists' repetitions aside; the first of equal ones."""
    done = [
        each
        for each in trials
        if each.of is None
        and each.state == "finished"
        and each.value is not None
        and math.isfinite(each.value)
    ]
    return min(done, key=lambda each: _loss(each.value or 0.0, direction), default=None)


def _loss(value: float, direction: Direction) -> float:
    """Return a value so that less is better."""
    return value if direction == "minimize" else -value


def _compared(record: StudyRecord, numbers: Sequence[int], rows: Sequence[Sequence[float]]) -> Verdict:
    """Return the verdict over `rows[settings][seed]`, the baseline's first."""
    assert record.baseline is not None
    means = [_loss(fmean(row), record.direction) for row in rows]
    nearest = min(range(1, len(rows)), key=means.__getitem__)
    found = _Found(
        rival=numbers[nearest - 1],
        finalists=len(numbers),
        seeds=len(rows[0]),
        gap=fmean(rows[nearest]) - fmean(rows[0]),
        is_better=means[nearest] < means[0],
    )
    best = found.rival if found.is_better else record.baseline
    if found.seeds < 2:
        return Verdict(
            best=best,
            beats_baseline=None,
            comparison=Comparison(difference=found.gap, seeds=1, told=found.told(None, None, 0.0, None)),
        )
    spread = _spread(rows, nearest)
    half = _half(spread, found.seeds, found.finalists)
    interval = (found.gap - half, found.gap + half)
    noise = _seed_noise(rows)
    beats = _beats(found, interval, noise, record.direction)
    wanted = _seeds_needed(found, spread) if beats is None else None
    comparison = Comparison(
        difference=found.gap,
        interval=interval,
        seeds=found.seeds,
        seeds_needed=wanted,
        told=found.told(beats, interval, noise, wanted),
    )
    return Verdict(best=best, beats_baseline=beats, comparison=comparison)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The finalist that comes out best over the further seeds, beside the baseline."""

    rival: int
    finalists: int
    seeds: int
    gap: float
    is_better: bool

    def told(
        self,
        beats: bool | None,
        interval: tuple[float, float] | None,
        noise: float,
        wanted: int | None,
    ) -> str:
        """Return the verdict in plain words."""
        which = f"trial {self.rival}"
        if interval is None:
            how = "better" if self.is_better else "worse"
            return (
                f"It cannot be told: {which} is {how} than the baseline by {abs(self.gap):.3g} with one further seed; more say "
                "how sure that is."
            )
        ends = f"95 %: {interval[0]:+.3g} to {interval[1]:+.3g}"
        over = f"over {counted(self.seeds, 'seed')} that took no part in the choice"
        if not self.is_better:
            among = "" if self.finalists == 1 else f", the nearest of {self.finalists} finalists,"
            return (
                f"The best settings do not beat the baseline: {which}{among} is behind by {abs(self.gap):.3g} ({ends}) {over}. "
                "Keep the baseline."
            )
        better = f"{which} is better by {abs(self.gap):.3g} ({ends}) {over}"
        if beats is True:
            return f"The best settings beat the baseline by more than seed noise: {better}."
        if beats is False:
            return (
                f"The best settings do not beat the baseline by more than seed noise: {better}, and another seed alone moves "
                f"a value by {noise:.3g}."
            )
        more = f" About {wanted} seeds would tell, if the difference is what it seems." if wanted else ""
        return f"It cannot be told whether the best settings beat the baseline: {better}.{more}"


def _beats(found: _Found, interval: tuple[float, float], noise: float, direction: Direction) -> bool | None:
    """Return whether the interval shows a gain, or that there is none worth the name: less than another seed moves."""
    least_gain, most_gain = sorted(-_loss(end, direction) for end in interval)
    if least_gain > 0:
        return True
    return False if not found.is_better or most_gain < noise else None


def _spread(rows: Sequence[Sequence[float]], which: int) -> float:
    """Return the variance of a difference with one seed: of this finalist's own, or what all together have, the larger."""
    own = variance([value - base for value, base in zip(rows[which], rows[0], strict=True)])
    means = [fmean(row) for row in rows]
    columns = [fmean(column) for column in zip(*rows, strict=True)]
    middle = fmean(means)
    squared = sum(
        (value - means[i] - columns[j] + middle) ** 2
        for i, row in enumerate(rows)
        for j, value in enumerate(row)
    )
    return max(own, 2 * squared / ((len(rows) - 1) * (len(columns) - 1)))


def _half(spread: float, seeds: int, finalists: int) -> float:
    """Return half the width of an interval that holds for all finalists together."""
    return t_quantile(RISK / 2 / finalists, finalists * (seeds - 1)) * math.sqrt(spread / seeds)


def _seed_noise(rows: Sequence[Sequence[float]]) -> float:
    """Return by how much (one standard deviation) another seed alone moves a value."""
    return math.sqrt(fmean(variance(row) for row in rows))


def _seeds_needed(found: _Found, spread: float) -> int | None:
    """Return how many seeds would tell a difference that is what it seems, None where that is out of reach."""
    more = range(found.seeds + 1, MOST_SEEDS + 1)
    return next((seeds for seeds in more if _half(spread, seeds, found.finalists) < abs(found.gap)), None)


def _undecided(record: StudyRecord) -> Verdict:
    """Return the answer where the finalists and the baseline share no further seed: best by the values there are."""
    best = best_of(record.trials, record.direction)
    base = None if record.baseline is None else record.trial(record.baseline)
    gap = None
    if best is None:
        told = "It cannot be told: no trial was finished."
    elif base is None or base.value is None or best.value is None:
        told = f"It cannot be told: there is no finished baseline to set trial {best.number} against."
    elif best.number == base.number:
        told = "It cannot be told how the others stand to it: the baseline has the best value of all, with one seed each."
    else:
        gap = best.value - base.value
        told = (
            f"It cannot be told: trial {best.number} is better than the baseline by {abs(gap):.3g} with the seed by which it was "
            "chosen, and the best of many looks better than it is. Further seeds of both would tell."
        )
    number = None if best is None else best.number
    return Verdict(best=number, beats_baseline=None, comparison=Comparison(difference=gap, told=told))

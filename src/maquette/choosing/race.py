"""The race: a few pictures of every checkpoint first, more only of those that are still in it.

The first lap draws one seed of the prompts that the score is made of; rounds of all prompts follow, each with twice the seeds.
After each a column leaves

  - that is behind the leader by more than the widest of so many differences would be by chance: the interval of the paired
    difference over prompts, widened for every column and every round that could have sent it out; so the best leaves in at most
    about one race of twenty;
  - or that comes after the leader and is, by its own interval, not WORTH more pictures: at best so little better that the earlier
    one is as good.

The last column stays through the first lap: what is said of over-training rests on it. The base alone is drawn in every round.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.choosing.decide import LEAST_SPREAD as DECIDED_SPREAD
from maquette.choosing.decide import pictures_by_column, widened
from maquette.evaluating.first_look import LookCheckpoint
from maquette.evaluating.grid import write_grid
from maquette.evaluating.run import Round
from maquette.events import Artifact, Message, Stage
from maquette.measuring.looks import FLOOR, FirstLook
from maquette.measuring.scorecards import Reading, scorecards_of
from maquette.measuring.statistics import Estimate
from maquette.measuring.tables import table_of
from maquette.spoken import counted

FIRST_SEEDS = 2
LEAST_SPREAD = 0.15
"""Standard deviation of one picture's difference in score that a race reckons with at the least: it goes by few pictures."""
WORTH = 0.03
"""A later checkpoint that is better by less, of a score from 0 to 1, is not looked for with more pictures."""
_SURE, _BOTH_SIDES = 1.645, 1.96
"""95 % on one side, and on both."""
NOT_COUNTED = frozenset({"leak", "bleed", "drift"})
"""Roles that warn and are no part of a score (technical quality aside): the first lap leaves them out."""
Lap = Callable[[tuple[str, ...]], Stage[FirstLook]]
"""Draws one seed of the prompts that count, for the columns and the base, and measures them."""
DrawRound = Callable[[tuple[str, ...], tuple[int, ...]], Stage[FirstLook]]
"""Draws the columns (by label, without the base, which comes in any case) with all of the seeds, and measures them."""


@dataclass(frozen=True, kw_only=True)
class Raced:
    """The look that a race leaves: those that left it have fewer seeds."""

    look: FirstLook
    left: tuple[tuple[str, int], ...] = ()
    """Who left for being behind, and after how many seeds."""
    alike: tuple[tuple[str, int], ...] = ()
    """Who left for being no better than an earlier one."""


def pictures_of_all(look: FirstLook) -> int:
    """Return how many pictures every column with every seed of a look would be."""
    counts = Counter(entry.checkpoint for entry in look.looks)
    return max(counts.values()) * len(counts)


def rounds_of(seeds: Sequence[int], first: int = FIRST_SEEDS) -> list[tuple[int, ...]]:
    """Return the seeds of each round, twice as many each time, the last with all."""
    counts = [first]
    while counts[-1] < len(seeds):
        counts.append(min(2 * counts[-1], len(seeds)))
    return [tuple(seeds[:count]) for count in counts if count <= len(seeds)] or [tuple(seeds)]


def race(
    columns: Sequence[str],
    seeds: Sequence[int],
    draw: DrawRound,
    *,
    first: int = FIRST_SEEDS,
    lap: Lap | None = None,
    worth: float = 0.0,
) -> Stage[Raced]:
    """Race `columns` over `seeds`; return everything that was drawn. It ends early where one column alone is left.

    `lap` draws a first lap before the rounds. `worth` sends later columns out that are at best so little better.
    """
    rounds = rounds_of(seeds, first)
    running = tuple(columns)
    raced = Raced(look=FirstLook(folder=Path(), looks=()))
    kept: list[FirstLook] = []
    chances = max(1, len(columns) - 1) * max(1, len(rounds) - (lap is None))
    if lap is not None and len(columns) > 1:
        look = yield from lap(running)
        kept.append(look)
        raced, running = yield from _after(raced, look, running, chances, 1, worth, keep=columns[-1:])
    for number, part in enumerate(rounds):
        look = yield from draw(running, part)
        kept.append(look)
        if number + 1 == len(rounds) or len(running) < 2:
            break
        raced, running = yield from _after(raced, look, running, chances, len(part), worth)
        if len(running) < 2 and lap is None:
            break
    return replace(raced, look=merged(kept))


def _after(
    raced: Raced,
    look: FirstLook,
    running: tuple[str, ...],
    chances: int,
    seeds: int,
    worth: float,
    *,
    keep: Sequence[str] = (),
) -> Stage[tuple[Raced, tuple[str, ...]]]:
    """Return who left after a round and who is still running."""
    out = [label for label in behind(look, running, chances) if label not in keep]
    alike = (
        [label for label in no_better(look, running, worth) if label not in (*keep, *out)] if worth else []
    )
    running = tuple(label for label in running if label not in (*out, *alike))
    told = [
        f"{counted(len(some), 'column')} {what} after {counted(seeds, 'seed')}: {', '.join(some)}."
        for some, what in ((out, "clearly behind"), (alike, "no better than an earlier one"))
        if some
    ]
    if told:
        yield Message(f"{' '.join(told)} {counted(len(running), 'column')} still in the race.")
    left, same = (tuple((label, seeds) for label in some) for some in (out, alike))
    return replace(raced, left=(*raced.left, *left), alike=(*raced.alike, *same)), running


def behind(look: FirstLook, running: Sequence[str], chances: int) -> tuple[str, ...]:
    """Return which of `running` are clearly behind the leader; those without a score stay."""
    reading = _of_pictures(look)
    leader, others = _leader(reading, running)
    out = []
    for label in others:
        gap = widened(_gap(reading, leader, label, LEAST_SPREAD), chances)
        if gap.low is not None and gap.low > 0:
            out.append(label)
    return tuple(out)


def no_better(look: FirstLook, running: Sequence[str], worth: float) -> tuple[str, ...]:
    """Return which of `running` come after the leader and are surely better than it by less than `worth`, if at all."""
    reading = _of_pictures(look)
    leader, others = _leader(reading, running)
    found = []
    for label in others:
        if running.index(label) < running.index(leader):
            continue
        gap = _gap(reading, leader, label, DECIDED_SPREAD)
        if gap.low is not None and -gap.mean + _SURE * (gap.mean - gap.low) / _BOTH_SIDES < worth:
            found.append(label)
    return tuple(found)


def _of_pictures(look: FirstLook) -> Reading:
    """Return what is scored picture by picture: sets of two or four pictures vary more than anything says, and decide nothing."""
    cards = scorecards_of(look)
    whole = Reading(table_of(look), look.measures, look.ceilings, cards.headlines, cards.weights)
    return whole.of_pictures()


def _leader(reading: Reading, running: Sequence[str]) -> tuple[str, list[str]]:
    """Return who scores best, and the others that have a score."""
    totals = dict(zip(reading.table.columns, reading.totals(), strict=True))
    scored = {label: total.mean for label in running if (total := totals.get(label)) is not None}
    if len(scored) < 2:
        return "", []
    leader = max(scored, key=lambda label: scored[label])
    return leader, [label for label in scored if label != leader]


def _gap(reading: Reading, leader: str, label: str, spread: float) -> Estimate:
    """Return by how much the leader exceeds a column, prompts being what varies, one picture at least by `spread`."""
    places = [reading.table.columns.index(each) for each in (leader, label)]
    found = reading.difference_by_prompts(*places)
    if found.low is None:
        return found
    pictures = max(1, pictures_by_column(reading)[label] // max(1, len(reading.table.scores)))
    half = max(found.mean - found.low, _BOTH_SIDES * spread / math.sqrt(pictures))
    return replace(found, low=found.mean - half, high=found.mean + half)


def merged(looks: Sequence[FirstLook]) -> FirstLook:
    """Return the looks of all rounds as one: of a column that was drawn again the later round counts."""
    newest: dict[str, FirstLook] = {}
    for look in looks:
        for label in look.checkpoints():
            newest[label] = look
    order = list(dict.fromkeys(label for look in looks for label in look.checkpoints()))
    order.sort(key=lambda label: label != FLOOR)
    entries = [entry for label in order for entry in newest[label].looks if entry.checkpoint == label]
    sets = [entry for label in order for entry in newest[label].sets if entry.checkpoint == label]
    columns = [column for label in order for column in newest[label].columns if column.label == label]
    return replace(looks[-1], looks=tuple(entries), sets=tuple(sets), columns=tuple(columns))


def racing(checkpoints: Sequence[LookCheckpoint], seeds: tuple[int, ...], draw: Round) -> Stage[FirstLook]:
    """Look at the checkpoints of a run in a race; the look that it leaves is written where its rounds were."""
    known = {entry.label: entry for entry in checkpoints}

    def drawn(labels: tuple[str, ...], part: tuple[int, ...]) -> Stage[FirstLook]:
        return (yield from draw([known[label] for label in labels], part))

    def lap(labels: tuple[str, ...]) -> Stage[FirstLook]:
        return (yield from draw([known[label] for label in labels], seeds[:1], NOT_COUNTED))

    raced = yield from race(tuple(known), seeds, drawn, lap=lap, worth=WORTH)
    look = raced.look
    if raced.left or raced.alike:
        yield Artifact("grid", write_grid(look, look.folder / "grid.png"))
        yield Artifact("first look", look.write())
    whole = pictures_of_all(look)
    yield Message(
        f"The race took {len(look.looks)} pictures; all checkpoints with all seeds would be {whole}."
    )
    return look

"""The race: a few seeds of every checkpoint first, more only of those that are still in it.

After each round a column leaves that is behind the leader by more than the widest of so many differences would be by chance (the
interval of the paired difference, widened for every column and every round that could have sent it out). So the best leaves in at
most about one race of twenty, and most pictures go to those that are hard to tell apart. The base alone is drawn in every round.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from maquette.choosing.decide import sure_difference, widened
from maquette.evaluating.first_look import LookCheckpoint
from maquette.evaluating.grid import write_grid
from maquette.evaluating.run import Round
from maquette.events import Artifact, Message, Stage
from maquette.measuring.looks import FLOOR, FirstLook
from maquette.measuring.scorecards import Reading, scorecards_of
from maquette.measuring.tables import table_of
from maquette.spoken import counted

FIRST_SEEDS = 2
LEAST_SPREAD = 0.15
"""Standard deviation of one picture's difference in score that a race reckons with at the least: it goes by few pictures."""
DrawRound = Callable[[tuple[str, ...], tuple[int, ...]], Stage[FirstLook]]
"""Draws the columns (by label, without the base, which comes in any case) with all of the seeds, and measures them."""


@dataclass(frozen=True, kw_only=True)
class Raced:
    """The look that a race leaves: those that left it have fewer seeds."""

    look: FirstLook
    left: tuple[tuple[str, int], ...] = ()
    """Who left, and after how many seeds."""


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
    columns: Sequence[str], seeds: Sequence[int], draw: DrawRound, *, first: int = FIRST_SEEDS
) -> Stage[Raced]:
    """Race `columns` over `seeds`; return everything that was drawn. It ends early where one column alone is left."""
    rounds = rounds_of(seeds, first)
    running = tuple(columns)
    left: list[tuple[str, int]] = []
    kept: list[FirstLook] = []
    chances = max(1, len(columns) - 1) * max(1, len(rounds) - 1)
    for number, part in enumerate(rounds):
        look = yield from draw(running, part)
        kept.append(look)
        if number + 1 == len(rounds):
            break
        out = behind(look, running, chances)
        left += [(label, len(part)) for label in out]
        running = tuple(label for label in running if label not in out)
        if out:
            yield Message(
                f"{counted(len(out), 'column')} clearly behind after {counted(len(part), 'seed')}: {', '.join(out)}."
                f" {counted(len(running), 'column')} still in the race."
            )
        if len(running) < 2:
            break
    return Raced(look=merged(kept), left=tuple(left))


def behind(look: FirstLook, running: Sequence[str], chances: int) -> tuple[str, ...]:
    """Return which of `running` are clearly behind the leader; those without a score stay."""
    cards = scorecards_of(look)
    # Sets of two or four pictures vary more than anything says: what is scored picture by picture sends out alone.
    whole = Reading(table_of(look), look.measures, look.ceilings, cards.headlines, cards.weights)
    reading = whole.of_pictures()
    totals = dict(zip(reading.table.columns, reading.totals(), strict=True))
    scored = {label: total.mean for label in running if (total := totals.get(label)) is not None}
    if len(scored) < 2:
        return ()
    leader = max(scored, key=lambda label: scored[label])
    out = []
    for label in scored:
        if label == leader:
            continue
        gap = widened(sure_difference(reading, leader, label, spread=LEAST_SPREAD), chances)
        if gap.low is not None and gap.low > 0:
            out.append(label)
    return tuple(out)


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

    raced = yield from race(tuple(known), seeds, drawn)
    look = raced.look
    if raced.left:
        yield Artifact("grid", write_grid(look, look.folder / "grid.png"))
        yield Artifact("first look", look.write())
    whole = pictures_of_all(look)
    yield Message(
        f"The race took {len(look.looks)} pictures; all checkpoints with all seeds would be {whole}."
    )
    return look

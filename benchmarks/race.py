"""What the race of `maquette select` saves, and what it costs, told by evaluations that were drawn in full.

    python benchmarks/race.py FOLDER… --output benchmarks/results/

Each FOLDER holds an evaluation in which every checkpoint drew every prompt with every seed (`maquette evaluate`, or the suites of
`benchmarks/judging.py`). The race then asks of that table what it would have drawn; it starts from each seed in turn, so that a
table gives as many races as it has seeds. Where `../hidden` beside FOLDER holds a larger evaluation of the same checkpoints, that
one says how good each really is.

    drawn    pictures that the race takes, of all
    same     races whose choice is what everything chooses, or scores the same there
    regret   by how much the choice falls short of the best checkpoint of the hidden evaluation; `of_all`: that of the choice by
             everything
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from circumstances import circumstances

from maquette.choosing.decide import TIE, decide, reading_of
from maquette.choosing.race import NOT_COUNTED, WORTH, race
from maquette.events import Stage, run_stage
from maquette.files import write_json
from maquette.measuring.looks import FLOOR, FirstLook, read_first_look
from maquette.measuring.scorecards import scorecards_of

FILE = "first_look.json"


def main() -> None:
    """Race over the tables, and write the result."""
    parser = argparse.ArgumentParser(description="Measure what the race saves and costs.")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--output", type=Path, help="folder for a result file")
    arguments = parser.parse_args()
    rows = [{"table": str(folder), **row} for folder in arguments.folders for row in races_over(folder)]
    result = {
        **circumstances("race", load="nothing here is a time"), "worth": WORTH,
        "tables": len(arguments.folders), "summary": summary(rows), "rows": rows,
    }  # fmt: skip
    print(json.dumps(result["summary"], indent=1))
    if arguments.output:
        write_json(arguments.output / f"race-{result['date']}-{os.cpu_count()}core-cpu.json", result)


def races_over(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what a race over the table in `folder` comes to, from each seed in turn."""
    look = read_first_look(folder / FILE)
    hidden = folder.parent / "hidden" / FILE
    truth = totals(read_first_look(hidden)) if hidden.is_file() else None
    columns = tuple(label for label in look.checkpoints() if label != FLOOR)
    scores, by_all = totals(look), choice(look)
    every = sorted({entry.seed for entry in look.looks})
    for start in range(len(every)):
        seeds = tuple(every[start:] + every[:start])
        raced = run_stage(race(columns, seeds, rounds(look), lap=laps(look, seeds[:1]), worth=WORTH))
        chosen = choice(raced.look)
        yield {
            "checkpoints": len(columns), "pictures": len(raced.look.looks), "all": len(look.looks),
            "chosen": chosen, "by_all": by_all,
            "same": chosen == by_all or abs(scores[chosen] - scores[by_all]) < TIE,
            "regret": max(truth.values()) - truth[chosen] if truth else None,
            "of_all": max(truth.values()) - truth[by_all] if truth else None,
        }  # fmt: skip


def rounds(look: FirstLook) -> Any:
    """Return what draws a round of a race: the part of the table that it asks for."""

    def draw(columns: tuple[str, ...], seeds: tuple[int, ...]) -> Stage[FirstLook]:
        return part_of(look, columns, seeds)
        yield

    return draw


def laps(look: FirstLook, seeds: tuple[int, ...]) -> Any:
    """Return what draws the first lap."""

    def draw(columns: tuple[str, ...]) -> Stage[FirstLook]:
        return part_of(look, columns, seeds, NOT_COUNTED)
        yield

    return draw


def part_of(
    look: FirstLook, columns: Sequence[str], seeds: Sequence[int], without: frozenset[str] = frozenset()
) -> FirstLook:
    """Return the part of a table; prompts that had fewer seeds have all of theirs in it, but for a single one."""
    wanted = {FLOOR, *columns}
    count = {prompt: len(look.seeds(prompt)) for prompt in look.prompts()}
    most = max(count.values())
    looks = [
        entry
        for entry in look.looks
        if entry.checkpoint in wanted
        and entry.role not in without
        and (entry.seed in seeds or (count[entry.prompt] < most and len(seeds) > 1))
    ]
    sets = [each for each in look.sets if each.checkpoint in wanted] if len(seeds) == most else []
    return replace(
        look,
        looks=tuple(looks),
        sets=tuple(sets),
        columns=tuple(each for each in look.columns if each.label in wanted),
    )


def totals(look: FirstLook) -> dict[str, float]:
    """Return the score of each checkpoint."""
    cards = scorecards_of(look).cards
    return {card.column.label: card.total.mean for card in cards if card.total and not card.is_floor}


def choice(look: FirstLook) -> str:
    """Return what is chosen of a look."""
    cards = scorecards_of(look)
    decision = decide(cards, reading_of(look, cards))
    assert decision is not None
    return decision.chosen.label


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what the races come to in the mean."""
    known = [row for row in rows if row["regret"] is not None]
    return {
        "races": len(rows),
        "drawn": statistics.fmean(row["pictures"] / row["all"] for row in rows),
        "drawn_most_saved": min(row["pictures"] / row["all"] for row in rows),
        "same": statistics.fmean(row["same"] for row in rows),
        "regret": statistics.fmean(row["regret"] for row in known) if known else None,
        "of_all": statistics.fmean(row["of_all"] for row in known) if known else None,
    }


if __name__ == "__main__":
    main()

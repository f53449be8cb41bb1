"""How often a search's verdict is right: planted gains found, gains claimed where there is none, and denied where there is one.

    python benchmarks/search_verdict.py --output benchmarks/results/

Simulates whole searches through `searching.verdict`: a baseline and 20 settings with one seed each, of which the best few are
trained again with further seeds, as is the baseline. Nothing is trained: a value is

    settings + seed (the same for all) + rest (of this training alone, standard deviation 1)

so that a gain is in units of what one training scatters by. Arms vary finalists, seeds and the shape of the noise; each is
counted where all settings are as good as the baseline, and with one better by 1, 2, 4 and 8. Beside it stands what people do who
look at one seed each: they call the best value the winner.
"""

from __future__ import annotations

import argparse
import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circumstances import circumstances

from maquette.files import write_json
from maquette.searching.records import SearchTrial, StudyRecord
from maquette.searching.verdict import verdict_of

SETTINGS = 20
GAINS = (0.0, 1.0, 2.0, 4.0, 8.0)
SEED_SPREAD = 1.0
Noise = Callable[[random.Random, int], float]
"""What one training of settings number N scatters by."""


@dataclass(frozen=True)
class Arm:
    """One way of searching."""

    name: str
    finalists: int
    seeds: int
    noise: Noise


def _normal(draw: random.Random, number: int) -> float:
    return draw.gauss(0, 1)


def _heavy(draw: random.Random, number: int) -> float:
    """Student's t of three degrees of freedom, scaled to a standard deviation of 1: now and then a training goes far astray."""
    return draw.gauss(0, 1) / math.sqrt(sum(draw.gauss(0, 1) ** 2 for _ in range(3)) / 3) / math.sqrt(3)


def _unequal(draw: random.Random, number: int) -> float:
    """Half of the settings scatter three times as much as the baseline does."""
    return draw.gauss(0, 3 if number % 2 else 1)


ARMS = (
    Arm("1 finalist, 3 seeds", 1, 3, _normal),
    Arm("3 finalists, 2 seeds", 3, 2, _normal),
    Arm("3 finalists, 3 seeds", 3, 3, _normal),
    Arm("3 finalists, 5 seeds", 3, 5, _normal),
    Arm("5 finalists, 3 seeds", 5, 3, _normal),
    Arm("3 finalists, 3 seeds, heavy tails", 3, 3, _heavy),
    Arm("3 finalists, 3 seeds, half of the settings scatter three times as much", 3, 3, _unequal),
)


def study(arm: Arm, gain: float, draw: random.Random) -> StudyRecord:
    """Return one search in which setting 1 is better than all others by `gain`."""
    shared = [draw.gauss(0, SEED_SPREAD) for _ in range(arm.seeds)]

    def value(number: int, seed: float) -> float:
        return seed + arm.noise(draw, number) - (gain if number == 1 else 0.0)

    trials = [
        SearchTrial(number=number, state="finished", seed=0, value=value(number, 0.0))
        for number in range(SETTINGS + 1)
    ]
    chosen = sorted(trials[1:], key=lambda each: each.value or 0.0)[: arm.finalists]
    again = [
        SearchTrial(number=0, role="finalist", state="finished", of=of, seed=1 + index, value=value(of, seed))
        for of in (0, *(each.number for each in chosen))
        for index, seed in enumerate(shared)
    ]
    return StudyRecord(study="s", project="p", created_at="", space="", baseline=0, trials=(*trials, *again))


def counted(arm: Arm, gain: float, searches: int, draw: random.Random) -> dict[str, Any]:
    """Return the shares of each answer over many searches."""
    says: dict[bool | None, int] = {True: 0, False: 0, None: 0}
    right_one = covered = naive = told = 0
    for _ in range(searches):
        record = study(arm, gain, draw)
        found = verdict_of(record)
        says[found.beats_baseline] += 1
        right_one += found.best == 1
        values = [each.value or 0.0 for each in record.trials if each.of is None]
        naive += min(values[1:]) < values[0]
        if found.best and found.comparison.interval is not None:
            low, high = found.comparison.interval
            told += 1
            covered += low <= (-gain if found.best == 1 else 0.0) <= high
    return {
        "gain": gain,
        "says_better": round(says[True] / searches, 4),
        "says_not_better": round(says[False] / searches, 4),
        "cannot_tell": round(says[None] / searches, 4),
        "best_is_the_planted_one": round(right_one / searches, 4) if gain else None,
        "interval_holds_the_truth": round(covered / told, 4) if told else None,
        "one_seed_each_says_better": round(naive / searches, 4),
    }


def rows(searches: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield every arm with every gain."""
    draw = random.Random(seed)
    for arm in ARMS:
        for gain in GAINS:
            yield {
                "arm": arm.name,
                "finalists": arm.finalists,
                "seeds": arm.seeds,
                **counted(arm, gain, searches, draw),
            }


def conclusion(found: list[dict[str, Any]]) -> str:
    """Say the false claims, and what three finalists with three seeds find."""
    null = [row for row in found if row["gain"] == 0]
    usual = [row for row in found if row["arm"] == "3 finalists, 3 seeds" and row["gain"]]
    finds = ", ".join(f"{row['says_better']:.0%} of a gain of {row['gain']:g}" for row in usual)
    return (
        f"Where nothing is better, a gain is claimed in {min(row['says_better'] for row in null):.1%} to "
        f"{max(row['says_better'] for row in null):.1%} of the searches (one seed each: "
        f"{max(row['one_seed_each_says_better'] for row in null):.0%}). Three finalists with three seeds find {finds} standard "
        "deviations of one training."
    )


def main() -> None:
    """Simulate, print and write the result."""
    parser = argparse.ArgumentParser(description="Count how often a search's verdict is right.")
    parser.add_argument("--searches", type=int, default=4000, help="searches for each arm and gain")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="folder for the result file")
    arguments = parser.parse_args()
    found = []
    for row in rows(arguments.searches, arguments.seed):
        found.append(row)
        print(row, flush=True)
    result = {
        **circumstances("search_verdict", load="nothing here is a time"),
        "settings": {
            "settings_tried": SETTINGS,
            "searches": arguments.searches,
            "seed": arguments.seed,
            "seed_spread": SEED_SPREAD,
        },
        "results": found,
        "conclusion": conclusion(found),
    }
    print(result["conclusion"])
    if arguments.output:
        write_json(
            arguments.output / f"search_verdict-{result['date']}-{os.cpu_count()}core-cpu.json", result
        )


if __name__ == "__main__":
    main()

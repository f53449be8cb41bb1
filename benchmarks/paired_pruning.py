"""What paired pruning of a search saves and what it costs, told by pictures that were drawn in full.

    python benchmarks/paired_pruning.py DIR --output benchmarks/results/

DIR is the --work of `benchmarks/judging.py`: runs of many kinds whose checkpoints drew every prompt with every seed, and a larger
hidden set besides. A search is played over some of these checkpoints in an order of chance, each a trial: the first is drawn in
full, every other is held against the best so far (`searching.paired`), after one seed of every prompt and after two.

    drawn      pictures that the search takes, of all
    dropped    trials that it does not draw in full
    falsely    dropped trials that the hidden set has above the rival that they were dropped for, of all trials that it has above
               their rival
    lost       searches in which the trial that the whole table scores best was dropped
    regret     by how much the choice falls short of the best by the hidden set; `of_all`: that of the choice by all pictures

Searches of the first kind are over everything that was drawn; those of the second over sound runs alone, which differ by little:
the hardest for such a test, and the least is to be gained.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from circumstances import circumstances

from maquette.choosing.decide import reading_of
from maquette.choosing.race import NOT_COUNTED
from maquette.files import write_json
from maquette.measuring.looks import FLOOR, FirstLook, read_first_look
from maquette.measuring.picture_scores import PictureKey, Term, picture_scores, terms_of
from maquette.measuring.scorecards import Scorecards, scorecards_of
from maquette.searching.paired import ROUNDS, Pictures, Rival, behind

TRIALS = 20
SOUND = ("sound", "sound-lower-rank", "kept-in-the-trigger")
"""Kinds of runs that nothing is wrong with."""
LEVELS = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Trial:
    """A checkpoint that drew everything."""

    kind: str
    look: FirstLook
    label: str
    score: float
    truth: float
    terms: tuple[Term, ...]

    @property
    def pictures(self) -> Pictures:
        return Pictures(terms=self.terms, values=self.values(self.terms))

    def values(self, terms: Sequence[Term], seeds: int | None = None) -> Mapping[PictureKey, float]:
        """Return what the pictures add to the score by some terms; of the first so many seeds what a first round draws."""
        found = picture_scores(self.look, self.label, terms)
        if seeds is None:
            return found
        first = self.first(seeds)
        return {key: value for key, value in found.items() if key in first}

    def first(self, seeds: int) -> set[PictureKey]:
        """Return the pictures of a round."""
        return {
            (each.prompt, each.seed)
            for each in self.look.looks
            if each.checkpoint == self.label and each.seed <= seeds and each.role not in NOT_COUNTED
        }

    @property
    def count(self) -> int:
        return sum(each.checkpoint == self.label for each in self.look.looks)


def trials_of(folder: Path) -> list[Trial]:
    """Return every checkpoint below a folder that drew a suite and the hidden set."""
    found = []
    for path in sorted(folder.glob("**/suite/first_look.json")):
        look, hidden = read_first_look(path), path.parents[1] / "hidden" / path.name
        cards, truth = scorecards_of(look), scorecards_of(read_first_look(hidden))
        reading = reading_of(look, cards)
        kind = path.relative_to(folder).parts[0]
        for label in look.checkpoints():
            if label != FLOOR:
                terms = terms_of(reading, look, label)
                found.append(Trial(kind, look, label, _total(cards, label), _total(truth, label), terms))
    return found


def _total(cards: Scorecards, label: str) -> float:
    total = cards.card(label).total
    assert total is not None
    return total.mean


def played(trials: Sequence[Trial], level: float) -> dict[str, float]:
    """Return what a search over the trials in their order comes to."""
    best = trials[0]
    drawn, dropped, falsely, better = best.count, [], 0, 0
    for trial in trials[1:]:
        rival = Rival(trial=0, pictures=best.pictures, level=level)
        pictures = _pictures_until_behind(trial, rival)
        is_better = trial.truth > best.truth
        better += is_better
        drawn += trial.count if pictures is None else pictures
        if pictures is not None:
            dropped.append(trial)
            falsely += is_better
        elif trial.score > best.score:
            best = trial
    everything = max(trials, key=lambda each: each.score)
    top = max(each.truth for each in trials)
    return {
        "drawn": drawn / sum(each.count for each in trials),
        "dropped": len(dropped),
        "falsely": falsely,
        "better": better,
        "lost": float(any(each is everything for each in dropped)),
        "regret": top - best.truth,
        "of_all": top - everything.truth,
    }


def _pictures_until_behind(trial: Trial, rival: Rival) -> int | None:
    """Return how many pictures were drawn when a trial was dropped; None where it is drawn in full."""
    for seeds in ROUNDS:
        values = trial.values(rival.pictures.terms, seeds)
        if behind(values, rival, looks=len(ROUNDS)) is not None:
            return len(trial.first(seeds))
    return None


def main() -> None:
    """Play searches over the tables, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--output", type=Path, help="folder for a result file")
    given = parser.parse_args()
    every = trials_of(given.folder)
    sound = [each for each in every if each.kind in SOUND]
    rows = []
    for name, pool in (("everything", every), ("sound runs alone", sound)):
        for level in LEVELS:
            chance = random.Random(1)
            found = [played(chance.sample(pool, TRIALS), level) for _ in range(given.searches)]
            rows.append({"trials_of": name, "checkpoints": len(pool), "level": level, **summed(found)})
            print(json.dumps(rows[-1]), flush=True)
    result = {
        **circumstances("paired_pruning", load="nothing here is a time"),
        "settings": {"searches": given.searches, "trials": TRIALS, "rounds": list(ROUNDS)},
        "results": rows,
        "conclusion": "; ".join(map(told, rows)),
    }
    if given.output:
        write_json(given.output / f"paired_pruning-{result['date']}-{os.cpu_count()}core-cpu.json", result)


def told(row: Mapping[str, Any]) -> str:
    """Return a row in words."""
    return (
        f"{row['trials_of']} at {row['level']:g}: {row['drawn_share']:.0%} drawn, {row['falsely_dropped_share']:.0%} of the "
        f"better trials dropped, regret {row['regret']:.4f} against {row['regret_of_all']:.4f}"
    )


def summed(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return what searches come to in the mean."""
    better = sum(each["better"] for each in found)
    return {
        "drawn_share": fmean(each["drawn"] for each in found),
        "dropped_share": fmean(each["dropped"] for each in found) / (TRIALS - 1),
        "falsely_dropped_share": sum(each["falsely"] for each in found) / better if better else 0.0,
        "lost_share": fmean(each["lost"] for each in found),
        "regret": fmean(each["regret"] for each in found),
        "regret_of_all": fmean(each["of_all"] for each in found),
    }


if __name__ == "__main__":
    main()

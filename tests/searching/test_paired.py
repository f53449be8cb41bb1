"""Paired pruning: what a picture adds to a score, when a trial is found worse than the best, and what becomes of it."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from maquette.measuring.looks import FLOOR, FirstLook, Look
from maquette.measuring.picture_scores import PictureKey, Term, picture_scores, terms_of
from maquette.measuring.protocol import Measure
from maquette.measuring.scorecards import Reading
from maquette.measuring.tables import table_of
from maquette.searching.paired import (
    FEWEST_PAIRS,
    Pictures,
    Rival,
    behind,
    chance_of_worse,
    pictures_of,
    rounds_of,
)

MEASURES = tuple(
    Measure(name=name, title=name, definition="") for name in ("identity", "adherence", "technical")
)
ROLES = ("bare", "pose", "novel", "novel", "asymmetry", "full", "leak", "prompt")


def drawn(seeds: int = 4, quality: float = 0.6) -> FirstLook:
    """A look whose pictures score somewhere around the base's and `quality`; the trigger alone has more seeds than the rest."""
    chance = random.Random(3)
    looks = [
        Look(
            checkpoint=label,
            step=None if label == FLOOR else 1,
            prompt=f"{number} {role}",
            role=role,
            seed=seed,
            path="",
            scores={
                "identity": min(0.95, max(0.05, level + chance.uniform(-0.2, 0.2))),
                "technical": chance.uniform(0.5, 0.9) if label != FLOOR else 0.95,
                **(
                    {"adherence": chance.uniform(0.3, 0.6)}
                    if role in ("pose", "novel") and label != FLOOR
                    else {}
                ),
                **({"adherence": 0.8} if role in ("pose", "novel") and label == FLOOR else {}),
            },
        )
        for label, level in ((FLOOR, 0.2), ("final", quality))
        for number, role in enumerate(ROLES)
        for seed in range(1, (seeds if role == "bare" else min(2, seeds)) + 1)
    ]
    return FirstLook(folder=Path(), looks=tuple(looks), measures=MEASURES, ceilings={"identity": 0.9})


def reading(look: FirstLook) -> Reading:
    return Reading(table_of(look), look.measures, look.ceilings)


def test_the_mean_of_what_pictures_add_is_the_score() -> None:
    look = drawn()
    known = reading(look)
    total = known.of_pictures().totals()[known.table.columns.index("final")]
    values = picture_scores(look, "final", terms_of(known, look, "final"))
    assert total is not None
    assert fmean(values.values()) == pytest.approx(total.mean, abs=1e-12)
    assert len(values) == sum(each.checkpoint == "final" for each in look.looks)


def test_a_column_is_compared_by_the_terms_of_another() -> None:
    """Under the same terms each twin differs by what was measured, whatever else was drawn."""
    whole, part = drawn(), drawn(seeds=1, quality=0.7)
    terms = terms_of(reading(whole), whole, "final")
    values = picture_scores(part, "final", terms)
    for each in part.looks:
        if each.checkpoint == "final":
            better = replace(each, scores={**each.scores, "identity": each.scores["identity"] + 0.01})
            gain = sum(term.of(better) or 0.0 for term in terms) - values[each.prompt, each.seed]
            shares = [
                term.weight / (term.one - term.zero)
                for term in terms
                if term.measure == "identity" and each.role in term.roles
            ]
            assert gain == pytest.approx(0.01 * sum(shares), abs=1e-12)


def test_pictures_are_written_down_and_read_again() -> None:
    look = drawn()
    terms = terms_of(reading(look), look, "final")
    shown = Pictures(terms=terms, values=picture_scores(look, "final", terms))
    assert pictures_of(json.loads(json.dumps(shown.to_json()))) == shown


# --- the test --------------------------------------------------------------------------------------------


def rival(values: dict[PictureKey, float], level: float = 0.05) -> Rival:
    term = Term(measure="identity", roles=("pose",), zero=0.0, one=1.0, weight=1.0)
    return Rival(trial=3, pictures=Pictures(terms=(term,), values=values), level=level)


def keys(count: int) -> list[PictureKey]:
    return [(f"prompt {number}", 1) for number in range(count)]


def test_the_chance_is_that_of_all_signs() -> None:
    """Of eight pairs that all fall the same way, one of 2^8 arrangements of signs lies so far out; zeros are no error."""
    assert chance_of_worse([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0]) == pytest.approx(2**-8)
    assert chance_of_worse([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]) == 1.0
    assert chance_of_worse([0.0] * 8) > 0.3


@pytest.mark.parametrize("count", [FEWEST_PAIRS - 1, FEWEST_PAIRS, 12])
def test_few_pairs_decide_nothing(count: int) -> None:
    best = dict.fromkeys(keys(count), 0.8)
    bad = {key: 0.2 + 0.01 * number for number, key in enumerate(best)}
    found = behind(bad, rival(best), looks=1)
    assert (found is not None) == (count >= FEWEST_PAIRS)


def test_only_twins_count_and_who_is_better_stays() -> None:
    best = dict.fromkeys(keys(12), 0.8)
    strange = {(f"other {number}", 1): 0.0 for number in range(12)}
    assert behind(strange, rival(best), looks=1) is None
    # Worse in most pictures, far better in some: on the whole it scores more.
    mixed = {key: 0.75 if number < 9 else 5.0 for number, key in enumerate(best)}
    assert behind(mixed, rival(best), looks=1) is None
    worse = dict.fromkeys(best, 0.7)
    assert behind({**worse, **strange}, rival(best), looks=1) == behind(worse, rival(best), looks=1)


def test_every_picture_is_in_a_round() -> None:
    assert rounds_of((1, 2, 3, 4)) == [(1,), (1, 2)]
    assert rounds_of((7, 9)) == [(7,)]
    assert rounds_of((7,)) == []


def simulated(
    chance: random.Random, quality: float, prompts: list[float], seeds: int
) -> dict[PictureKey, float]:
    """Pictures of a trial: prompts are hard or easy for everybody, trials take to prompts unlike, and chance does the rest."""
    found = {}
    for number, hardness in enumerate(prompts):
        taste = chance.gauss(0, 0.05)
        for seed in range(seeds):
            found[f"prompt {number}", seed] = quality + hardness + taste + chance.gauss(0, 0.15)
    return found


def dropped(chance: random.Random, quality: float) -> bool:
    """Whether a trial is dropped at one of the two rounds that a suite with four seeds has, beside a best of 0.6."""
    prompts = [chance.gauss(0, 0.2) for _ in range(9)]
    best = rival(simulated(chance, 0.6, prompts, 4))
    own = simulated(chance, quality, prompts, 2)
    rounds = ({key: value for key, value in own.items() if key[1] < seeds} for seeds in (1, 2))
    return any(behind(values, best, looks=2) is not None for values in rounds)


def test_a_trial_as_good_as_the_best_is_seldom_dropped_and_a_bad_one_nearly_always() -> None:
    chance, count = random.Random(5), 300
    as_good = sum(dropped(chance, 0.6) for _ in range(count)) / count
    assert as_good <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / count)
    assert sum(dropped(chance, 0.7) for _ in range(count)) / count < 0.02
    assert sum(dropped(chance, 0.25) for _ in range(count)) / count > 0.95


# --- in a study ------------------------------------------------------------------------------------------


def test_a_dropped_trial_is_pruned_and_says_why(tmp_path: Path) -> None:
    from maquette.searching.report import pruning_told
    from maquette.searching.telling import told_end
    from tests.searching.test_study import open_study

    study = open_study(
        tmp_path, trials=4, seed=1, objective="score", paired_level=0.05, finalists=1, finalist_seeds=1
    )
    first, second, third = (study.propose() for _ in range(3))
    assert first and second and third
    assert study.rival_of(second.number) is None  # nothing is finished yet
    term = Term(measure="identity", roles=("pose",), zero=0.0, one=1.0, weight=1.0)
    shown = {
        number: Pictures(terms=(term,), values=dict.fromkeys(keys(8), value))
        for number, value in ((0, 0.4), (1, 0.6))
    }
    study.finish(first.number, 0.4, score=0.4, pictures=shown[0])
    study.finish(second.number, 0.6, score=0.6, pictures=shown[1])
    held = study.rival_of(third.number)
    assert held is not None
    assert (held.trial, held.pictures, held.level) == (second.number, shown[1], 0.05)
    assert study.rival_of(first.number) is None  # the baseline is drawn in full
    worse = behind(dict.fromkeys(keys(8), 0.1), held, looks=2)
    assert worse is not None
    study.prune(third.number, 2.0, step=study.rungs(third.number)[-1], score=0.1, behind=worse)
    record = study.record()
    pruned = record.trial(third.number)
    assert (pruned.state, pruned.value, pruned.score) == ("pruned", None, 0.1)
    assert (pruned.behind, pruned.pairs) == (second.number, 8)
    assert pruned.chance == worse.chance < 0.025
    assert f"worse than trial {second.number} over 8 pairs of pictures" in told_end(pruned)
    assert "1 ended by their pictures" in pruning_told(record)
    assert record.paired_level == 0.05


def test_without_a_level_everything_is_drawn(tmp_path: Path) -> None:
    from tests.searching.test_study import open_study

    study = open_study(tmp_path, trials=3, objective="score", finalists=0)
    first, second = study.propose(), study.propose()
    assert first and second
    term = Term(measure="identity", roles=("pose",), zero=0.0, one=1.0, weight=1.0)
    study.finish(first.number, 0.4, score=0.4, pictures=Pictures(terms=(term,), values={("p", 1): 0.4}))
    assert study.rival_of(second.number) is None

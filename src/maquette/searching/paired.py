"""Paired pruning: whether a trial's pictures are worse than those of the best trial so far, asked while they are drawn.

Both drew the same prompts with the same seeds, so each picture is set beside its twin: what makes a prompt hard or a seed lucky
falls out. Wilcoxon's signed-rank test over the pairs, one-sided, says by what chance a trial as good as the best would look so
bad; below the level it is not drawn further. Optuna's own WilcoxonPruner asks the same after every pair; here it is asked after
one seed of every prompt and after two, each at half of the level, so that asking twice does not drop more good trials.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from maquette.measuring.picture_scores import PictureKey, Term

FEWEST_PAIRS = 6
"""Of fewer, all of which speak against a trial, chance makes as many in one of fifty."""
ROUNDS = (1, 2)
"""Seeds of every prompt after which it is asked; then all are drawn."""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a trial's pictures add to its score, each by itself, and by which terms."""

    terms: tuple[Term, ...]
    values: Mapping[PictureKey, float]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "terms": [{**vars(each), "roles": list(each.roles)} for each in self.terms],
            "values": [[prompt, seed, value] for (prompt, seed), value in self.values.items()],
        }


def pictures_of(given: Mapping[str, Any]) -> Pictures:
    """Return what `Pictures.to_json` has written."""
    return Pictures(
        terms=tuple(Term(**{**each, "roles": tuple(each["roles"])}) for each in given["terms"]),
        values={(prompt, seed): value for prompt, seed, value in given["values"]},
    )


@dataclass(frozen=True, kw_only=True)
class Rival:
    """The best trial so far, that others are held against."""

    trial: int
    pictures: Pictures
    level: float


@dataclass(frozen=True, kw_only=True)
class Behind:
    """Why a trial was not drawn further."""

    trial: int
    """The one that it is worse than."""
    chance: float
    """Wilcoxon's p."""
    pairs: int


def rounds_of(seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the seeds of each round after which it is asked; none where the first one has them all."""
    return [tuple(seeds[:count]) for count in ROUNDS if count < len(seeds)]


def behind(values: Mapping[PictureKey, float], rival: Rival, looks: int) -> Behind | None:
    """Return by what a trial is surely worse than its rival, asked at one of `looks` occasions; None while it is not."""
    shared = [key for key in values if key in rival.pictures.values]
    gaps = [values[key] - rival.pictures.values[key] for key in shared]
    if len(gaps) < FEWEST_PAIRS or fmean(gaps) >= 0:
        return None
    chance = chance_of_worse(gaps)
    if chance >= rival.level / max(1, looks):
        return None
    return Behind(trial=rival.trial, chance=chance, pairs=len(gaps))


def chance_of_worse(gaps: Collection[float]) -> float:
    """Return by what chance paired gaps whose middle is zero would lie as far below it: Wilcoxon's signed ranks, one-sided."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(list(gaps), alternative="less", zero_method="zsplit").pvalue)

"""Which settings mattered: each parameter's share of what the trained trials differ by.

fANOVA (Optuna's, which needs scikit-learn) fits a forest to the trials and says how much of its variance each parameter explains.
Without scikit-learn it is PED-ANOVA, which needs nothing and answers another question: how much a parameter decides whether a
trial is among the best tenth. Which one it was is said.

From so few trials a share is itself uncertain: it is worked out again with trials drawn from among them with repetition, and the
range of these is shown.
"""

from __future__ import annotations

import importlib.util
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from maquette.searching.records import SearchTrial, StudyRecord, Value
from maquette.searching.space import Parameter
from maquette.searching.standing import Standing, chosen, standing

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

Method = Literal["fANOVA", "PED-ANOVA"]
FEWEST = 6
"""Trained trials; of fewer nothing can be said."""
RESAMPLES = 10
_TREES, _TREES_OF_RESAMPLES = 64, 16


@dataclass(frozen=True, kw_only=True)
class Importance:
    """One parameter's share of what trials differ by, all together 1."""

    name: str
    share: float
    low: float
    high: float
    """The middle four fifths of what resampled trials give."""


@dataclass(frozen=True, kw_only=True)
class Importances:
    """What mattered, the most important first; or why nobody can say."""

    method: Method | None = None
    trials: int = 0
    of_places: bool = False
    """Whether places were set beside one another, since most trials were pruned."""
    found: tuple[Importance, ...] = ()
    problem: str = ""


def importances(
    record: StudyRecord,
    parameters: Sequence[Parameter],
    *,
    method: Method | None = None,
    resamples: int = RESAMPLES,
) -> Importances:
    """Return how much each parameter mattered to how the trained trials stand to one another (`standing.py`).

    `method`: None takes fANOVA where scikit-learn is installed. Parameters that not all trials have are left out of it.
    """
    stand = standing(record)
    done = chosen(record, stand)
    everywhere = [each for each in parameters if all(each.name in trial.params for trial in done)]
    varied = [each for each in everywhere if len({trial.params[each.name] for trial in done}) > 1]
    if len(done) < FEWEST:
        return Importances(trials=len(done), problem=f"{len(done)} trials were trained; {FEWEST} are needed")
    if len(varied) < 2 or len(set(stand.values.values())) < 2:
        return Importances(trials=len(done), problem="the trained trials hardly differ")
    if importlib.util.find_spec("optuna") is None:
        return Importances(trials=len(done), problem="it needs Optuna: pip install 'maquette[search]'")
    chosen_method: Method = method or ("fANOVA" if importlib.util.find_spec("sklearn") else "PED-ANOVA")
    shares = _shares(done, varied, stand, chosen_method)
    draw = random.Random(0)
    drawn = [
        _shares(draw.choices(done, k=len(done)), varied, stand, chosen_method, trees=_TREES_OF_RESAMPLES)
        for _ in range(resamples)
    ]
    found = [
        Importance(name=name, share=share, **_range([each.get(name, 0.0) for each in drawn], share))
        for name, share in shares.items()
    ]
    return Importances(
        method=chosen_method,
        trials=len(done),
        of_places=stand.is_place,
        found=tuple(sorted(found, key=lambda each: -each.share)),
    )


def _range(drawn: Sequence[float], share: float) -> dict[str, float]:
    cut = len(drawn) // 10
    middle = sorted(drawn)[cut : len(drawn) - cut]
    return {"low": min([share, *middle]), "high": max([share, *middle])}


def _shares(
    trials: Sequence[SearchTrial],
    parameters: Sequence[Parameter],
    stand: Standing,
    method: Method,
    *,
    trees: int = _TREES,
) -> Mapping[str, float]:
    """Return each parameter's share; none where the trials are all alike."""
    import optuna
    from optuna.importance import (
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    varied = [each for each in parameters if len({trial.params[each.name] for trial in trials}) > 1]
    if len({stand.values[trial.number] for trial in trials}) < 2 or not varied:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(direction=stand.direction)
        study.add_trials([_frozen(trial, parameters, stand) for trial in trials])
        evaluator = (
            FanovaImportanceEvaluator(seed=0, n_trees=trees)
            if method == "fANOVA"
            else PedAnovaImportanceEvaluator()
        )
        found = get_param_importances(study, evaluator=evaluator, params=[each.name for each in varied])
    return {name: float(share) for name, share in found.items()}


def _frozen(trial: SearchTrial, parameters: Sequence[Parameter], stand: Standing) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    params = {each.name: trial.params[each.name] for each in parameters}
    return create_trial(
        params=params,
        distributions={each.name: _distribution(each, params[each.name]) for each in parameters},
        value=stand.values[trial.number],
        state=TrialState.COMPLETE,
    )


def _distribution(parameter: Parameter, value: Value) -> BaseDistribution:
    """Return the parameter's distribution as the study has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), step=step, log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, step=parameter.step, log=parameter.log)

"""Who proposes: Optuna's TPE, or chance. Every proposal follows from the seed, its number and what was finished before it.

A sampler with one stream of random numbers would propose otherwise after a restart. This one is made anew for each trial, from
the study's seed and the trial's number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from maquette.searching.options import STARTS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.study import Study


class SeededSampler(BaseSampler):
    """TPE (multivariate, by groups of parameters, constant liar), or chance, seeded for each trial by its number."""

    def __init__(self, kind: str, seed: int) -> None:
        self._kind, self._seed = kind, seed
        self._number = -1
        self._inner: BaseSampler = RandomSampler(seed=seed)

    def _of(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number = trial.number
            self._inner = self._made(study, trial.number)
        return self._inner

    def _made(self, study: Study, number: int, name: str = "") -> BaseSampler:
        told = f"{self._seed} {number} {name}".strip()
        seed = int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big")
        if self._kind == "random":
            return RandomSampler(seed=seed)
        return TPESampler(
            n_startup_trials=STARTS + _refused(study),
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=seed,
        )

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        # Made anew for each parameter: one that was drawn before a kill is not drawn again, and takes no number with it.
        sampler = self._made(study, trial.number, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Nothing: what a trial needs is made when it first asks."""

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Nothing: constraints are told with the trial itself."""


def _refused(study: Study) -> int:
    """Return how many proposals were refused: for Optuna they are trials like others, for us they began nothing."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    return sum(any(value > 0 for value in trial.constraints.values()) for trial in pruned)

"""Optimizers: one per trial, so that trials of different optimizers, rates and norms train side by side.

An optimizer is a row of `OPTIMIZERS` here, which makes it, and a row of `project/optimizers.py`, which says what it takes and how
much it keeps. Which parameters train at which rate, and their order, is `rates.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from maquette.project.optimizers import OPTIMIZERS as FACTS
from maquette.project.optimizers import Value
from maquette.training.config import TrialSettings
from maquette.training.rates import RateGroup
from maquette.training.schedules import learning_rate_factor, shape_of

Group = dict[str, Any]
Factory = Callable[[Sequence[Group], TrialSettings, Mapping[str, Value]], torch.optim.Optimizer]
"""Makes an optimizer of parameter groups for a trial, with all its own arguments by name."""


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is made and used."""

    make: Factory
    has_modes: bool = False
    """It trains one set of weights and is judged by another (schedule-free kinds): `train()` and `eval()` exchange them."""


def _adamw(
    groups: Sequence[Group], trial: TrialSettings, arguments: Mapping[str, Value]
) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101). Fused: one kernel for all tensors instead of a dozen for each."""
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    given: dict[str, Any] = dict(arguments)
    return torch.optim.AdamW(
        list(groups), lr=trial.schedule_lr, weight_decay=trial.weight_decay, fused=fused, **given
    )


def _sgd(
    groups: Sequence[Group], trial: TrialSettings, arguments: Mapping[str, Value]
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum: half of AdamW's memory, and rates a hundred times as high."""
    given: dict[str, Any] = dict(arguments)
    return torch.optim.SGD(list(groups), lr=trial.schedule_lr, weight_decay=trial.weight_decay, **given)


OPTIMIZERS: dict[str, Optimizer] = {"adamw": Optimizer(_adamw), "sgd": Optimizer(_sgd)}


class BrokenGradient(Exception):
    """The gradients hold values that are no finite numbers."""


class TrialOptimizer:
    """One trial's parameters with their optimizer, learning-rate schedule and gradient clipping."""

    def __init__(
        self,
        trial: TrialSettings,
        groups: Sequence[RateGroup],
        total_steps: int,
    ) -> None:
        self.trial = trial
        self.groups = tuple(groups)
        self.parameters = [parameter for group in groups for parameter in group.parameters]
        self._shape = shape_of(trial, total_steps)
        made = [{"params": list(group.parameters), "lr": group.lr} for group in groups]
        defaults = {name: argument.default for name, argument in FACTS[trial.optimizer].arguments.items()}
        self._row = OPTIMIZERS[trial.optimizer]
        self.torch_optimizer = self._row.make(made, trial, defaults | dict(trial.optimizer_args))

    def train(self, mode: bool = True) -> None:
        """Put the weights that training goes on with into the parameters, or those that are saved and drawn with."""
        if self._row.has_modes:
            optimizer: Any = self.torch_optimizer
            optimizer.train() if mode else optimizer.eval()

    def learning_rates(self, step: int) -> list[float]:
        """Return the rate of each group at 0-based optimizer step `step`."""
        factor = learning_rate_factor(self.trial.lr_scheduler, step, self._shape)
        return [group.lr * factor for group in self.groups]

    def update(self, step: int, scaler: torch.amp.GradScaler | None = None) -> float:
        """Clip, take optimizer step `step` and clear the gradients; return the gradient norm before clipping.

        Raises BrokenGradient before any weight changes where the norm is no finite number and no loss scaling leaves such steps
        out.
        """
        for group, lr in zip(self.torch_optimizer.param_groups, self.learning_rates(step), strict=True):
            group["lr"] = lr
        if scaler is not None:
            scaler.unscale_(self.torch_optimizer)
        limit = self.trial.max_grad_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        if scaler is None and not norm.isfinite():
            raise BrokenGradient
        if scaler is None:
            self.torch_optimizer.step()
        else:
            scaler.step(self.torch_optimizer)
        self.torch_optimizer.zero_grad(set_to_none=True)
        return float(norm)

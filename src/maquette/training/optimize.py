"""Optimizers: one per trial, so that trials of different optimizers, rates and norms train side by side.

An optimizer is a row of `project/optimizers.py`, which says what it takes and how much it keeps, or any class with its package.
`OPTIMIZERS` here makes those of the table. Which parameters train at which rate, and their order, is `rates.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from maquette.errors import ConfigError, Problem
from maquette.project.optimizers import OPTIMIZERS as FACTS
from maquette.project.optimizers import Value, facts_of
from maquette.project.schedules import SCHEDULES
from maquette.training.averaging import WeightAverage
from maquette.training.classes import load_class
from maquette.training.config import TrialSettings
from maquette.training.own_schedules import OwnSchedule
from maquette.training.rates import RateGroup
from maquette.training.schedules import (
    finds_relative_steps,
    learning_rate_factor,
    schedule_in_force,
    shape_of,
)
from maquette.training.stacked_optimizer import GatheredAdamW, Twins, is_gathered, show_gradients

Group = dict[str, Any]
Factory = Callable[[Sequence[Group], TrialSettings, Mapping[str, Value]], torch.optim.Optimizer]
"""Makes an optimizer of parameter groups for a trial, with all its own arguments by name."""


@dataclass(frozen=True)
class Optimizer:
    """How an optimizer is made and used."""

    make: Factory
    has_modes: bool = False
    """It trains one set of weights and is judged by another (schedule-free kinds): `train()` and `eval()` exchange them."""
    takes_gathered: bool = False
    """It updates weights that lie in the adapter's pool where they lie."""


def _adamw(
    groups: Sequence[Group], trial: TrialSettings, arguments: Mapping[str, Value]
) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101). Fused: one kernel for all tensors instead of a dozen for each."""
    if is_gathered([parameter for group in groups for parameter in group["params"]]):
        return GatheredAdamW(
            groups, lr=trial.schedule_lr, weight_decay=_decay(trial) or 0.0, **dict[str, Any](arguments)
        )
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    given: dict[str, Any] = dict(arguments)
    return torch.optim.AdamW(
        list(groups), lr=trial.schedule_lr, weight_decay=_decay(trial) or 0.0, fused=fused, **given
    )


def _sgd(
    groups: Sequence[Group], trial: TrialSettings, arguments: Mapping[str, Value]
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum: half of AdamW's memory, and rates a hundred times as high."""
    given: dict[str, Any] = dict(arguments)
    return torch.optim.SGD(list(groups), lr=trial.schedule_lr, weight_decay=_decay(trial) or 0.0, **given)


def _adafactor(
    groups: Sequence[Group], trial: TrialSettings, arguments: Mapping[str, Value]
) -> torch.optim.Optimizer:
    """Adafactor (arXiv:1804.04235) as transformers has it; with relative steps it takes no rate, as in sd-scripts."""
    kind = load_class(facts_of(trial.optimizer).made_by, torch.optim.Optimizer, "optimizer")
    relative = finds_relative_steps(trial)
    own = [{**group, "lr": None} for group in groups] if relative else list(groups)
    rate = None if relative else trial.schedule_lr
    made: torch.optim.Optimizer = kind(
        own, lr=rate, weight_decay=_decay(trial), **{**arguments, "relative_step": relative}
    )
    return made


def _of_class(
    groups: Sequence[Group], trial: TrialSettings, arguments: Mapping[str, Value]
) -> torch.optim.Optimizer:
    """A class of a package: it takes groups, a rate, weight decay where one is in force, and its arguments."""
    facts = facts_of(trial.optimizer)
    kind = load_class(facts.made_by, torch.optim.Optimizer, "optimizer")
    decay = {} if _decay(trial) is None else {"weight_decay": _decay(trial)}
    try:
        made: torch.optim.Optimizer = kind(list(groups), lr=trial.schedule_lr, **decay, **arguments)
    except Exception as error:  # another package's class: anything may be what it says of a wrong argument
        shown = (
            ", ".join(f"{name}={value!r}" for name, value in {**decay, **arguments}.items()) or "no arguments"
        )
        raise ConfigError(
            Problem(
                "optimizer_args",
                f"{trial.optimizer} refuses {shown}: {str(error).rstrip('.')}",
                "arguments that the class takes",
                "Correct them, or weight_decay.",
            )
        ) from error
    return made


def _decay(trial: TrialSettings) -> float | None:
    """Return the weight decay in force."""
    return facts_of(trial.optimizer).weight_decay if trial.weight_decay is None else trial.weight_decay


OPTIMIZERS: dict[str, Optimizer] = {
    **{name: Optimizer(_of_class, has_modes=not facts.follows_schedule) for name, facts in FACTS.items()},
    "adamw": Optimizer(_adamw, takes_gathered=True),
    "sgd": Optimizer(_sgd),
    "adafactor": Optimizer(_adafactor),
}


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
        self.facts = facts_of(trial.optimizer)
        self._require_one_rate()
        self._shape = shape_of(trial, total_steps)
        self._twins = self._twins_where_needed()
        self._trained = self._twins.parameters if self._twins else self.parameters
        of = dict(zip(self.parameters, self._trained, strict=True))
        made = [{"params": [of[leaf] for leaf in group.parameters], "lr": group.lr} for group in groups]
        defaults = {name: argument.default for name, argument in self.facts.arguments.items()}
        row = OPTIMIZERS.get(trial.optimizer, Optimizer(_of_class))
        self.torch_optimizer = row.make(made, trial, defaults | dict(trial.optimizer_args))
        decay = trial.ema_decay
        self.average = WeightAverage(self.parameters, decay) if decay is not None else None
        self._has_modes = row.has_modes or (trial.optimizer not in FACTS and _has_modes(self.torch_optimizer))
        self._in_training: list[torch.Tensor] | None = None
        """The weights as training left them, while others are shown."""
        self._schedule = schedule_in_force(trial)
        self._own_schedule = (
            None
            if self._schedule in SCHEDULES
            else OwnSchedule(self._schedule, trial.lr_scheduler_args, self.torch_optimizer)
        )

    def _twins_where_needed(self) -> Twins | None:
        """Return parameters for an optimizer that knows nothing of gathered weights."""
        if not is_gathered(self.parameters):
            return None
        own = OPTIMIZERS.get(self.trial.optimizer)
        return None if own is not None and own.takes_gathered else Twins(self.parameters)

    def _require_one_rate(self) -> None:
        rates = {group.name: group.lr for group in self.groups}
        if self.facts.one_rate and len(set(rates.values()) - {0.0}) > 1:
            given = ", ".join(f"{name} {lr:g}" for name, lr in rates.items())
            raise ConfigError(
                Problem(
                    "learning rates",
                    f"{given} with {self.trial.optimizer}, which knows one rate",
                    "the same for all weights that are trained",
                    "Leave the rates of parts and layers and LoRA+'s ratio out, and set learning_rate.",
                )
            )

    def train(self, mode: bool = True) -> None:
        """Put the weights that training goes on with into the parameters, or those that are saved and drawn with."""
        optimizer: Any = self.torch_optimizer
        if self.average is not None and mode:
            self.average.show(False)
        if self._has_modes:
            if not mode and self._in_training is None:
                self._in_training = [parameter.detach().clone() for parameter in self.parameters]
            with self._own_weights():
                optimizer.train() if mode else optimizer.eval()
            if mode and self._in_training is not None:
                # The way there and back is not exact: who looks at a run would change it.
                with torch.no_grad():
                    for parameter, own in zip(self.parameters, self._in_training, strict=True):
                        parameter.copy_(own)
                self._in_training = None
        if self.average is not None and not mode:
            self.average.show(True)

    def learning_rates(self, step: int) -> list[float]:
        """Return the rate of each group at 0-based optimizer step `step`."""
        return [float(values["lr"]) for values in self._scheduled(step)]

    def effective_rates(self) -> list[float] | None:
        """Return the rate that the last step was taken with in each group, where the optimizer finds it itself, else None."""
        optimizer: Any = self.torch_optimizer
        groups = optimizer.param_groups
        if finds_relative_steps(self.trial):
            return [
                float(optimizer._get_lr(group, optimizer.state[group["params"][0]]))
                for group in groups
                if optimizer.state[group["params"][0]]
            ]
        if all("d" in group for group in groups):
            return [float(group["d"]) * float(group["lr"]) for group in groups]
        return None

    def update(self, step: int, scaler: torch.amp.GradScaler | None = None) -> float:
        """Clip, take optimizer step `step` and clear the gradients; return the gradient norm before clipping.

        Raises BrokenGradient before any weight changes where the norm is no finite number and no loss scaling leaves such steps
        out.
        """
        with self._own_weights():
            norm = self._update(step, scaler)
        self.forget_gradients()
        return norm

    def forget_gradients(self) -> None:
        """Drop the gradients that passes have left."""
        self.torch_optimizer.zero_grad(set_to_none=True)
        if self._twins is not None:
            self._twins.clear()

    def _own_weights(self) -> AbstractContextManager[None]:
        """Within, the optimizer's parameters hold the trial's weights and gradients, wherever these lie."""
        return self._twins.standing_in() if self._twins is not None else nullcontext()

    def _update(self, step: int, scaler: torch.amp.GradScaler | None) -> float:
        if not finds_relative_steps(self.trial):
            for group, values in zip(self.torch_optimizer.param_groups, self._scheduled(step), strict=True):
                group.update(values)
        if scaler is not None:
            show_gradients(self._trained)
            scaler.unscale_(self.torch_optimizer)
        norm = self._clip(self.trial.max_grad_norm or float("inf"))
        if scaler is None and not norm.isfinite():
            show_gradients(self.parameters)
            raise BrokenGradient
        if scaler is None:
            self.torch_optimizer.step()
        else:
            scaler.step(self.torch_optimizer)
        return float(norm)

    def _clip(self, limit: float) -> torch.Tensor:
        if isinstance(self.torch_optimizer, GatheredAdamW):
            return self.torch_optimizer.clip(limit)
        return torch.nn.utils.clip_grad_norm_(self._trained, limit)

    def take_in(self, step: int) -> None:
        """Let the moving average take in the weights as optimizer step `step` has left them."""
        if self.average is not None:
            self.average.update(step)

    def _scheduled(self, step: int) -> Sequence[Mapping[str, Any]]:
        """Return what the schedule says each group holds at 0-based optimizer step `step`."""
        if self._own_schedule is not None:
            return self._own_schedule.at(step)
        factor = learning_rate_factor(self._schedule, step, self._shape)
        return [{"lr": group.lr * factor} for group in self.groups]


def _has_modes(optimizer: Any) -> bool:
    return callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None))


def try_out(trial: TrialSettings, total_steps: int) -> None:
    """Make the trial's optimizer and schedule for weights of no account. Raises ConfigError where they cannot be made."""
    rates = {"text_encoder": trial.text_encoder_lr, "denoiser": trial.denoiser_lr}
    groups = [
        RateGroup(name, lr, (torch.nn.Parameter(torch.zeros(2, 2)),)) for name, lr in rates.items() if lr
    ]
    if groups:
        TrialOptimizer(trial, groups, total_steps).learning_rates(total_steps - 1)

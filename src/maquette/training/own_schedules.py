"""Schedules that are classes of torch or another package, as functions of the step.

Such a class counts its own steps. It is given a stand-in with the optimizer's parameter groups and stepped as far as asked: what
it makes of the groups (rates, and momentum or betas where it moves them) is kept for every step. A resumed run therefore
needs nothing of it: its steps are taken again, which costs microseconds each.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from maquette.errors import ConfigError, Problem
from maquette.training.classes import load_class

SETTING = "lr_scheduler"
MOVED = ("lr", "momentum", "betas")
"""What schedules move in a parameter group."""


class OwnSchedule:
    """What schedule class `path` makes of an optimizer's groups at each step."""

    def __init__(self, path: str, arguments: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
        kind = load_class(path, LRScheduler, SETTING)
        if issubclass(kind, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ConfigError(
                Problem(
                    SETTING,
                    f"'{path}', which follows a measured value",
                    "a schedule that follows the steps alone",
                    "Use cosine, or warmup_stable_decay.",
                )
            )
        self._groups = _StandIn(optimizer)
        try:
            self._schedule = kind(self._groups, **arguments)
        except (
            Exception
        ) as error:  # another package's class: anything may be what it says of a wrong argument
            given = ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "no arguments"
            raise ConfigError(
                Problem(
                    f"{SETTING}_args",
                    f"{path} refuses {given}: {error}",
                    "arguments that the class takes",
                    "Correct them.",
                )
            ) from error
        self._seen: list[list[dict[str, Any]]] = [self._groups.told()]

    def at(self, step: int) -> Sequence[Mapping[str, Any]]:
        """Return what each group holds at 0-based optimizer step `step`."""
        with warnings.catch_warnings():
            # It warns of an order of calls that a stand-in has no use for.
            warnings.simplefilter("ignore")
            while len(self._seen) <= step:
                self._groups.step()
                self._step()
                self._seen.append(self._groups.told())
        return self._seen[step]

    def _step(self) -> None:
        try:
            self._schedule.step()
        except Exception as error:
            given = f"{type(self._schedule).__name__} ends after {len(self._seen)} steps: {error}"
            remedy = "Give it the run's length in lr_scheduler_args, or choose another schedule."
            raise ConfigError(Problem(SETTING, given, "a rate for every step of the run", remedy)) from error


class _StandIn(torch.optim.Optimizer):
    """An optimizer that has another's groups and changes no weight."""

    def __init__(self, of: torch.optim.Optimizer) -> None:
        groups = [
            {name: value for name, value in group.items() if name != "params"} | {"params": [_weight()]}
            for group in of.param_groups
        ]
        super().__init__(groups, dict(of.defaults))

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Do nothing: schedules want to see that it was called."""

    def told(self) -> list[dict[str, Any]]:
        """Return what schedules move in each group."""
        return [{name: group[name] for name in MOVED if name in group} for group in self.param_groups]


def _weight() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.zeros(1))

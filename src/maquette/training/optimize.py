"""Optimizers: one per trial, so that trials of different rates and norms train side by side.

An optimizer is one function in `OPTIMIZERS`: parameter groups in, torch optimizer out. Groups are ordered
[text encoder, denoiser], as in sd-scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from maquette.training.config import TrialSettings
from maquette.training.schedules import ScheduleShape, learning_rate_factor

Group = dict[str, Any]


def _adamw(groups: Sequence[Group], trial: TrialSettings) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101). Fused: one kernel for all tensors instead of a dozen for each."""
    fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
    return torch.optim.AdamW(list(groups), lr=trial.schedule_lr, weight_decay=trial.weight_decay, fused=fused)


OPTIMIZERS: dict[str, Callable[[Sequence[Group], TrialSettings], torch.optim.Optimizer]] = {"adamw": _adamw}


class TrialOptimizer:
    """One trial's parameters with their optimizer, learning-rate schedule and gradient clipping."""

    def __init__(
        self,
        name: str,
        trial: TrialSettings,
        text_parameters: Sequence[torch.nn.Parameter],
        denoiser_parameters: Sequence[torch.nn.Parameter],
        total_steps: int,
    ) -> None:
        self.trial = trial
        self.parameters = [*text_parameters, *denoiser_parameters]
        self._base_lrs = [
            (parameters, lr)
            for parameters, lr in (
                (text_parameters, trial.text_encoder_lr),
                (denoiser_parameters, trial.unet_lr),
            )
            if parameters
        ]
        self._shape = ScheduleShape(
            total_steps=total_steps,
            warmup_steps=trial.warmup_steps,
            cycles=trial.lr_cycles,
            power=trial.lr_power,
            base_lr=trial.schedule_lr or 1e-4,
        )
        groups = [{"params": list(parameters), "lr": lr} for parameters, lr in self._base_lrs]
        self.torch_optimizer = OPTIMIZERS[name](groups, trial)

    def learning_rates(self, step: int) -> list[float]:
        """Return the rate of each group at 0-based optimizer step `step`."""
        factor = learning_rate_factor(self.trial.lr_scheduler, step, self._shape)
        return [lr * factor for _, lr in self._base_lrs]

    def update(self, step: int, scaler: torch.amp.GradScaler | None = None) -> float:
        """Clip, take optimizer step `step` and clear the gradients; return the gradient norm before clipping."""
        for group, lr in zip(self.torch_optimizer.param_groups, self.learning_rates(step), strict=True):
            group["lr"] = lr
        if scaler is not None:
            scaler.unscale_(self.torch_optimizer)
        limit = self.trial.max_grad_norm or float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        if scaler is None:
            self.torch_optimizer.step()
        else:
            scaler.step(self.torch_optimizer)
        self.torch_optimizer.zero_grad(set_to_none=True)
        return float(norm)

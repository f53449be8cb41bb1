"""What one trial trains with: the settings that may differ between adapters that share a base and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maquette.lora.kinds import DEFAULT_KIND
from maquette.project.optimizers import DEFAULT_OPTIMIZER, Value, optimizer_arguments
from maquette.project.settings import ObjectiveSettings, Settings


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """One adapter's size, rates, schedule, loss and seed."""

    kind: str = DEFAULT_KIND
    """What is trained: a name of `lora/kinds/`."""
    rank: int = 16
    alpha: float = 8.0
    conv_rank: int | None = None
    conv_alpha: float | None = None
    dropout: float = 0.0
    denoiser_lr: float = 1e-4
    text_encoder_lr: float = 5e-5
    schedule_lr: float = 1e-4
    optimizer: str = DEFAULT_OPTIMIZER
    optimizer_args: Mapping[str, Value] = field(default_factory=dict)
    """Those of its own arguments that are given, typed; see `project/optimizers.py`."""
    weight_decay: float = 0.01
    lr_scheduler: str = "cosine"
    warmup_steps: int = 0
    lr_cycles: int = 1
    lr_power: float = 1.0
    max_grad_norm: float = 1.0
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    """Noise, target and the weight of errors, as `[objective]` says them."""
    seed: int = 42
    family: Mapping[str, Any] = field(default_factory=dict)
    """What was given of the family's own settings beside these."""


def trial_of(settings: Settings) -> TrialSettings:
    """Return the one trial that ordinary training runs."""
    lora, training = settings.lora, settings.training
    return TrialSettings(
        rank=lora.rank,
        alpha=lora.alpha_in_force,
        conv_rank=lora.conv_rank,
        conv_alpha=lora.conv_alpha_in_force,
        dropout=lora.dropout,
        denoiser_lr=training.unet_lr_in_force,
        text_encoder_lr=training.text_encoder_lr_in_force,
        schedule_lr=training.learning_rate,
        optimizer=training.optimizer,
        optimizer_args=optimizer_arguments(training.optimizer, training.optimizer_args),
        weight_decay=training.weight_decay,
        lr_scheduler=training.lr_scheduler,
        warmup_steps=training.warmup_steps,
        lr_cycles=training.lr_cycles,
        lr_power=training.lr_power,
        max_grad_norm=training.max_grad_norm,
        objective=settings.objective,
        seed=training.seed,
        family=dict(settings.family.model_extra or {}),
    )

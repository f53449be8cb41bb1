"""What one trial trains with: the settings that may differ between adapters that share a base and its pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maquette.lora.kinds import DEFAULT_KIND
from maquette.project.layer_blocks import Rule, parse_blocks
from maquette.project.optimizers import DEFAULT_OPTIMIZER, Value, optimizer_arguments
from maquette.project.schedules import schedule_arguments
from maquette.project.settings import ObjectiveSettings, Settings, SubjectSettings

FIRST_ENCODER, SECOND_ENCODER = "text_encoder", "text_encoder_2"
"""How the dotted names of the text encoders' layers begin."""


@dataclass(frozen=True, kw_only=True)
class TrialSettings:
    """One adapter's size, rates, schedule, loss and seed."""

    kind: str = DEFAULT_KIND
    """What is trained: a name of `lora/kinds/`."""
    factor: int = -1
    """LoKr's."""
    rank: int = 16
    alpha: float = 8.0
    conv_rank: int | None = None
    conv_alpha: float | None = None
    dropout: float = 0.0
    rank_dropout: float = 0.0
    module_dropout: float = 0.0
    include_layers: tuple[str, ...] = ()
    exclude_layers: tuple[str, ...] = ()
    blocks: tuple[tuple[str, Rule], ...] = ()
    """Other sizes and rates for some layers: pattern and rule; see `project/layer_blocks.py`."""
    scale_weight_norms: float | None = None
    denoiser_lr: float = 1e-4
    text_encoder_lr: float = 5e-5
    text_encoder_2_lr: float | None = None
    """None: the same as of the first one."""
    loraplus_unet_lr_ratio: float | None = None
    loraplus_text_encoder_lr_ratio: float | None = None
    schedule_lr: float = 1e-4
    optimizer: str = DEFAULT_OPTIMIZER
    optimizer_args: Mapping[str, Value] = field(default_factory=dict)
    """Those of its own arguments that are given, typed; see `project/optimizers.py`."""
    weight_decay: float | None = None
    """None: the optimizer's own."""
    ema_decay: float | None = None
    lr_scheduler: str = "cosine"
    lr_scheduler_args: Mapping[str, Any] = field(default_factory=dict)
    """The schedule's own arguments, typed; see `project/schedules.py`."""
    warmup_steps: float = 0
    """Steps, or below 1 a share of all."""
    lr_decay_steps: float = 0
    """Likewise."""
    lr_cycles: int = 1
    lr_power: float = 1.0
    lr_timescale: int | None = None
    lr_min_ratio: float | None = None
    max_grad_norm: float = 1.0
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    """Noise, target and the weight of errors, as `[objective]` says them."""
    subject: SubjectSettings = field(default_factory=SubjectSettings)
    """Whom it learns: its trigger and class word."""
    seed: int = 42
    family: Mapping[str, Any] = field(default_factory=dict)
    """What was given of the family's own settings beside these."""


def trial_of(settings: Settings) -> TrialSettings:
    """Return the one trial that ordinary training runs."""
    lora, training = settings.lora, settings.training
    return TrialSettings(
        kind=lora.adapter,
        factor=lora.lokr_factor,
        rank=lora.rank,
        alpha=lora.alpha_in_force,
        conv_rank=lora.conv_rank,
        conv_alpha=lora.conv_alpha_in_force,
        dropout=lora.dropout,
        rank_dropout=lora.rank_dropout,
        module_dropout=lora.module_dropout,
        include_layers=lora.include_layers,
        exclude_layers=lora.exclude_layers,
        blocks=parse_blocks(lora.blocks),
        scale_weight_norms=lora.scale_weight_norms,
        denoiser_lr=training.unet_lr_in_force,
        text_encoder_lr=training.text_encoder_lr_in_force,
        text_encoder_2_lr=training.text_encoder_2_lr,
        loraplus_unet_lr_ratio=training.loraplus_unet_lr_ratio_in_force,
        loraplus_text_encoder_lr_ratio=training.loraplus_text_encoder_lr_ratio_in_force,
        schedule_lr=training.learning_rate,
        optimizer=training.optimizer,
        optimizer_args=optimizer_arguments(training.optimizer, training.optimizer_args),
        weight_decay=training.weight_decay,
        ema_decay=training.ema_decay,
        lr_scheduler=training.lr_scheduler,
        lr_scheduler_args=schedule_arguments(training.lr_scheduler, training.lr_scheduler_args),
        warmup_steps=training.warmup_steps,
        lr_decay_steps=training.lr_decay_steps,
        lr_cycles=training.lr_cycles,
        lr_power=training.lr_power,
        lr_timescale=training.lr_timescale,
        lr_min_ratio=training.lr_min_ratio,
        max_grad_norm=training.max_grad_norm,
        objective=settings.objective,
        subject=settings.subject,
        seed=training.seed,
        family=dict(settings.family.model_extra or {}),
    )

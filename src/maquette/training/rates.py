"""Which of a trial's weights train at which rate: a group of parameters each.

Groups follow one another as in sd-scripts: the text encoders', then the denoiser's; within each the ordinary weights, then those
that LoRA+ gives a higher rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from maquette.training.config import SECOND_ENCODER, TrialSettings

if TYPE_CHECKING:
    from maquette.lora.adapter import Leaf, LoraAdapter

PLUS = "_plus"


@dataclass(frozen=True)
class RateGroup:
    """Weights that train at one rate."""

    name: str
    """As metrics say it behind `lr_`: text_encoder, denoiser, denoiser_plus, denoiser_x0.5."""
    lr: float
    """The rate that the schedule moves."""
    parameters: tuple[nn.Parameter, ...]


def rate_groups(adapter: LoraAdapter, index: int, trial: TrialSettings) -> list[RateGroup]:
    """Return the groups of trial `index`, whose settings are `trial`."""
    places: dict[tuple[str, float], int] = {}
    members: dict[tuple[int, bool], list[nn.Parameter]] = {}
    told: dict[tuple[int, bool], tuple[str, float]] = {}
    for leaf in adapter.leaves_of(index):
        name, lr, ratio = _rate(leaf, trial)
        place = places.setdefault((name, lr), len(places))
        is_plus = leaf.is_plus and ratio is not None
        told[place, is_plus] = (name + PLUS, lr * (ratio or 1.0)) if is_plus else (name, lr)
        members.setdefault((place, is_plus), []).append(leaf.parameter)
    return [RateGroup(*told[place], tuple(members[place])) for place in sorted(members)]


def _rate(leaf: Leaf, trial: TrialSettings) -> tuple[str, float, float | None]:
    """Return a leaf's group, its rate without LoRA+, and LoRA+'s ratio for its part."""
    if leaf.part == "denoiser":
        name, lr, ratio = "denoiser", trial.denoiser_lr, trial.loraplus_unet_lr_ratio
    else:
        name, lr, ratio = "text_encoder", trial.text_encoder_lr, trial.loraplus_text_encoder_lr_ratio
        if leaf.component == SECOND_ENCODER and trial.text_encoder_2_lr is not None:
            name, lr = "text_encoder_2", trial.text_encoder_2_lr
    if leaf.lr_factor != 1.0:
        name, lr = f"{name}_x{leaf.lr_factor:g}", lr * leaf.lr_factor
    return name, lr, ratio

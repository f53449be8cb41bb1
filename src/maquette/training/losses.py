"""How far a prediction is from its target, element by element, as sd-scripts measures it.

Legend: B pictures of one trial, C H W latents; delta_B is where Huber and smooth L1 turn from squares to distances.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from maquette.project.settings import ObjectiveSettings

if TYPE_CHECKING:
    from maquette.families.protocol import Objective


def element_losses(
    wanted: ObjectiveSettings,
    objective: Objective,
    prediction_BCHW: Tensor,
    target_BCHW: Tensor,
    timesteps_B: Tensor,
) -> Tensor:
    """Return the loss of every element, float32 [B, C, H, W], as `wanted` measures it.

    Both Huber forms are pseudo-Huber: with error e, 2 delta (sqrt(e^2 + delta^2) - delta), which is e^2 for small errors and
    2 delta |e| for large ones; smooth L1 leaves out the first delta.
    """
    prediction, target = prediction_BCHW.float(), target_BCHW.float()
    if wanted.loss_type == "l2":
        return functional.mse_loss(prediction, target, reduction="none")
    if wanted.loss_type == "l1":
        return functional.l1_loss(prediction, target, reduction="none")
    delta = huber_thresholds(wanted, objective, timesteps_B).view(-1, *[1] * (prediction.dim() - 1))
    rounded = 2 * (torch.sqrt((prediction - target) ** 2 + delta**2) - delta)
    return delta * rounded if wanted.loss_type == "huber" else rounded


def huber_thresholds(wanted: ObjectiveSettings, objective: Objective, timesteps_B: Tensor) -> Tensor:
    """Return delta_B, float32: 1 where there is no noise and huber_c where there is nothing else, or the same everywhere.

    `huber_scale` has no effect on the schedule `snr`, as in sd-scripts.
    """
    c, scale = wanted.huber_c, wanted.huber_scale
    if wanted.huber_schedule == "constant":
        return torch.full(timesteps_B.shape, c * scale, device=timesteps_B.device)
    if wanted.huber_schedule == "exponential":
        return torch.exp(math.log(c) * objective.shares(timesteps_B)) * scale
    return (1 - c) / (1 + objective.noise_levels(timesteps_B)) ** 2 + c

"""The loss of one micro-step, for any family and any number of trials.

B pictures in a batch, P trials over one base; R = P * B rows, trial by trial: row p * B + b is picture b for trial p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from maquette.training.config import TrialSettings
from maquette.training.losses import element_losses

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel, Conditioning, Objective, PictureSize, Stage
    from maquette.training.masked import MaskRows


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What the denoiser sees in one micro-step. clean, noise: RCHW; timesteps: R; conditioning and sizes: R rows."""

    clean_RCHW: torch.Tensor
    noise_RCHW: torch.Tensor
    timesteps_R: torch.Tensor
    conditioning: Conditioning
    sizes: Sequence[PictureSize]
    regularization_R: torch.Tensor
    perturbation_RCHW: torch.Tensor | None = None
    """Noise that the pictures get and the target knows nothing of; None where there is none."""
    masks: MaskRows | None = None
    """How much each place counts; None where all of every picture does."""

    def noisy(self, objective: Objective) -> torch.Tensor:
        """Return noisy_RCHW, what the denoiser is shown."""
        noise = self.noise_RCHW
        if self.perturbation_RCHW is not None:
            noise = noise + self.perturbation_RCHW
        return objective.add_noise(self.clean_RCHW, noise, self.timesteps_R)


def per_row_losses(model: BaseModel, trials: Sequence[TrialSettings], rows: Rows) -> torch.Tensor:
    """Return the weighted loss of each row, float32 [R]; a trial's loss is the mean over its own.

    Order of the products as in sd-scripts: mean over the latent, times the picture's weight, times the timestep's.
    """
    objective = model.objective
    prediction = model.predict(rows.noisy(objective), rows.timesteps_R, rows.conditioning, rows.sizes)
    target = objective.target(rows.clean_RCHW, rows.noise_RCHW, rows.timesteps_R)
    errors_to = partial(row_errors, model, trials, prediction, timesteps_R=rows.timesteps_R)
    error_RCHW = errors_to(target)
    if rows.masks is not None:
        error_RCHW = rows.masks.weigh(trials, error_RCHW, errors_to)
    loss_R = error_RCHW.mean(dim=[1, 2, 3])
    return (
        loss_R
        * picture_weights(trials, rows.regularization_R)
        * timestep_weights(model, trials, rows.timesteps_R)
    )


def row_errors(
    model: BaseModel,
    trials: Sequence[TrialSettings],
    prediction_RCHW: torch.Tensor,
    target_RCHW: torch.Tensor,
    timesteps_R: torch.Tensor,
) -> torch.Tensor:
    """Return the loss of every element, float32 RCHW, each trial's rows measured as that trial measures them."""
    parts = (rows.chunk(len(trials)) for rows in (prediction_RCHW, target_RCHW, timesteps_R))
    return torch.cat(
        [
            element_losses(trial.objective, model.objective, *of_trial)
            for trial, of_trial in zip(trials, zip(*parts, strict=True), strict=True)
        ]
    )


def picture_weights(trials: Sequence[TrialSettings], regularization_R: torch.Tensor) -> torch.Tensor:
    """Return each row's weight, float32 [R]: its trial's prior_loss_weight for regularization pictures, else 1."""
    priors_P = torch.tensor(
        [trial.objective.prior_loss_weight for trial in trials], device=regularization_R.device
    )
    priors_R = priors_P.repeat_interleave(len(regularization_R) // len(trials))
    return torch.where(regularization_R, priors_R, torch.ones_like(priors_R))


def family_values(model: BaseModel, trial: TrialSettings, stage: Stage) -> dict[str, Any]:
    """Return what the trial gives to the family's own settings of a stage."""
    return model.spec.of_stage(stage, {**dict(trial.objective), **trial.family})


def timestep_weights(
    model: BaseModel, trials: Sequence[TrialSettings], timesteps_R: torch.Tensor
) -> torch.Tensor:
    """Return each row's weight for its timestep under its trial's settings of the loss, float32 [R]."""
    groups = timesteps_R.view(len(trials), -1)
    return torch.cat(
        [
            model.objective.loss_weights(timesteps_B, **family_values(model, trial, "loss"))
            for trial, timesteps_B in zip(trials, groups, strict=True)
        ]
    )

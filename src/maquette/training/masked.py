"""Masked loss: what of a picture is learned, and what holds the adapter to the base elsewhere.

Legend: R rows, trial by trial, of P trials; C H W latents. mask_R1HW in [0, 1]: 1 is learned, 0 is not.

    weight = max(mask, unmasked_weight)
    error  = weight · |prediction - target|²  +  prior weight · (1 - weight) · |prediction - base's prediction|²

Each row's error is then averaged over all elements, as in sd-scripts; with normalize_masked_area_loss each part is divided by
the mean of its weights before, so that a small subject counts as much as a large one. OneTrainer's settings mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from maquette.project.settings import ObjectiveSettings
from maquette.training.config import TrialSettings
from maquette.training.preservation import shown_captions
from maquette.training.randomness import generator_at

if TYPE_CHECKING:
    from maquette.families.protocol import Objective
    from maquette.training.base_prediction import BasePrediction
    from maquette.training.batches import Showing
    from maquette.training.objective import Rows


@dataclass(frozen=True, kw_only=True)
class MaskRows:
    """The masks of one micro-step's rows, and what the base predicts where a trial is held to it."""

    masks_R1HW: Tensor
    base_RCHW: Tensor | None = None
    """Zeros in rows that are not held to it; None where no row is."""

    def weigh(
        self, trials: Sequence[TrialSettings], errors_RCHW: Tensor, errors_to: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return the weighted errors RCHW; `errors_to` gives those of the same prediction to another target."""
        prior_RCHW = (
            errors_to(self.base_RCHW) if self.base_RCHW is not None else torch.zeros_like(errors_RCHW)
        )
        parts = (rows.chunk(len(trials)) for rows in (errors_RCHW, self.masks_R1HW, prior_RCHW))
        return torch.cat(
            [
                masked_errors(trial.objective, *of_trial)
                for trial, *of_trial in zip(trials, *parts, strict=True)
            ]
        )


def masked_errors(
    wanted: ObjectiveSettings, errors_BCHW: Tensor, masks_B1HW: Tensor, prior_BCHW: Tensor
) -> Tensor:
    """Return the errors of one trial's rows under their masks, with those to the base's prediction outside."""
    weights = masks_B1HW.clamp(min=wanted.unmasked_weight)
    masked = errors_BCHW * weights
    if wanted.normalize_masked_area_loss:
        masked = masked / _mean_or_one(weights)
    if not wanted.masked_prior_preservation_weight:
        return masked
    outside = 1 - weights
    held = prior_BCHW * outside * wanted.masked_prior_preservation_weight
    if wanted.normalize_masked_area_loss:
        held = held / _mean_or_one(outside)
    return masked + held


def with_masks(
    rows: Rows,
    showings: Sequence[Showing],
    objective: Objective,
    base: BasePrediction,
) -> Rows:
    """Return `rows` with the masks of the pictures shown, and what the base says where a trial is held to it.

    Either all of the batches have masks or none has.
    """
    parts = [_some_left_out(showing) for showing in showings if showing.batch.masks_B1HW is not None]
    if not parts:
        return rows
    masks = torch.cat(parts).to(rows.clean_RCHW.device)
    held = torch.nonzero(_held_to_base([showing.trial for showing in showings], masks)).flatten().tolist()
    if not held:
        return replace(rows, masks=MaskRows(masks_R1HW=masks))
    noisy, captions = rows.noisy(objective), shown_captions(showings)
    predicted = base.predict(
        noisy[held],
        rows.timesteps_R[held],
        [captions[row] for row in held],
        [rows.sizes[row] for row in held],
    )
    base_RCHW = torch.zeros(noisy.shape, dtype=predicted.dtype, device=predicted.device)
    base_RCHW[held] = predicted
    return replace(rows, masks=MaskRows(masks_R1HW=masks, base_RCHW=base_RCHW))


def _some_left_out(showing: Showing) -> Tensor:
    """Return a trial's own masks of a micro-step, each replaced by white with unmasked_probability."""
    trial, masks_B1HW = showing.trial, showing.batch.masks_B1HW
    assert masks_B1HW is not None
    share = trial.objective.unmasked_probability
    if share:
        drawn = torch.rand(len(masks_B1HW), generator=generator_at(trial.seed, "unmasked", showing.index))
        white = torch.ones_like(masks_B1HW)
        masks_B1HW = torch.where((drawn < share).view(-1, 1, 1, 1), white, masks_B1HW)
    return showing.batch.taken(masks_B1HW)


def _held_to_base(trials: Sequence[TrialSettings], masks_R1HW: Tensor) -> Tensor:
    """Return which rows are held to the base anywhere, bool [R]."""
    return torch.cat(
        [
            (masks.clamp(min=trial.objective.unmasked_weight) < 1).flatten(1).any(dim=1)
            & bool(trial.objective.masked_prior_preservation_weight)
            for trial, masks in zip(trials, masks_R1HW.chunk(len(trials)), strict=True)
        ]
    )


def _mean_or_one(weights_B1HW: Tensor) -> Tensor:
    """Return each row's mean weight; 1 where nothing is weighed, so that nothing stays nothing."""
    mean = weights_B1HW.mean(dim=(1, 2, 3), keepdim=True)
    return torch.where(mean > 0, mean, torch.ones_like(mean))

"""What a pass over the base is made of: for each trial its batch, its own noise and what its captions say, rows after rows.

Trials may be shown one and the same batch at one and the same step, as those of an ordinary run are, or each its own at its own
step, as the lanes of a pack are. R rows are P equal groups, in the order of the trials.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from maquette.training.base_prediction import BasePrediction
from maquette.training.batches import MicroBatch, Showing
from maquette.training.config import TrialSettings
from maquette.training.masked import with_masks
from maquette.training.noise import NoiseDraw, draw_noise
from maquette.training.objective import Rows, family_values, per_row_losses
from maquette.training.preservation import Preservation, shown_captions
from maquette.training.randomness import generator_at

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel, Conditioning
    from maquette.lora.adapter import LoraAdapter

Conditions = Callable[[Sequence[str]], "Conditioning"]

NoiseSource = Callable[[TrialSettings, int, torch.Tensor, "BaseModel"], NoiseDraw]
"""Noise and timesteps for a trial, a micro-step's index, its pictures' latents (clean_BCHW) and the model."""


def seeded_noise(trial: TrialSettings, index: int, clean_BCHW: torch.Tensor, model: BaseModel) -> NoiseDraw:
    """Return the noise that follows from the trial's seed and the micro-step's index alone."""
    options = family_values(model, trial, "noise")
    generator = generator_at(trial.seed, "noise", index)
    return draw_noise(clean_BCHW, model.objective, trial.objective, generator, options)


class Passes:
    """Makes passes over the base under the adapters that stand in it, and says what they cost each trial."""

    def __init__(
        self,
        model: BaseModel,
        adapter: LoraAdapter,
        placement: Placement,
        *,
        conditioning: Conditions,
        alone: Conditions,
        noise: NoiseSource = seeded_noise,
    ) -> None:
        """`conditioning` says what captions are with the adapters as they stand, `alone` where these stand aside."""
        self.model = model
        self.placement = placement
        self.noise = noise
        self._conditioning = conditioning
        self.base = BasePrediction(model, adapter, alone)
        self._preservation = Preservation(model, self.base, conditioning)

    def rows(self, showings: Sequence[Showing]) -> Rows:
        """Return what the denoiser is shown: every trial's pictures, each with its own noise."""
        conditioning = self._conditioning(shown_captions(showings))
        return rows_of(showings, conditioning, self.model, self.placement.device, self.noise)

    def losses(self, showings: Sequence[Showing]) -> tuple[Rows, torch.Tensor]:
        """Return the rows of a forward pass and their losses, float32 [P, B] with their gradient history."""
        rows = self.rows(showings)
        trials = [showing.trial for showing in showings]
        with self.placement.autocast():
            rows = with_masks(rows, showings, self.model.objective, self.base)
            return rows, per_row_losses(self.model, trials, rows).view(len(trials), -1)

    def preserved(self, rows: Rows, showings: Sequence[Showing]) -> torch.Tensor | None:
        """Return what holding the class to the base costs each trial, float32 [P]; None where no trial is held to it now."""
        if not any(showing.trial.objective.preservation for showing in showings):
            return None
        with self.placement.autocast():
            return self._preservation.losses(rows, showings)


def rows_of(
    showings: Sequence[Showing],
    conditioning: Conditioning,
    model: BaseModel,
    device: torch.device,
    noise: NoiseSource = seeded_noise,
) -> Rows:
    """Return the rows of a pass on `device`; each trial's noise is its own."""
    draws = [
        _own_draw(each.batch, noise(each.trial, each.index, each.batch.clean_BCHW, model))
        for each in showings
    ]
    batches = [each.batch for each in showings]
    return Rows(
        clean_RCHW=torch.cat([each.taken(each.clean_BCHW) for each in batches]).to(device),
        noise_RCHW=torch.cat([draw.noise_BCHW for draw in draws]).to(device),
        timesteps_R=torch.cat([draw.timesteps_B for draw in draws]).to(device),
        conditioning=conditioning,
        sizes=[size for each in batches for size in each.taken_of(each.sizes)],
        regularization_R=torch.cat([each.taken(each.regularization_B) for each in batches]).to(device),
        perturbation_RCHW=_perturbations(draws, device),
    )


def _own_draw(batch: MicroBatch, draw: NoiseDraw) -> NoiseDraw:
    """Return the own rows of what was drawn for the whole batch."""
    perturbation = draw.perturbation_BCHW
    return NoiseDraw(
        batch.taken(draw.noise_BCHW),
        batch.taken(draw.timesteps_B),
        None if perturbation is None else batch.taken(perturbation),
    )


def _perturbations(draws: Sequence[NoiseDraw], device: torch.device) -> torch.Tensor | None:
    """Return perturbation_RCHW of all trials' draws, zero for those without one; None where no trial has any."""
    if all(draw.perturbation_BCHW is None for draw in draws):
        return None
    parts = [
        torch.zeros_like(draw.noise_BCHW) if draw.perturbation_BCHW is None else draw.perturbation_BCHW
        for draw in draws
    ]
    return torch.cat(parts).to(device)

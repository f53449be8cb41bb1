"""`[objective]`: the noise that pictures get, what the model is to say of it, and how much each error weighs."""

from __future__ import annotations

from pydantic import Field

from maquette.project.fields import Section


class ObjectiveSettings(Section):
    """`[objective]`: what is learned from each picture: its noise, its target, the weight of its error."""

    min_snr_gamma: float | None = Field(
        None, gt=0, description="Min-SNR loss weighting; 5 is usual. Default: off."
    )
    noise_offset: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Adds a constant per channel to the noise; 0.05 helps dark and bright pictures.",
    )
    prior_loss_weight: float = Field(1.0, ge=0, description="Loss weight of regularization pictures.")

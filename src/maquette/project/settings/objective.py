"""`[objective]`: the noise that pictures get, what the model is to say of it, and how much each error weighs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from maquette.project.fields import Section

StatedPrediction = Literal["auto", "epsilon", "v"]
LossType = Literal["l2", "l1", "huber", "smooth_l1"]
HuberSchedule = Literal["snr", "constant", "exponential"]
TimestepSampling = Literal["family", "uniform", "sigmoid", "shift", "beta"]

SHORTENED_CAPTIONS = 0.3
"""Share of showings with a shortened caption where the class is held to the base."""


class ObjectiveSettings(Section):
    """`[objective]`: what is learned from each picture: its noise, its target, the weight of its error."""

    prediction: StatedPrediction = Field(
        "auto",
        description="What the base predicts: epsilon (the noise) or v (the velocity). auto: what its file says, else epsilon.",
    )
    zero_terminal_snr: bool | None = Field(
        None,
        description="Noise schedule whose last timestep is pure noise. Default: what the base's file says.",
    )
    check_prediction: bool = Field(
        True,
        description="Measure before the first step whether the base predicts what is trained, where its file does not say.",
    )
    loss_type: LossType = Field(
        "l2",
        description="How errors are measured: l2 squares them; l1, huber and smooth_l1 count large ones less.",
    )
    huber_schedule: HuberSchedule = Field(
        "snr",
        description="How the threshold of huber and smooth_l1 follows the noise: snr and exponential let it fall as the "
        "noise grows.",
    )
    huber_c: float = Field(
        0.1, gt=0, description="Threshold of huber and smooth_l1 where the noise is strongest."
    )
    huber_scale: float = Field(
        1.0, gt=0, description="The threshold times this, with huber_schedule constant or exponential."
    )
    min_snr_gamma: float | None = Field(
        None, gt=0, description="Min-SNR loss weighting; 5 is usual. Default: off."
    )
    scale_v_pred_loss_like_noise_pred: bool = Field(
        False, description="Weight v-prediction's loss by SNR / (SNR + 1), as if the noise were predicted."
    )
    v_pred_like_loss: float | None = Field(
        None,
        gt=0,
        description="Adds this times the loss that v-prediction would have; for a base that predicts the noise.",
    )
    debiased_estimation_loss: bool = Field(
        False, description="Loss weighting by 1 / sqrt(SNR), or 1 / (SNR + 1) for v-prediction."
    )
    min_timestep: float | None = Field(
        None,
        ge=0,
        description="Train from this timestep on, in the family's own count (0 to 1000 for Stable Diffusion). Default: from "
        "the least noise.",
    )
    max_timestep: float | None = Field(
        None, ge=0, description="Train up to this timestep, which is not drawn itself. Default: pure noise."
    )
    timestep_sampling: TimestepSampling = Field(
        "family",
        description="How often each timestep is drawn. family: as the base's family does, uniform for Stable Diffusion.",
    )
    sigmoid_scale: float = Field(
        1.0, gt=0, description="Width of timestep_sampling sigmoid and shift: below 1 gathers in the middle."
    )
    timestep_shift: float = Field(
        3.0, gt=0, description="Of timestep_sampling shift: above 1 draws more noise, below 1 less."
    )
    timestep_beta: tuple[float, float] = Field(
        (0.6, 0.6),
        description="Of timestep_sampling beta: the two exponents; equal ones below 1 favour both ends.",
    )
    noise_offset: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Adds a constant per channel to the noise; 0.05 helps dark and bright pictures.",
    )
    noise_offset_random_strength: bool = Field(
        False, description="Draw the offset's strength between 0 and noise_offset for each batch."
    )
    adaptive_noise_scale: float | None = Field(
        None,
        description="Adds this times each channel's mean (without its sign) to noise_offset. Default: off.",
    )
    multires_noise_iterations: int = Field(
        0,
        ge=0,
        le=64,
        description="Adds noise of this many coarser sizes (pyramid noise); 6 is usual, 0 is off.",
    )
    multires_noise_discount: float = Field(
        0.3, ge=0, le=1, description="Strength of each coarser size against the one before it."
    )
    ip_noise_gamma: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Input perturbation: noise this strong that the target does not tell of; 0.1 is usual, 0 is off.",
    )
    ip_noise_gamma_random_strength: bool = Field(
        False, description="Draw its strength between 0 and ip_noise_gamma for each batch."
    )
    prior_loss_weight: float = Field(1.0, ge=0, description="Loss weight of regularization pictures.")
    unmasked_weight: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Least weight of an error outside a picture's mask; 0: nothing is learned there.",
    )
    unmasked_probability: float = Field(
        0.0, ge=0, le=1, description="Share of showings in which a picture's mask is left out."
    )
    normalize_masked_area_loss: bool = Field(
        False,
        description="Divide each picture's loss by the mean of its mask: a small subject counts as much as a large one.",
    )
    masked_prior_preservation_weight: float = Field(
        0.0,
        ge=0,
        description="Outside the mask, weight of what keeps the base's own prediction there: a second pass over the base at "
        "each step.",
    )

    preservation: float = Field(
        0.0,
        ge=0,
        description="Against leak: weight of a second pass that holds the class word, in the trigger's place, to what the base "
        "draws. 8 is what was tried, 0 is off. Needs trigger and class_word, and a text encoder that learns fast: raise "
        "text_encoder_lr with it.",
    )
    preservation_every: int = Field(
        3,
        ge=1,
        description="Take that second pass on every Nth forward pass: 1 protects most and costs most.",
    )
    shortened_captions: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of showings whose caption is the trigger with some of its other parts, half of the time with none, so "
        "that no other words are needed to draw the subject. Default: 0.3 with preservation, else 0.",
    )

    @property
    def shortened_captions_in_force(self) -> float:
        """The share as given; else what preservation needs."""
        if self.shortened_captions is None:
            return SHORTENED_CAPTIONS if self.preservation else 0.0
        return self.shortened_captions

    @field_validator("max_timestep")
    @classmethod
    def _above_the_least(cls, most: float | None, others: ValidationInfo) -> float | None:
        least = others.data.get("min_timestep")
        if most is not None and least is not None and most < least:
            raise ValueError(f"max_timestep {most:g} is below min_timestep {least:g}")
        return most

    @field_validator("timestep_beta")
    @classmethod
    def _above_zero(cls, exponents: tuple[float, float]) -> tuple[float, float]:
        if min(exponents) <= 0:
            raise ValueError("both exponents must be above 0")
        return exponents

"""Settings that families with CLIP text models and a noise schedule have of their own."""

from __future__ import annotations

from maquette.families.protocol import FamilyOption

NUM_TIMESTEPS = 1000
"""Steps of the noise schedule."""


def clip_options(*, clip_skip: int, fixed: bool = False) -> tuple[FamilyOption, ...]:
    """Return them; `clip_skip` is the family's default, and the only one it knows where it is `fixed`."""
    return (
        FamilyOption(
            name="clip_skip",
            default=clip_skip,
            stage="text",
            least=1,
            most=12,
            fixed=fixed,
            label="Clip skip",
            help="Text layer counted from the end whose output conditions the picture; 1 is the last.",
        ),
        FamilyOption(
            name="max_token_length",
            default=75,
            stage="tokens",
            choices=(75, 150, 225),
            help="Tokens of a caption that are read.",
        ),
        FamilyOption(
            name="weighted_captions",
            default=False,
            stage="tokens",
            choices=(False, True),
            help="Reads (word:1.2) and [word] in captions as emphasis.",
        ),
        FamilyOption(
            name="min_snr_gamma",
            default=None,
            stage="loss",
            least=0,
            help="Weights each timestep's loss by min(SNR, gamma) / SNR (arXiv:2303.09556).",
        ),
        FamilyOption(
            name="scale_v_pred_loss_like_noise_pred",
            default=False,
            stage="loss",
            help="Weights v-prediction's loss by SNR / (SNR + 1), as if the noise were predicted.",
        ),
        FamilyOption(
            name="v_pred_like_loss",
            default=None,
            stage="loss",
            least=0,
            help="Adds this times the loss that v-prediction would have; for a base that predicts the noise.",
        ),
        FamilyOption(
            name="debiased_estimation_loss",
            default=False,
            stage="loss",
            help="Weights each timestep's loss by 1 / sqrt(SNR), or 1 / (SNR + 1) for v-prediction (arXiv:2310.08442).",
        ),
        FamilyOption(
            name="min_timestep",
            default=None,
            stage="noise",
            least=0,
            most=NUM_TIMESTEPS - 1,
            whole=True,
            help="The timestep with the least noise that is trained.",
        ),
        FamilyOption(
            name="max_timestep",
            default=None,
            stage="noise",
            least=0,
            most=NUM_TIMESTEPS,
            whole=True,
            help="Timesteps below it are trained.",
        ),
    )

"""The denoiser of Stable Diffusion 1.x: noisy latent, timestep, text."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from maquette.families.common.conditioning import ClipText
from maquette.families.common.model import LatentDiffusionModel
from maquette.families.protocol import PictureSize


def predict(
    model: LatentDiffusionModel,
    noisy_BCHW: Tensor,
    timesteps_B: Tensor,
    conditioning: ClipText,
    sizes: Sequence[PictureSize] | None,
) -> Tensor:
    """Return prediction_BCHW. SD 1.x does not know picture sizes: `sizes` changes nothing."""
    del sizes
    return model.denoiser(
        noisy_BCHW.to(model.device, model.dtype),
        timesteps_B.to(model.device),
        encoder_hidden_states=conditioning.text_BTD.to(model.device, model.dtype),
        return_dict=False,
    )[0]

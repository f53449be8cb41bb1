"""The denoiser of Stable Diffusion XL: noisy latent, timestep, text, pooled text and picture sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from maquette.families.common.conditioning import ClipText
from maquette.families.common.model import LatentDiffusionModel
from maquette.families.protocol import PictureSize
from maquette.families.sdxl.spec import NUM_SIZES


def predict(
    model: LatentDiffusionModel,
    noisy_BCHW: Tensor,
    timesteps_B: Tensor,
    conditioning: ClipText,
    sizes: Sequence[PictureSize] | None,
) -> Tensor:
    """Return prediction_BCHW; without `sizes` a picture counts as uncropped, of the latent's own size."""
    assert conditioning.pooled_BD is not None, "SDXL needs the pooled text"
    extra = {
        "text_embeds": conditioning.pooled_BD.to(model.device, model.dtype),
        "time_ids": size_numbers(model, noisy_BCHW, sizes),
    }
    return model.denoiser(
        noisy_BCHW.to(model.device, model.dtype),
        timesteps_B.to(model.device),
        encoder_hidden_states=conditioning.text_BTD.to(model.device, model.dtype),
        added_cond_kwargs=extra,
        return_dict=False,
    )[0]


def size_numbers(
    model: LatentDiffusionModel, noisy_BCHW: Tensor, sizes: Sequence[PictureSize] | None
) -> Tensor:
    """Return float32 [B, 6]: original h w, crop top left, target h w, in pixels."""
    rows, _, height_latent, width_latent = noisy_BCHW.shape
    if sizes is None:
        whole = (height_latent * model.info.vae_factor, width_latent * model.info.vae_factor)
        sizes = [PictureSize(whole, (0, 0), whole)] * rows
    assert len(sizes) == rows, f"{len(sizes)} picture sizes for {rows} latents"
    numbers = [(*size.original_hw, *size.crop_top_left, *size.target_hw) for size in sizes]
    return torch.tensor(numbers, dtype=torch.float32, device=model.device).reshape(rows, NUM_SIZES)

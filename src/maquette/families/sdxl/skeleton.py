"""Stable Diffusion XL without weights: its networks on the meta device, of any sizes."""

from __future__ import annotations

from maquette.families.common.describe import layout_info
from maquette.families.common.layout import ModelLayout, text_config, unet_config, vae_config
from maquette.families.common.model import LatentDiffusionModel
from maquette.families.common.modules import empty_text_encoder, empty_unet, empty_vae
from maquette.families.common.tokenizer import clip_tokenizer
from maquette.families.sdxl.load import STEPS, size_conditioning
from maquette.families.sdxl.spec import ACTIVATIONS, HEAD_WIDTH, SECOND_PAD_ID, SPEC


def skeleton(layout: ModelLayout) -> LatentDiffusionModel:
    """Return the networks of `layout` without weights."""
    first, second = layout.texts
    heads = tuple(max(1, channels // HEAD_WIDTH) for channels in layout.unet.block_channels)
    extras = size_conditioning(layout.unet, second.projection_width, "layout")
    tokenizer = clip_tokenizer()
    return LatentDiffusionModel(
        info=layout_info(SPEC, layout),
        spec=SPEC,
        steps=STEPS,
        denoiser=empty_unet({**unet_config(layout.unet, heads), **extras}),
        text_encoders=(
            empty_text_encoder(text_config(first, ACTIVATIONS[0]), projection=False),
            empty_text_encoder(text_config(second, ACTIVATIONS[1]), projection=True),
        ),
        vae=empty_vae(vae_config(layout.vae, SPEC.latent_scale)),
        tokenizers=(tokenizer, tokenizer.with_pad(SECOND_PAD_ID)),
        latent_scale=SPEC.latent_scale,
    )

"""Stable Diffusion 1.x without weights: its networks on the meta device, of any sizes."""

from __future__ import annotations

from maquette.families.common.describe import layout_info
from maquette.families.common.layout import ModelLayout, text_config, unet_config, vae_config
from maquette.families.common.model import LatentDiffusionModel
from maquette.families.common.modules import empty_text_encoder, empty_unet, empty_vae
from maquette.families.common.one_encoder import STEPS
from maquette.families.common.tokenizer import clip_tokenizer
from maquette.families.sd1.spec import ACTIVATION, NUM_HEADS, SPEC


def skeleton(layout: ModelLayout) -> LatentDiffusionModel:
    """Return the networks of `layout` without weights."""
    (text,) = layout.texts
    return LatentDiffusionModel(
        info=layout_info(SPEC, layout),
        spec=SPEC,
        steps=STEPS,
        denoiser=empty_unet(unet_config(layout.unet, (NUM_HEADS,) * layout.unet.levels)),
        text_encoders=(empty_text_encoder(text_config(text, ACTIVATION), projection=False),),
        vae=empty_vae(vae_config(layout.vae, SPEC.latent_scale)),
        tokenizers=(clip_tokenizer(),),
        latent_scale=SPEC.latent_scale,
    )

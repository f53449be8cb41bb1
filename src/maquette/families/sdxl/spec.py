"""Stable Diffusion XL (base): its constants."""

from __future__ import annotations

from maquette.families.protocol import FamilySpec

SPEC = FamilySpec(
    name="sdxl",
    title="Stable Diffusion XL",
    native_resolution_px=1024,
    latent_scale=0.13025,
    default_clip_skip=2,
    clip_skip_is_fixed=True,
    modelspec_architecture="stable-diffusion-xl-v1-base/lora",
    ss_base_model_version="sdxl_base_v1-0",
    default_sampler="euler_ancestral",
    default_guidance=6.0,
    half_precision_vae=False,
)
HEAD_WIDTH = 64
"""Channels per attention head of the U-Net."""
ACTIVATIONS = ("quick_gelu", "gelu")
"""Of the text encoders: OpenAI's CLIP ViT-L/14 and OpenCLIP's ViT-bigG/14."""
SECOND_PAD_ID = 0
"""The second encoder's texts are padded with id 0 ('!'), as OpenCLIP pads."""
NUM_SIZES = 6
"""Numbers in a picture's size conditioning: original h w, crop top left, target h w."""
PIPELINES = (
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
)
"""Diffusers pipelines that can hold this family."""

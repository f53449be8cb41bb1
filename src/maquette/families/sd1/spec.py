"""Stable Diffusion 1.x: its constants."""

from __future__ import annotations

from maquette.families.protocol import FamilySpec

SPEC = FamilySpec(
    name="sd1",
    title="Stable Diffusion 1.x",
    native_resolution_px=512,
    latent_scale=0.18215,
    default_clip_skip=1,
    modelspec_architecture="stable-diffusion-v1/lora",
    ss_base_model_version="sd_v1",
    default_sampler="euler_ancestral",
    default_guidance=7.5,
)
NUM_HEADS = 8
"""Attention heads at every level of the U-Net."""
ACTIVATION = "quick_gelu"
"""Of the text encoder: OpenAI's CLIP ViT-L/14."""
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
"""Diffusers pipelines that can hold this family."""

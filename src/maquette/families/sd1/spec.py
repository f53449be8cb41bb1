"""Stable Diffusion 1.x: its constants."""

from __future__ import annotations

from maquette.families.common.clip_options import clip_options
from maquette.families.common.layer_sets import block_names, layer_sets
from maquette.families.common.layout import ModelLayout, TextLayout, UnetLayout, VaeLayout
from maquette.families.common.samplers import ELSEWHERE, SAMPLER_NAMES
from maquette.families.protocol import FamilySpec

HUB_NAMES = (
    "runwayml/stable-diffusion-v1-5",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "benjamin-paine/stable-diffusion-v1-5",
    "CompVis/stable-diffusion-v1-1",
    "CompVis/stable-diffusion-v1-2",
    "CompVis/stable-diffusion-v1-3",
    "CompVis/stable-diffusion-v1-4",
    "Lykon/DreamShaper",
    "Lykon/dreamshaper-7",
    "Lykon/dreamshaper-8",
    "Lykon/AbsoluteReality",
    "SG161222/Realistic_Vision_V4.0_noVAE",
    "SG161222/Realistic_Vision_V5.1_noVAE",
    "SG161222/Realistic_Vision_V6.0_B1_noVAE",
    "emilianJR/epiCRealism",
    "XpucT/Deliberate",
    "hakurei/waifu-diffusion",
    "prompthero/openjourney",
    "nitrosocke/Ghibli-Diffusion",
    "nitrosocke/mo-di-diffusion",
    "stablediffusionapi/anything-v5",
    "Linaqruf/anything-v3.0",
    "gsdf/Counterfeit-V2.5",
    "gsdf/Counterfeit-V3.0",
)
"""Models of this family on the hub that people train on."""
SPEC = FamilySpec(
    name="sd1",
    title="Stable Diffusion 1.x",
    native_resolution_px=512,
    latent_scale=0.18215,
    modelspec_architecture="stable-diffusion-v1/lora",
    ss_base_model_version="sd_v1",
    default_sampler="euler",
    samplers=SAMPLER_NAMES,
    samplers_elsewhere=ELSEWHERE,
    options=clip_options(clip_skip=1),
    default_guidance=7.5,
    layer_sets=layer_sets(4),
    blocks=block_names(4),
    reference_blocks=(
        "",
        *(f"IN{number:02}" for number in range(1, 12)),
        "MID",
        *(f"OUT{number:02}" for number in range(12)),
    ),
    training_scripts=("train_network.py",),
    name_pattern=r"sd[-_. ]?v?1[-_.]?[0-9]|stable-diffusion-v1|(^|[^0-9])v1[-_.]?[45]([^0-9]|$)",
    plain_name_pattern=r"^(sd|stable[-_. ]?diffusion)?[-_. ]?v?1[-_. ]?[45]([-_. ](pruned|ema|emaonly|fp16|base|no))*$",
    hub_names=HUB_NAMES,
    file_words=r"(?<![a-z])(?:sd[ _.-]?(?:v?1[ _.-]?[45]|v?1)|v1[ _.-]?[45])(?!\d)",
    civitai_version="SD 1.5",
    webui_version="SD1",
    download_bytes=4_270_000_000,
)
NUM_HEADS = 8
"""Attention heads at every level of the U-Net."""
ACTIVATION = "quick_gelu"
"""Of the text encoder: OpenAI's CLIP ViT-L/14."""
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
"""Diffusers pipelines that can hold this family."""
PUBLISHED = ModelLayout(
    SPEC.name,
    UnetLayout(4, 4, (320, 640, 1280, 1280), 2, (1, 1, 1, 0), 1, 768, False, 1280, 0),
    VaeLayout(3, 4, (128, 256, 512, 512), 2),
    (TextLayout(49408, 77, 768, 3072, 12, 0),),
)
"""Sizes of U-Net, VAE and text encoder as published."""

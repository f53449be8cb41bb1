"""Stable Diffusion XL (base): its constants."""

from __future__ import annotations

from maquette.families.common.clip_options import clip_options
from maquette.families.common.layer_sets import block_names, layer_sets
from maquette.families.common.layout import ModelLayout, TextLayout, UnetLayout, VaeLayout
from maquette.families.common.samplers import ELSEWHERE, SAMPLER_NAMES
from maquette.families.protocol import FamilySpec

HUB_NAMES = (
    "stabilityai/stable-diffusion-xl-base-1.0",
    "stabilityai/stable-diffusion-xl-base-0.9",
    "SG161222/RealVisXL_V3.0",
    "SG161222/RealVisXL_V4.0",
    "SG161222/RealVisXL_V5.0",
    "RunDiffusion/Juggernaut-XL-v9",
    "RunDiffusion/Juggernaut-X-v10",
    "RunDiffusion/Juggernaut-XI-v11",
    "Lykon/dreamshaper-xl-1-0",
    "Linaqruf/animagine-xl",
    "Linaqruf/animagine-xl-2.0",
    "cagliostrolab/animagine-xl-3.0",
    "cagliostrolab/animagine-xl-3.1",
    "cagliostrolab/animagine-xl-4.0",
    "OnomaAIResearch/Illustrious-xl-early-release-v0",
    "OnomaAIResearch/Illustrious-XL-v1.0",
    "Laxhar/noobai-XL-1.0",
    "Laxhar/noobai-XL-1.1",
)
"""Models of this family on the hub that people train on."""
SPEC = FamilySpec(
    name="sdxl",
    title="Stable Diffusion XL",
    native_resolution_px=1024,
    latent_scale=0.13025,
    modelspec_architecture="stable-diffusion-xl-v1-base/lora",
    ss_base_model_version="sdxl_base_v1-0",
    ss_marks_v=False,
    default_sampler="euler",
    samplers=SAMPLER_NAMES,
    samplers_elsewhere=ELSEWHERE,
    options=clip_options(clip_skip=2, fixed=True),
    default_guidance=6.0,
    half_precision_vae=False,
    layer_sets={
        **layer_sets(3),
        # B-LoRA (arXiv:2403.14572): what is shown, and how, lie in two attention blocks.
        "blora-content": ("unet.up_blocks.0.attentions.0",),
        "blora-style": ("unet.up_blocks.0.attentions.1",),
    },
    blocks=block_names(3),
    reference_blocks=(
        "",
        "",
        *(f"IN{number:02}" for number in range(1, 9)),
        "mid_block.resnets.0",
        "mid_block.attentions.0",
        "mid_block.resnets.1",
        *(f"OUT{number:02}" for number in range(9)),
        "",
    ),
    training_scripts=("sdxl_train_network.py",),
    name_pattern=r"(?-i:XL(?![a-z]))|(?-i:(?<![a-z])(sd|sd_)?xl(?![a-z]))|pony|illustrious|noobai",
    hub_names=HUB_NAMES,
    hub_names_of_v=(
        "Laxhar/noobai-XL-Vpred-0.5",
        "Laxhar/noobai-XL-Vpred-0.65",
        "Laxhar/noobai-XL-Vpred-1.0",
    ),
    file_words=r"(?<![a-z])(?:sd[ _.-]?)?xl(?![a-z])|pony(?:xl|v6)|illustrious|noobai",
    key_names_source="https://github.com/Stability-AI/generative-models",
    civitai_version="SDXL 1.0",
    webui_version="SDXL",
    download_bytes=6_940_000_000,
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
PUBLISHED = ModelLayout(
    SPEC.name,
    UnetLayout(4, 4, (320, 640, 1280), 2, (0, 2, 10), 10, 768 + 1280, True, 1280, 1280 + 6 * 256),
    VaeLayout(3, 4, (128, 256, 512, 512), 2),
    (TextLayout(49408, 77, 768, 3072, 12, 0), TextLayout(49408, 77, 1280, 5120, 32, 1280)),
)
"""Sizes of U-Net, VAE and both text encoders as published."""

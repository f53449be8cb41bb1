"""A plain loop's side of `train_step.py`: diffusers' models, PEFT's layers, torch's AdamW, nothing else.

Arguments: base, picture, resolution, rank, steps, caption. It does what `maquette train` does with fp32, batch 1, text encoder
trained, cached latents.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler
from peft import LoraConfig, inject_adapter_in_model
from PIL import Image
from side import noise_of, told_of_step

from maquette import families  # only to read the single file

UNET = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def main() -> None:
    """Train for a few steps and tell each."""
    base, picture, caption = sys.argv[1], Path(sys.argv[2]), sys.argv[6]
    resolution, rank, steps = (int(word) for word in sys.argv[3:6])
    model = families.load(base, dtype=torch.float32)
    clean = encode(model, picture, resolution)
    model.vae.to("meta")
    for module, targets in ((model.denoiser, UNET), (model.text_encoders[0], TEXT)):
        module.requires_grad_(False)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank // 2, target_modules=targets), module)
    modules = (model.denoiser, model.text_encoders[0])
    parameters = [each for module in modules for each in module.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    noising = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    for step in range(steps):
        noise, timestep = noise_of(step, clean.shape)
        text = model.encode_text(model.tokenize([caption]), clip_skip=1).text_BTD
        noisy = noising.add_noise(clean, noise, timestep)
        prediction = model.denoiser(noisy, timestep, text, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(prediction, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        told_of_step(step + 1, loss.item(), steps)


@torch.no_grad()
def encode(model: families.BaseModel, path: Path, resolution: int) -> torch.Tensor:
    """Return the middle of the posterior of one picture, scaled as it is trained on."""
    pixels = np.asarray(Image.open(path).convert("RGB").resize((resolution, resolution)), np.float32)
    pixels_BCHW = torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)[None]
    return model.vae.encode(pixels_BCHW).latent_dist.mean * model.vae.config.scaling_factor


if __name__ == "__main__":
    main()

"""The loop to compare with: diffusers' models, PEFT's layers, torch's AdamW, nothing else.

It does the work of `maquette train` with fp32, batch 1, text encoder trained, cached latents; prints one JSON line.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
from pathlib import Path  # noqa: E402
from statistics import median  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers import DDPMScheduler  # noqa: E402
from peft import LoraConfig, inject_adapter_in_model  # noqa: E402
from PIL import Image  # noqa: E402

from maquette import families  # noqa: E402  (only to read the single file)

UNET = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def main() -> None:
    """Train for a few steps and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("base", str), ("pictures", Path), ("resolution", int), ("rank", int), ("steps", int)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    given = parser.parse_args()
    model = families.load(given.base, dtype=torch.float32)
    latents = [
        encode(model, path, given.resolution) for path in sorted(given.pictures.rglob("*.png"))[: given.steps]
    ]
    model.vae.to("meta")
    for module, targets in ((model.denoiser, UNET), (model.text_encoders[0], TEXT)):
        module.requires_grad_(False)
        inject_adapter_in_model(
            LoraConfig(r=given.rank, lora_alpha=given.rank // 2, target_modules=targets), module
        )
    parameters = [
        p
        for module in (model.denoiser, model.text_encoders[0])
        for p in module.parameters()
        if p.requires_grad
    ]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    noising = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    seconds, first = [], 0.0
    for clean in latents:
        began = time.perf_counter()
        noise, timestep = torch.randn_like(clean), torch.randint(0, 1000, (1,))
        text = model.encode_text(model.tokenize(["portrait of bespoke punk"]), clip_skip=1).text_BTD
        prediction = model.denoiser(
            noising.add_noise(clean, noise, timestep), timestep, text, return_dict=False
        )[0]
        loss = torch.nn.functional.mse_loss(prediction, noise)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - began)
        first = first or time.perf_counter() - STARTED
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer = {
        "seconds_per_step": median(seconds[1:]),
        "start_to_first_step_s": first,
        "peak_memory_bytes": peak,
    }
    print(json.dumps(answer))


@torch.no_grad()
def encode(model: families.BaseModel, path: Path, resolution: int) -> torch.Tensor:
    """Return the latent of one picture, squeezed to a square."""
    pixels = (
        np.asarray(Image.open(path).convert("RGB").resize((resolution, resolution)), np.float32) / 127.5 - 1
    )
    return model.encode_pictures(
        torch.from_numpy(pixels).permute(2, 0, 1)[None], generator=torch.Generator().manual_seed(0)
    )


if __name__ == "__main__":
    main()

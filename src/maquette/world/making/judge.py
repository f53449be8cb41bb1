"""Stage judge: reads attributes off renders and off what the autoencoder makes of them.

A judge trained on renders alone fails on the slightly soft pictures that a latent model draws.
Tensor shapes: B pictures, C channels, H rows, W columns.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from maquette.files import replacing
from maquette.world.attributes import ATTRIBUTE_VALUES
from maquette.world.judge import JudgeNetwork
from maquette.world.making.data import Pictures, to_float
from maquette.world.making.loop import Say, TimedLoop, read_modules

BATCH = 32
LEARNING_RATE = 2e-3
NUM_REDRAWN = 12_000


@torch.no_grad()
def redraw(
    vae: AutoencoderKL, pictures: Pictures, path: Path, say: Say, count: int = NUM_REDRAWN
) -> np.ndarray:
    """Return uint8 [count, 64, 64, 3]: the first pictures through the autoencoder, kept in `path`."""
    if not path.exists():
        say(f"redrawing {count:,} pictures through the autoencoder")
        drawn_NHWC = np.empty((count, 64, 64, 3), np.uint8)
        for start in range(0, count, 50):
            pixels_BCHW = pictures.batch(torch.arange(start, start + 50))
            with torch.autocast("cpu", dtype=torch.bfloat16):
                drawn_BCHW = vae.decode(vae.encode(pixels_BCHW).latent_dist.sample()).sample.float()
            bytes_BHWC = ((drawn_BCHW.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
            drawn_NHWC[start : start + 50] = bytes_BHWC.numpy()
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, drawn_NHWC)
    return np.load(path, mmap_mode="r")


def _disturbed(pixels_BCHW: torch.Tensor) -> torch.Tensor:
    """Return the pictures moved by up to two pixels, a third of the batch softened, some with noise."""
    down, right = (int(step) for step in torch.randint(-2, 3, (2,)))
    padded_BCHW = F.pad(pixels_BCHW, (2, 2, 2, 2), mode="replicate")
    height, width = pixels_BCHW.shape[2:]
    pixels_BCHW = padded_BCHW[:, :, 2 + down : 2 + down + height, 2 + right : 2 + right + width].clone()
    soft = len(pixels_BCHW) // 3
    small_BCHW = F.interpolate(pixels_BCHW[:soft], scale_factor=0.6, mode="bilinear", antialias=True)
    pixels_BCHW[:soft] = F.interpolate(small_BCHW, size=(height, width), mode="bilinear")
    return pixels_BCHW + torch.randn_like(pixels_BCHW) * 0.06 * torch.rand(len(pixels_BCHW), 1, 1, 1)


def train_judge(
    pictures: Pictures, redrawn_NHWC: np.ndarray, path: Path, minutes: float, say: Say
) -> JudgeNetwork:
    """Return the judge trained for `minutes`, resumed from `path`: two thirds renders, a third redrawn pictures."""
    torch.manual_seed(5)
    network = JudgeNetwork()
    loop = TimedLoop({"judge": network}, path, minutes=minutes, learning_rate=LEARNING_RATE, say=say)
    torch.manual_seed(5 + loop.step)
    held_out = 1024
    for _ in loop.steps():
        render_B = torch.randint(len(pictures) - held_out, (BATCH * 2 // 3,))
        redrawn_B = torch.randint(len(redrawn_NHWC), (BATCH - len(render_B),))
        pixels_BCHW = torch.cat(
            [pictures.batch(render_B), to_float(torch.from_numpy(redrawn_NHWC[redrawn_B.numpy()]))]
        )
        labels_BA = pictures.labels_NA[torch.cat([render_B, redrawn_B])]
        order_B = torch.randperm(BATCH)
        pixels_BCHW, labels_BA = _disturbed(pixels_BCHW[order_B]), labels_BA[order_B]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(pixels_BCHW)
        losses = [F.cross_entropy(told.float(), labels_BA[:, index]) for index, told in enumerate(logits)]
        loop.update(torch.stack(losses).mean())
    return network


def read_judge_network(path: Path) -> JudgeNetwork:
    """Return the trained network from its loop's file."""
    network = JudgeNetwork()
    network.load_state_dict(read_modules(path, "judge"))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def judge_accuracy(
    network: JudgeNetwork, pictures: Pictures, vae: AutoencoderKL | None = None, count: int = 1024
) -> dict[str, float]:
    """Return attribute → share read rightly off the last pictures, redrawn first when a VAE is given."""
    network.eval()
    right = torch.zeros(len(ATTRIBUTE_VALUES))
    for start in range(len(pictures) - count, len(pictures), 64):
        index_B = torch.arange(start, start + 64)
        pixels_BCHW = pictures.batch(index_B)
        if vae is not None:
            pixels_BCHW = vae.decode(vae.encode(pixels_BCHW).latent_dist.mean).sample.clamp(-1, 1)
        for attribute, logits_BV in enumerate(network(pixels_BCHW)):
            right[attribute] += (logits_BV.argmax(1) == pictures.labels_NA[index_B, attribute]).sum()
    return {name: float(right[index]) / count for index, name in enumerate(ATTRIBUTE_VALUES)}

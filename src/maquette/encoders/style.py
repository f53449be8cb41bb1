"""How a picture is drawn, as far as edges, textures and colours tell: statistics of EfficientNet-Lite0's early features.

The mean and the standard deviation of every channel over the picture, after the stem and each of the first six blocks: what style
transfer matches (Gatys et al. 2016, Huang & Belongie 2017), without a download. It says little of a subject's shape and nothing
of what it is. Whether it can tell a given style is measured on the pictures at hand before anybody believes it
(`measuring/style.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from maquette.encoders import UNMEASURED_BAND, cosine
from maquette.encoders.photo import MIDDLE, SCALE, WEIGHTS
from maquette.encoders.photo import load as load_photo

SIDE_PX = 256
READING = "1"
LAST_BLOCK = 6
"""Blocks whose outputs are read: up to an eighth of the picture's side."""


class Style:
    """Rows of equal parts a layer; compared by their cosine."""

    name = "style"
    threshold = 0.75
    band = UNMEASURED_BAND
    slack = None
    blind_to = "who or what is shown; two styles that differ in composition or anatomy alone"
    batch = 16

    def __init__(self, device: str | None) -> None:
        photo = load_photo("photo", "", device)
        self.device = photo.device
        self.network = photo.network
        self.fingerprint = f"style{READING}-{hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()[:16]}"
        blank = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
        self.dims = self.identity_dims = int(self.encode([blank]).shape[1])

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        """Return the picture at a common size: how rough it is depends on it."""
        return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC), np.uint8)

    @torch.no_grad()
    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return float32 [N, D], each layer's part of length 1."""
        pixels_NCHW = torch.from_numpy(np.stack(prepared)).to(self.device).permute(0, 3, 1, 2)
        x_NCHW = self.network.stem((pixels_NCHW.float() - MIDDLE) / SCALE)
        parts = [_statistics(x_NCHW)]
        for block in list(self.network.blocks)[:LAST_BLOCK]:
            x_NCHW = block(x_NCHW)
            parts.append(_statistics(x_NCHW))
        rows: NDArray[Any] = torch.cat(parts, dim=1).cpu().numpy()
        return rows

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        """Return the cosine."""
        return cosine(pictures_ND, references_RD)


def _statistics(x_NCHW: Tensor) -> Tensor:
    """Return mean and standard deviation of every channel [N, 2 C], as a row of length 1."""
    both_ND = torch.cat([x_NCHW.mean(dim=(2, 3)), x_NCHW.std(dim=(2, 3))], dim=1)
    return torch.nn.functional.normalize(both_ND, dim=1)


def load(name: str, source: str, device: str | None) -> Style:
    """Return the encoder. Raises ModelError where its weights are missing or damaged."""
    return Style(device)

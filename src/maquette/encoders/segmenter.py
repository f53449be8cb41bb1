"""A network that says where a picture's subject is: U²-Net, ISNet, BiRefNet and their like as ONNX, by path (extra `masks`).

Input [1, 3, side, side] RGB, output [1, 1, side, side] of any range. Which scaling a network was trained with is told by its
file's name, as rembg's model list (MIT) pairs them; what no name tells is taken as ImageNet's.
https://github.com/danielgatis/rembg
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.encoders.onnx_pictures import IMAGENET, open_network
from maquette.errors import ModelError, Problem

CENTRED = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
DEFAULT_SIDE_PX = 1024
"""For networks that take any size."""


class Segmenter:
    """One such network. One thread at a time."""

    def __init__(self, path: Path) -> None:
        """Raises MissingExtra without onnxruntime, ModelError for a file that is no such network."""
        self._network = open_network(path, "a segmenter", _wrong)
        self._side_px = self._network.size_hw[0] or DEFAULT_SIDE_PX
        self._mean, self._spread = CENTRED if "isnet" in path.stem.lower() else IMAGENET

    def subject_of(self, pixels_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how much each place belongs to the subject, 0 to 1, at the network's own size."""
        side = (self._side_px, self._side_px)
        small = np.asarray(Image.fromarray(pixels_HWC).resize(side, Image.Resampling.LANCZOS), np.float32)
        unit = small / max(float(small.max()), 1e-6)
        scaled = np.asarray((unit - np.asarray(self._mean)) / np.asarray(self._spread), np.float32)
        answer = self._network.answer(scaled)
        values = answer.reshape(answer.shape[-2:])
        least, most = float(values.min()), float(values.max())
        if most - least < 1e-6:
            return np.full_like(values, float(most > 0.5))
        return np.asarray((values - least) / (most - least), np.float32)


def _wrong(path: Path, given: str) -> ModelError:
    required = "a network for salient objects as ONNX: u2net.onnx, isnet-general-use.onnx, BiRefNet"
    return ModelError(
        Problem(str(path), given, required, "Get one, of github.com/danielgatis/rembg for example.")
    )

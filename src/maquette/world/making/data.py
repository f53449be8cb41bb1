"""The training pictures: rendered once, kept as bytes on disk, read as float batches."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from maquette.files import replacing
from maquette.world.attributes import ATTRIBUTE_VALUES, attribute_indices, random_character, random_scene
from maquette.world.renderer import render

SIZE_PX = 64


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Rendered pictures with what they show."""

    pixels_NHWC: np.ndarray
    """uint8 [N, 64, 64, 3], a memory map."""
    labels_NA: torch.Tensor
    """int64 [N, attributes]: each value's index in ATTRIBUTE_VALUES."""

    def __len__(self) -> int:
        return len(self.labels_NA)

    def batch(self, index_B: torch.Tensor) -> torch.Tensor:
        """Return the pictures as float32 [B, 3, 64, 64] in [−1, 1]."""
        return to_float(torch.from_numpy(self.pixels_NHWC[index_B.numpy()]))


def to_float(pixels_BHWC: torch.Tensor) -> torch.Tensor:
    """Return bytes [B, H, W, 3] as float32 [B, 3, H, W] in [−1, 1]."""
    return pixels_BHWC.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1.0


def load_pictures(folder: Path, count: int, seed: int, say: Callable[[str], None]) -> Pictures:
    """Return `count` random pictures, rendered now unless `folder` holds them from an earlier call."""
    pixels_path = folder / f"pictures-{count}-{seed}.npy"
    labels_path = folder / f"labels-{count}-{seed}.npy"
    if not (pixels_path.exists() and labels_path.exists()):
        say(f"rendering {count:,} pictures")
        _render_all(pixels_path, labels_path, count, seed)
    pixels_NHWC = np.load(pixels_path, mmap_mode="r")
    return Pictures(pixels_NHWC=pixels_NHWC, labels_NA=torch.from_numpy(np.load(labels_path)).long())


def _render_all(pixels_path: Path, labels_path: Path, count: int, seed: int) -> None:
    generator = random.Random(seed)
    pixels_NHWC = np.empty((count, SIZE_PX, SIZE_PX, 3), np.uint8)
    labels_NA = np.empty((count, len(ATTRIBUTE_VALUES)), np.uint8)
    for index in range(count):
        character, scene = random_character(generator), random_scene(generator)
        pixels_NHWC[index] = np.asarray(render(character, scene, SIZE_PX))
        labels_NA[index] = attribute_indices(character, scene)
    for path, array in ((pixels_path, pixels_NHWC), (labels_path, labels_NA)):
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)

"""A picture as a vision model wants it, by the steps its preprocessor_config.json names: no torchvision, no tensors.

Parity with the image processors of transformers is tested; what they can do beyond these steps is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.encoders.source import MODEL_FILE
from maquette.errors import ModelError, Problem
from maquette.reading import is_finite, read_table, shown

CONFIG_NAME = "preprocessor_config.json"
LARGEST_PX = 4096


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The steps in their order; sizes in pixels."""

    shortest_edge: int | None
    """Resize so that the shorter side has this length; None: to `size_hw`, whatever the aspect."""
    size_hw: tuple[int, int] | None
    resample: Image.Resampling
    crop_hw: tuple[int, int] | None
    """Cut out of the middle; None: no cut."""
    factor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Image.Image) -> NDArray[Any]:
        """Return an RGB picture as float32 [3, H, W]."""
        resized = image.resize(self._resized_wh(image), self.resample)
        pixels_HWC = np.asarray(self._cropped(resized), np.float32) * np.float32(self.factor)
        normal = (pixels_HWC - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)

    def _resized_wh(self, image: Image.Image) -> tuple[int, int]:
        if self.shortest_edge is None:
            assert self.size_hw is not None
            return self.size_hw[1], self.size_hw[0]
        width, height = image.size
        edge = self.shortest_edge
        if width <= height:
            return edge, int(edge * height / width)
        return int(edge * width / height), edge

    def _cropped(self, image: Image.Image) -> Image.Image:
        if self.crop_hw is None:
            return image
        height, width = self.crop_hw
        top, left = (image.height - height) // 2, (image.width - width) // 2
        return image.crop((left, top, left + width, top + height))


def read_preprocessing(folder: Path) -> Preprocessing:
    """Return the preprocessing that a model's folder asks for. Raises ModelError when it asks for other steps."""
    path = folder / CONFIG_NAME
    config = read_table(path, MODEL_FILE)
    try:
        found = _preprocessing(config)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        found = None
    if found is None:
        raise ModelError(
            Problem(
                str(path),
                f"size {shown(config.get('size'))}, crop_size {shown(config.get('crop_size'))}",
                "shortest_edge, or height and width; resample, image_mean and image_std as numbers",
                "Use another model of this kind.",
            )
        )
    return found


def _preprocessing(config: dict[str, Any]) -> Preprocessing | None:
    size = config.get("size", 224)
    shortest = _px(size if isinstance(size, int) else size.get("shortest_edge"))
    whole = None if isinstance(size, int) or "height" not in size else _pair(size)
    known = {"shortest_edge", "height", "width"}
    if (shortest is None and whole is None) or (isinstance(size, dict) and set(size) - known):
        return None
    normal = config.get("do_normalize", True)
    return Preprocessing(
        shortest_edge=shortest,
        size_hw=whole,
        resample=Image.Resampling(config.get("resample", Image.Resampling.BICUBIC)),
        crop_hw=_crop(config, shortest),
        factor=_number(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
        mean=_three(config["image_mean"]) if normal else (0.0,) * 3,
        std=_three(config["image_std"]) if normal else (1.0,) * 3,
    )


def _crop(config: dict[str, Any], shortest: int | None) -> tuple[int, int] | None:
    size = config.get("crop_size")
    if not config.get("do_center_crop", shortest is not None) or size is None:
        return None
    return _pair({"height": size, "width": size} if isinstance(size, int) else size)


def _pair(size: dict[str, Any]) -> tuple[int, int]:
    height, width = _px(size["height"]), _px(size["width"])
    if height is None or width is None:
        raise ValueError("no size")
    return height, width


def _px(value: Any) -> int | None:
    if value is not None and not (isinstance(value, int) and 1 <= value <= LARGEST_PX):
        raise ValueError("no size in pixels")
    return value


def _three(values: Any) -> tuple[float, ...]:
    found = tuple(_number(value) for value in values)
    if len(found) != 3:
        raise ValueError("not three numbers")
    return found


def _number(value: Any) -> float:
    if not is_finite(value):
        raise ValueError("no number")
    return float(value)

"""Masks: how much each place of a picture counts in the loss, white all of it, black nothing.

A mask goes the way of its picture: the same turn, resizing, crop and mirroring, then down to the latent's grid by area, as
sd-scripts does it. Shapes: mask_HW uint8; H W of the picture as stored, as trained, or of the latent where a name says grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.dataset.opening import has_alpha, opened, orientation_of, read_file, upright
from maquette.errors import DatasetError, Problem

Mask = NDArray[np.uint8]

MOST_ASPECT_ERROR = 0.01
"""Sides of a mask may be rounded differently from its picture's; a further one is of another crop."""
LOOKED_AT_PX = 64
BACK_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""From how viewers show a picture back to how it is stored, by its EXIF orientation."""


@dataclass(frozen=True, kw_only=True)
class MaskLook:
    """What a mask shows. Means are from 0 (black) to 1 (white)."""

    covered: float
    """Mean over all of it."""
    border: float
    """Mean over the outer eighth on each side."""
    centre: float
    """Mean over the middle half of height and width."""

    @property
    def is_empty(self) -> bool:
        return self.covered < 0.002

    @property
    def is_white(self) -> bool:
        return self.covered > 0.998

    @property
    def seems_inverted(self) -> bool:
        """Whether it hides the middle and shows what is around, as no mask of a subject does."""
        return self.border - self.centre > 0.5


@dataclass(frozen=True, kw_only=True)
class MaskFact:
    """The mask of one picture, as far as it was looked at."""

    picture: Path
    path: Path
    """Its file; the picture's own where its transparency is the mask."""
    sha256: str = ""
    """Of the file's bytes; empty where it was not read."""
    look: MaskLook | None = None
    problem: Problem | None = None
    """What keeps it from being used."""


def look_at_masks(masks: Iterable[MaskFact]) -> Iterator[MaskFact]:
    """Yield each of `masks` with its hash and look, or what is wrong with it, in order. Decodes on several threads."""
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(_looked_at, masks)


def _looked_at(mask: MaskFact) -> MaskFact:
    try:
        data = read_file(mask.path)
        mask_HW = decode_mask(mask.picture, mask.path, data)
    except DatasetError as error:
        return MaskFact(picture=mask.picture, path=mask.path, problem=error.problems[0])
    return MaskFact(
        picture=mask.picture,
        path=mask.path,
        sha256=hashlib.sha256(data).hexdigest(),
        look=look_of(mask_HW),
    )


def look_of(mask_HW: Mask) -> MaskLook:
    """Return what a mask shows."""
    small = _resized(mask_HW, (LOOKED_AT_PX, LOOKED_AT_PX)).astype(np.float32) / 255
    edge, quarter = LOOKED_AT_PX // 8, LOOKED_AT_PX // 4
    frame = np.ones_like(small, bool)
    frame[edge:-edge, edge:-edge] = False
    return MaskLook(
        covered=float(mask_HW.mean() / 255),
        border=float(small[frame].mean()),
        centre=float(small[quarter:-quarter, quarter:-quarter].mean()),
    )


def decode_mask(picture: Path, mask: Path, data: bytes) -> Mask:
    """Return the mask in the bytes of its file in the size and the way up in which its picture is stored.

    `mask` is a grey picture (of a coloured one its red channel, as sd-scripts reads it), or the picture itself, whose
    transparency it is then. One of another size and the same shape is resized. Raises DatasetError for any other.
    """
    with opened(mask, data) as image:
        if mask == picture:
            image.load()
            return _alpha_of(image)
        with opened(picture) as shown:
            size_wh, orientation = shown.size, orientation_of(shown)
        stored = _as_stored(image, size_wh, orientation).convert("RGB").getchannel("R")
    _require_shape(picture, mask, stored.size, size_wh)
    return _resized(np.array(stored, np.uint8), size_wh)


def _alpha_of(image: Image.Image) -> Mask:
    if not has_alpha(image):
        return np.full((image.height, image.width), 255, np.uint8)
    layer = image if "A" in image.getbands() else image.convert("RGBA")
    return np.array(layer.getchannel("A"), np.uint8)


def _as_stored(image: Image.Image, size_wh: tuple[int, int], orientation: int) -> Image.Image:
    """Return a mask turned as its picture's pixels lie: people draw over what a viewer shows, which EXIF data may have turned."""
    if orientation == 1:
        return upright(image)
    if orientation_of(image) == orientation:
        image.load()
        return image
    shown = upright(image)
    fits_only_as_it_is = shown.size == size_wh and size_wh != size_wh[::-1] and orientation >= 5
    return shown if fits_only_as_it_is else shown.transpose(BACK_TURNS[orientation])


def _require_shape(picture: Path, mask: Path, mask_wh: tuple[int, int], picture_wh: tuple[int, int]) -> None:
    aspect = mask_wh[0] * picture_wh[1] / (mask_wh[1] * picture_wh[0])
    if abs(aspect - 1) > MOST_ASPECT_ERROR:
        given = f"a mask of {mask_wh[0]}x{mask_wh[1]} for a picture of {picture_wh[0]}x{picture_wh[1]}"
        required = f"the picture's own shape ({picture.name})"
        raise DatasetError(
            Problem(str(mask), given, required, "Make it again from the picture as it is now.")
        )


def _resized(mask_HW: Mask, size_wh: tuple[int, int]) -> Mask:
    if (mask_HW.shape[1], mask_HW.shape[0]) == size_wh:
        return mask_HW
    return np.asarray(cv2.resize(mask_HW, size_wh, interpolation=cv2.INTER_AREA), np.uint8)

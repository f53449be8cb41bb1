"""A picture as it is trained: decoded, resized, cropped; bit for bit what sd-scripts feeds its VAE.

Shapes: pixels_HWC uint8 RGB; float_CHW float32 in [-1, 1]. Sizes are pixels as (width, height), and as
(height, width) where a name says `hw`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.dataset.opening import stored_rgb
from maquette.dataset.records import Fit, Item
from maquette.errors import DatasetError, Problem

Pixels = NDArray[np.uint8]

# Which library resizes is part of the definition: the two differ in the last bits.
PIL_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}
OPENCV_FILTERS = {
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST_EXACT,
    "bilinear": cv2.INTER_LINEAR,
    "linear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "cubic": cv2.INTER_CUBIC,
}


@dataclass(frozen=True)
class SizeInfo:
    """What SDXL is told about a picture's size and crop, in pixels."""

    original_hw: tuple[int, int]
    crop_top_left: tuple[int, int]
    target_hw: tuple[int, int]


@dataclass(frozen=True)
class Prepared:
    """Pixels at their bucket's size, and where they came from."""

    pixels_HWC: Pixels
    original_wh: tuple[int, int]
    flipped: bool = False

    @property
    def crop_ltrb(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the unmirrored picture in its bucket by sd-scripts' formula."""
        height, width = self.pixels_HWC.shape[:2]
        return crop_box((width, height), self.original_wh)

    @property
    def size_info(self) -> SizeInfo:
        height, width = self.pixels_HWC.shape[:2]
        return size_info((width, height), self.original_wh, self.flipped)


def item_size_info(item: Item, *, flipped: bool = False) -> SizeInfo:
    """Return an item's size conditioning without reading its picture, for cached latents."""
    assert item.fit is not None, "assign_buckets comes before preprocessing"
    if item.fit.crop in ("piece", "face"):  # told as if the piece were the whole picture
        return size_info(item.fit.bucket_wh, item.fit.bucket_wh, flipped)
    return size_info(item.fit.bucket_wh, item.picture.size_wh, flipped)


def size_info(bucket_wh: tuple[int, int], picture_wh: tuple[int, int], flipped: bool) -> SizeInfo:
    """Return a picture's size conditioning in its bucket; a mirrored one's crop counts from the right."""
    left, top, right, _ = crop_box(bucket_wh, picture_wh)
    return SizeInfo(
        original_hw=(picture_wh[1], picture_wh[0]),
        crop_top_left=(int(top), int(bucket_wh[0] - right if flipped else left)),
        target_hw=(bucket_wh[1], bucket_wh[0]),
    )


def prepare_item(item: Item, *, flipped: bool = False) -> Prepared:
    """Return the picture of an item (with bucket) as trained. Raises DatasetError when the file changed."""
    assert item.fit is not None, "assign_buckets comes before preprocessing"
    prepared = fit_pixels(read_item(item), item.fit, item.picture.subset.options.resize_interpolation)
    return mirrored(prepared) if flipped else prepared


def read_item(item: Item) -> Pixels:
    """Return an item's pixels as they lie on the disk. Raises DatasetError when the file changed."""
    picture = item.picture
    pixels_HWC = load_pixels(picture.path, picture.subset.options.background)
    if pixels_HWC.shape[:2] != (picture.height_px, picture.width_px):
        raise DatasetError(
            Problem(
                str(picture.path),
                f"no longer {picture.width_px}x{picture.height_px}, as it was when scanned",
                "pictures that stay as they are during a run",
                "Start again.",
            )
        )
    return pixels_HWC


def load_pixels(path: Path, background: str | None = None) -> Pixels:
    """Return a picture's pixels (H, W, 3): as stored, whatever EXIF says, transparent parts on `background`, if any.

    Raises DatasetError when it cannot be decoded.
    """
    try:
        return np.array(stored_rgb(path, background), np.uint8)
    except DatasetError as error:
        given = f"can no longer be read ({error.problems[0].given})"
        problem = Problem(str(path), given, "a sound picture", "Restore it and start again.")
        raise DatasetError(problem) from error


def fit_pixels(pixels_HWC: Pixels, fit: Fit, interpolation: str | None = None) -> Prepared:
    """Return the picture resized to `fit.resized_wh` and cropped around its centre to `fit.bucket_wh`."""
    height, width = pixels_HWC.shape[:2]
    if (width, height) != fit.resized_wh:
        pixels_HWC = resize(pixels_HWC, fit.resized_wh, interpolation)
    left, top = ((resized - side) // 2 for resized, side in zip(fit.resized_wh, fit.bucket_wh, strict=True))
    return Prepared(cropped(pixels_HWC, fit.bucket_wh, left, top), (width, height))


def resize(pixels_HWC: Pixels, size_wh: tuple[int, int], interpolation: str | None = None) -> Pixels:
    """Return the picture at `size_wh`: by area where no side grows, else Lanczos, unless told otherwise."""
    height, width = pixels_HWC.shape[:2]
    if interpolation is None:
        interpolation = "area" if width >= size_wh[0] and height >= size_wh[1] else "lanczos"
    if interpolation in PIL_FILTERS:
        return np.array(Image.fromarray(pixels_HWC).resize(size_wh, PIL_FILTERS[interpolation]), np.uint8)
    resized: Pixels = cv2.resize(pixels_HWC, size_wh, interpolation=OPENCV_FILTERS[interpolation])
    return resized


def crop_box(bucket_wh: tuple[int, int], picture_wh: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom by the formula sd-scripts conditions SDXL with.

    It places the whole picture *inside* the bucket, so an offset appears on the side that was not cropped.
    Models adapted with it expect these numbers, so they are kept.
    """
    bucket_width, bucket_height = bucket_wh
    aspect = picture_wh[0] / picture_wh[1]
    if bucket_width / bucket_height > aspect:
        inside_width, inside_height = bucket_height * aspect, float(bucket_height)
    else:
        inside_width, inside_height = float(bucket_width), bucket_width / aspect
    left = (bucket_width - inside_width) // 2
    top = (bucket_height - inside_height) // 2
    return left, top, left + inside_width, top + inside_height


def mirrored(prepared: Prepared) -> Prepared:
    """Return the picture mirrored left to right."""
    return replace(
        prepared, pixels_HWC=np.ascontiguousarray(prepared.pixels_HWC[:, ::-1]), flipped=not prepared.flipped
    )


def to_float_CHW(pixels_HWC: Pixels) -> NDArray[np.float32]:
    """Return pixels as float32 (3, H, W) in [-1, 1]: torchvision's ToTensor and Normalize, bit for bit."""
    unit = np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)
    centred: NDArray[np.float32] = (unit - np.float32(0.5)) / np.float32(0.5)
    return centred


def cropped(pixels_HWC: Pixels, size_wh: tuple[int, int], left: int, top: int) -> Pixels:
    """Return the piece of `size_wh` that begins at `left` and `top`."""
    piece = pixels_HWC[top : top + size_wh[1], left : left + size_wh[0]]
    assert piece.shape[:2] == (size_wh[1], size_wh[0]), "a picture is resized to cover its bucket"
    return np.ascontiguousarray(piece)

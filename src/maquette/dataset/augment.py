"""What chance does to a picture at one showing: where it is cropped, how its colours are shifted.

The definitions are sd-scripts'; every choice is a function of (seed, epoch, item), so that a resumed run shows what an
uninterrupted one would have shown. Shapes: pixels_HWC uint8 RGB. Sizes are pixels as (width, height).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from maquette.dataset.buckets import face_in_name
from maquette.dataset.preprocess import Pixels, Prepared, cropped, mirrored, read_item, resize
from maquette.dataset.records import Item
from maquette.events import Message
from maquette.spoken import counted

COLOUR_SHARE, HUE_SHARE = 0.33, 0.5
LARGEST_HUE_SHIFT = 8.0
"""Of OpenCV's 180 steps around the colour circle."""
GAMMAS = (0.95, 1.05)


def picture_rng(seed: int, epoch: int, item_index: int) -> random.Random:
    """Return the source of a showing's choices about its picture."""
    return random.Random(f"maquette picture {seed} {epoch} {item_index}")


def said_of_varying(items: Sequence[Item]) -> Iterator[Message]:
    """Say which pictures change at each showing, and what it costs."""
    pictures = {item.picture.path for item in items}
    varying = {item.picture.path for item in items if item.varies}
    if varying:
        kinds = ("random_crop", "color_aug", "face_crop_aug_range")
        options = [item.picture.subset.options for item in items if item.varies]
        asked = ", ".join(name for name in kinds if any(getattr(each, name) for each in options))
        verb = "change" if len(varying) > 1 else "changes"
        yield Message(
            f"{len(varying)} of {counted(len(pictures), 'picture')} {verb} at each showing ({asked}): encoded at every step, "
            "with the VAE in memory."
        )


def shown_item(item: Item, *, flipped: bool, seed: int, epoch: int) -> Prepared:
    """Return the picture of an item as one showing in one epoch (from 0) has it. Raises DatasetError as `prepare_item`."""
    assert item.fit is not None, "assign_buckets comes before preprocessing"
    rng = picture_rng(seed, epoch, item.index)
    pixels_HWC = placed(read_item(item), item, rng)
    if item.picture.subset.options.color_aug:
        pixels_HWC = shift_colours(pixels_HWC, rng)
    is_piece = item.fit.crop in ("piece", "face")
    prepared = Prepared(pixels_HWC, item.fit.bucket_wh if is_piece else item.picture.size_wh)
    return mirrored(prepared) if flipped else prepared


def placed(pixels_HWC: Pixels, item: Item, rng: random.Random) -> Pixels:
    """Return what a showing has of an item's pixels, or of its mask's (HW): resized, and cropped by what `rng` draws first."""
    assert item.fit is not None, "assign_buckets comes before preprocessing"
    if item.fit.crop == "face":
        return crop_to_face(pixels_HWC, item, rng)
    if (pixels_HWC.shape[1], pixels_HWC.shape[0]) != item.fit.resized_wh:
        pixels_HWC = resize(pixels_HWC, item.fit.resized_wh, item.picture.subset.options.resize_interpolation)
    return crop_anywhere(pixels_HWC, item.fit.bucket_wh, rng if item.fit.crop != "centre" else None)


def crop_anywhere(pixels_HWC: Pixels, size_wh: tuple[int, int], rng: random.Random | None) -> Pixels:
    """Return a piece of `size_wh`, its place drawn from left and from top; from the middle without `rng`."""
    height, width = pixels_HWC.shape[:2]
    left, top = width - size_wh[0], height - size_wh[1]
    if rng is None:
        return cropped(pixels_HWC, size_wh, left // 2, top // 2)
    return cropped(pixels_HWC, size_wh, *(rng.randint(0, room) if room else 0 for room in (left, top)))


def crop_to_face(pixels_HWC: Pixels, item: Item, rng: random.Random) -> Pixels:
    """Return a piece around the face that the file's name tells of, which fills a drawn share of it.

    The picture is never enlarged. With random_crop the face may lie anywhere, most often in the middle.
    """
    options, face = item.picture.subset.options, face_in_name(item.picture.path)
    assert item.fit is not None and options.face_crop_aug_range is not None and face is not None
    target_wh, (least, most) = item.fit.bucket_wh, options.face_crop_aug_range
    height, width = pixels_HWC.shape[:2]
    face_px = max(face[2:])
    short = min(target_wh)
    smallest = max(target_wh[1] / height, target_wh[0] / width)
    smallest = min(1.0, max(smallest, short / (face_px * most)))
    largest = min(1.0, max(smallest, short / (face_px * least)))
    scale = smallest if smallest >= largest else rng.uniform(smallest, largest)
    resized_wh = int(width * scale + 0.5), int(height * scale + 0.5)
    if resized_wh != (width, height):
        pixels_HWC = resize(pixels_HWC, resized_wh, options.resize_interpolation)
    starts = {}
    for axis in (1, 0):  # from top first, as sd-scripts draws
        target, length, centre = target_wh[axis], resized_wh[axis], int(face[axis] * scale + 0.5)
        start = centre - target // 2
        if options.random_crop:
            reach = max(length - centre, centre)
            start += rng.randint(0, reach) + rng.randint(0, reach) - reach
        elif least != most and face_px > short // 10 and face_px >= 40:
            start += rng.randint(-face_px // 20, face_px // 20)
        starts[axis] = max(0, min(start, length - target))
    return cropped(pixels_HWC, target_wh, starts[0], starts[1])


def shift_colours(pixels_HWC: Pixels, rng: random.Random) -> Pixels:
    """Return the picture with its hue turned or each value raised to a power near 1, in a third of the showings.

    Red and blue change places before and after, as in sd-scripts, which hands RGB to a conversion from BGR.
    """
    if rng.random() > COLOUR_SHARE:
        return pixels_HWC
    if rng.random() > HUE_SHARE:
        shift = rng.uniform(-LARGEST_HUE_SHIFT, LARGEST_HUE_SHIFT)
        hsv_HWC = cv2.cvtColor(pixels_HWC, cv2.COLOR_BGR2HSV)
        turned = (hsv_HWC[:, :, 0] + (shift if shift >= 0 else 180 + shift)) % 180
        hsv_HWC[:, :, 0] = turned.astype(np.uint8)
        return np.asarray(cv2.cvtColor(hsv_HWC, cv2.COLOR_HSV2BGR), np.uint8)
    powered = np.power(pixels_HWC, rng.uniform(*GAMMAS))
    return np.clip(powered, 0, 255).astype(np.uint8)

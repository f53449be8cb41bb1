"""Aspect buckets: which size a picture is trained at, and the batches of an epoch.

The definitions are sd-scripts'. Bucket sizes share one area: sides are multiples of a step, and each picture
takes the size whose aspect ratio is nearest. Batches of an epoch are a pure function of (seed, epoch), so
that a resumed run needs no saved state. Sizes are pixels as (width, height).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maquette.dataset.config import BucketSettings
from maquette.dataset.records import Batch, Bucket, Crop, Fit, Item, Picture
from maquette.errors import DatasetError, Problem


def bucket_resolutions(
    resolution_wh: tuple[int, int], min_bucket_px: int, max_bucket_px: int, step_px: int
) -> list[tuple[int, int]]:
    """Return all bucket sizes, sorted: for each width the tallest height within the area, both ways round."""
    area = resolution_wh[0] * resolution_wh[1]
    square = int(math.sqrt(area) // step_px) * step_px
    sizes = {(square, square)} if square else set()
    for side in range(min_bucket_px, max_bucket_px + 1, step_px):
        other = min(max_bucket_px, area // side // step_px * step_px)
        if other >= min_bucket_px:
            sizes |= {(side, other), (other, side)}
    return sorted(sizes)


def fit_picture(size_wh: tuple[int, int], settings: BucketSettings, crop: Crop = "centre") -> Fit:
    """Return the bucket of a picture of this size, which is cropped by `crop` (`crop_of`).

    Raises DatasetError when it is smaller than one step, or than the piece that is to be cut from it.
    """
    if crop in ("piece", "face"):
        return _fit_piece(size_wh, settings.resolution_wh, crop)
    fit = _fit_resized(size_wh, settings)
    return replace(fit, crop=crop) if fit.resized_wh != fit.bucket_wh else fit


def crop_of(picture: Picture, settings: BucketSettings) -> Crop:
    """Return where a picture is cropped, as its subset asks and its file's name allows."""
    options = picture.subset.options
    if not settings.enabled and options.face_crop_aug_range and face_in_name(picture.path):
        return "face"
    if options.random_crop:
        return "random" if settings.enabled else "piece"
    return "centre"


def face_in_name(path: Path) -> tuple[int, int, int, int] | None:
    """Return (centre x, centre y, width, height) of the face that a name like name_x_y_w_h tells of, else None."""
    parts = path.stem.split("_")
    try:
        x, y, width, height = (int(part) for part in parts[-4:])
    except ValueError:
        return None
    return (x, y, width, height) if len(parts) >= 5 and x > 0 and max(width, height) > 0 else None


def _fit_resized(size_wh: tuple[int, int], settings: BucketSettings) -> Fit:
    if not settings.enabled:
        return _fit_listed(size_wh, [settings.resolution_wh])
    if settings.no_upscale:
        return _fit_without_upscaling(size_wh, settings)
    sizes = bucket_resolutions(
        settings.resolution_wh, settings.min_bucket_px, settings.max_bucket_px, settings.step_px
    )
    return _fit_listed(size_wh, sizes)


def assign_buckets(
    items: Sequence[Item], settings: BucketSettings | Sequence[BucketSettings]
) -> tuple[Item, ...]:
    """Return the items with their buckets; `settings` may differ per dataset. DatasetError names misfits."""
    per_dataset = [settings] if isinstance(settings, BucketSettings) else list(settings)
    fits: dict[tuple[int, tuple[int, int], Crop], Fit] = {}
    problems: dict[str, Problem] = {}
    fitted = []
    for item in items:
        dataset = item.picture.subset.dataset if len(per_dataset) > 1 else 0
        own = per_dataset[dataset]
        key = (dataset, item.picture.size_wh, crop_of(item.picture, own))
        try:
            fit = fits[key] if key in fits else fits.setdefault(key, fit_picture(key[1], own, key[2]))
        except DatasetError as error:
            where = str(item.picture.path)
            problems[where] = replace(error.problems[0], where=where)
            continue
        fitted.append(replace(item, fit=fit))
    if problems:
        raise DatasetError(problems.values())
    return tuple(fitted)


def epoch_batches(
    items: Sequence[Item], batch_size: int | Sequence[int], seed: int, epoch: int
) -> list[Batch]:
    """Return the batches of one epoch (counted from 0): every item once, one bucket a batch, in shuffled
    order.

    Which items meet in a batch and the order of batches both change from epoch to epoch. `batch_size` may
    differ per dataset. A bucket's last batch may be smaller.
    """
    shuffler = random.Random(f"maquette batches {seed} {epoch}")
    batches = []
    for bucket, members in items_by_bucket(items).items():
        shuffler.shuffle(members)
        size = _batch_size(batch_size, bucket)
        for start in range(0, len(members), size):
            chosen = tuple(members[start : start + size])
            batches.append(Batch(bucket, chosen, tuple(is_flipped(item, seed, epoch) for item in chosen)))
    shuffler.shuffle(batches)
    return batches


def count_batches(items: Sequence[Item], batch_size: int | Sequence[int]) -> int:
    """Return how many batches an epoch has: the sum over buckets of ceil(items / batch size)."""
    return sum(
        math.ceil(len(members) / _batch_size(batch_size, bucket))
        for bucket, members in items_by_bucket(items).items()
    )


def items_by_bucket(items: Sequence[Item]) -> dict[Bucket, list[Item]]:
    """Return the items of each bucket, buckets in sorted order, items in theirs."""
    grouped: dict[Bucket, list[Item]] = {}
    for item in items:
        grouped.setdefault(item.bucket, []).append(item)
    return dict(sorted(grouped.items()))


def is_flipped(item: Item, seed: int, epoch: int) -> bool:
    """Return whether this showing is mirrored: half of them where `flip_aug` is set, none elsewhere."""
    if not item.picture.subset.options.flip_aug:
        return False
    return random.Random(f"maquette flip {seed} {epoch} {item.index}").random() < 0.5


def _batch_size(batch_size: int | Sequence[int], bucket: Bucket) -> int:
    if isinstance(batch_size, int):
        return batch_size
    return batch_size[bucket.dataset if len(batch_size) > 1 else 0]


def _fit_listed(size_wh: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> Fit:
    """Return the listed size of nearest aspect ratio (the first of equals), resized to cover it."""
    width, height = size_wh
    aspect = width / height
    bucket = size_wh if size_wh in sizes else min(sizes, key=lambda size: abs(size[0] / size[1] - aspect))
    scale = bucket[1] / height if aspect > bucket[0] / bucket[1] else bucket[0] / width
    resized = int(width * scale + 0.5), int(height * scale + 0.5)
    return Fit(bucket, resized, bucket[0] / bucket[1] - aspect)


def _fit_piece(size_wh: tuple[int, int], piece_wh: tuple[int, int], crop: Crop) -> Fit:
    """Return a fit whose pieces are cut from the picture as it is. Raises DatasetError for one that is too small."""
    if size_wh[0] < piece_wh[0] or size_wh[1] < piece_wh[1]:
        asked = "random_crop" if crop == "piece" else "face_crop_aug_range"
        raise DatasetError(
            Problem(
                f"picture of {size_wh[0]}x{size_wh[1]}",
                f"smaller than {piece_wh[0]}x{piece_wh[1]}, which {asked} without buckets cuts out of it",
                f"at least {piece_wh[0]}x{piece_wh[1]}",
                f"Turn buckets on, leave {asked} out, or replace the picture.",
            )
        )
    is_whole = size_wh == piece_wh
    aspect_error = piece_wh[0] / piece_wh[1] - size_wh[0] / size_wh[1]
    return Fit(piece_wh, size_wh, aspect_error, "centre" if is_whole else crop)


def _fit_without_upscaling(size_wh: tuple[int, int], settings: BucketSettings) -> Fit:
    """Return the picture's own size, shrunk to the area if larger, cut down to steps."""
    step = settings.step_px
    try:
        resized = _shrunk_to_area(size_wh, settings.resolution_wh[0] * settings.resolution_wh[1], step)
    except ZeroDivisionError:
        resized = (0, 0)
    bucket = resized[0] - resized[0] % step, resized[1] - resized[1] % step
    if not all(bucket):
        raise DatasetError(
            Problem(
                f"picture of {size_wh[0]}x{size_wh[1]}",
                f"a side is shorter than one bucket step of {step}, and enlarging is off",
                f"both sides at least {step} after shrinking to the resolution",
                "Turn bucket_no_upscale off, take a smaller bucket step, or replace the picture.",
            )
        )
    return Fit(bucket, resized, bucket[0] / bucket[1] - size_wh[0] / size_wh[1])


def _shrunk_to_area(size_wh: tuple[int, int], max_area: int, step: int) -> tuple[int, int]:
    """Return the size with that side a multiple of `step` which changes the aspect ratio least."""
    width, height = size_wh
    if width * height <= max_area:
        return size_wh
    aspect = width / height
    exact_width = math.sqrt(max_area * aspect)
    by_width = _down_to_step(exact_width, step)
    by_height = _down_to_step(max_area / exact_width, step)
    error_by_width = abs(by_width / _down_to_step(by_width / aspect, step) - aspect)
    error_by_height = abs(_down_to_step(by_height * aspect, step) / by_height - aspect)
    if error_by_width < error_by_height:
        return by_width, int(by_width / aspect + 0.5)
    return int(by_height * aspect + 0.5), by_height


def _down_to_step(length: float, step: int) -> int:
    whole = int(length + 0.5)
    return whole - whole % step

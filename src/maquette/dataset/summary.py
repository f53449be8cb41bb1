"""A dataset in the words that sd-scripts writes into a LoRA's metadata: folders, tags and buckets.

Drawing programs read them: tag tables, picture counts and bucket sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, count
from typing import Any

from maquette.dataset.buckets import items_by_bucket
from maquette.dataset.config import BucketSettings, SubsetSource
from maquette.dataset.records import Dataset, Item


def tag_frequency(dataset: Dataset, index: int = 0) -> dict[str, dict[str, int]]:
    """Return for each folder name how many captions have each tag, in lower case; repeats do not count."""
    tables: dict[str, Counter[str]] = {}
    for picture in dataset.pictures:
        if picture.subset.dataset == index:
            tags = (tag.strip().lower() for tag in picture.caption.split(","))
            tables.setdefault(picture.subset.name, Counter()).update(tag for tag in tags if tag)
    return {name: dict(table) for name, table in tables.items()}


def dataset_dirs(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Return repeats and number of pictures by training folder; a name that occurs again gets a number."""
    table: dict[str, dict[str, int]] = {}
    for subset in dataset.subsets:
        if subset.is_regularization:
            continue
        names = chain([subset.name], (f"{subset.name} ({number})" for number in count(2)))
        name = next(name for name in names if name not in table)
        table[name] = {"n_repeats": subset.num_repeats, "img_count": _num_pictures(dataset, subset)}
    return table


def bucket_info(items: Sequence[Item], index: int = 0) -> dict[str, Any]:
    """Return the filled buckets with their counts, and the mean error of aspect ratio over pictures."""
    members = [item for item in items if item.picture.subset.dataset == index]
    errors = [abs(item.fit.aspect_error) for item in members if item.repeat == 0 and item.fit is not None]
    buckets = {
        str(number): {"resolution": [bucket.width_px, bucket.height_px], "count": len(group)}
        for number, (bucket, group) in enumerate(items_by_bucket(members).items())
    }
    return {"buckets": buckets, "mean_img_ar_error": sum(errors) / len(errors) if errors else 0}


def dataset_entries(
    dataset: Dataset,
    items: Sequence[Item],
    settings: BucketSettings | Sequence[BucketSettings],
    batch_size: int | Sequence[int],
) -> list[dict[str, Any]]:
    """Return the entries of `ss_datasets`, one for each dataset."""
    number = len(dataset.datasets)
    bucketing = [settings] * number if isinstance(settings, BucketSettings) else list(settings)
    sizes = [batch_size] * number if isinstance(batch_size, int) else list(batch_size)
    return [_entry(dataset, items, index, bucketing[index], sizes[index]) for index in range(number)]


def _entry(
    dataset: Dataset, items: Sequence[Item], index: int, bucketing: BucketSettings, batch_size: int
) -> dict[str, Any]:
    subsets = [subset for subset in dataset.subsets if subset.dataset == index]
    shown = {subset: subset.num_repeats * _num_pictures(dataset, subset) for subset in subsets}
    return {
        "is_dreambooth": True,
        "batch_size_per_device": batch_size,
        "num_train_images": sum(number for subset, number in shown.items() if not subset.is_regularization),
        "num_reg_images": sum(number for subset, number in shown.items() if subset.is_regularization),
        "resolution": list(bucketing.resolution_wh),
        "enable_bucket": bucketing.enabled,
        "min_bucket_reso": bucketing.min_bucket_px if bucketing.enabled else None,
        "max_bucket_reso": bucketing.max_bucket_px if bucketing.enabled else None,
        "tag_frequency": tag_frequency(dataset, index),
        "bucket_info": bucket_info(items, index) if bucketing.enabled else None,
        "resize_interpolation": None,
        "subsets": [_subset_entry(dataset, subset) for subset in subsets],
    }


def _subset_entry(dataset: Dataset, subset: SubsetSource) -> dict[str, Any]:
    options = subset.options
    return {
        "img_count": _num_pictures(dataset, subset),
        "num_repeats": subset.num_repeats,
        "color_aug": False,
        "flip_aug": options.flip_aug,
        "random_crop": False,
        "shuffle_caption": options.shuffle_caption,
        "keep_tokens": options.keep_tokens,
        "keep_tokens_separator": options.keep_tokens_separator,
        "secondary_separator": options.secondary_separator or None,
        "enable_wildcard": options.enable_wildcard,
        "caption_prefix": options.caption_prefix or None,
        "caption_suffix": options.caption_suffix or None,
        "resize_interpolation": options.resize_interpolation,
        "image_dir": subset.name,
        "class_tokens": subset.class_tokens,
        "is_reg": subset.is_regularization,
    }


def _num_pictures(dataset: Dataset, subset: SubsetSource) -> int:
    return sum(picture.subset == subset for picture in dataset.pictures)

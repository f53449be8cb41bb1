"""A dataset in the words that sd-scripts writes into a LoRA's metadata: folders, tags and buckets.

Drawing programs read them: tag tables, picture counts and bucket sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from maquette.dataset.buckets import items_by_bucket
from maquette.dataset.records import Dataset, Item


def tag_frequency(dataset: Dataset, index: int = 0) -> dict[str, dict[str, int]]:
    """Return for each folder name how many captions have each tag, in lower case; repeats do not count."""
    captions: dict[str, list[str]] = {}
    for picture in dataset.pictures:
        if picture.subset.dataset == index:
            captions.setdefault(picture.subset.name, []).append(picture.caption)
    return {name: count_tags(texts) for name, texts in captions.items()}


def count_tags(captions: Iterable[str]) -> dict[str, int]:
    """Return how often each comma-separated part of the captions occurs, in lower case and order of appearance."""
    tags = (tag.strip().lower() for caption in captions for tag in caption.split(","))
    return dict(Counter(tag for tag in tags if tag))


def bucket_info(items: Sequence[Item], index: int = 0) -> dict[str, Any]:
    """Return the filled buckets with their counts, and the mean error of aspect ratio over pictures."""
    members = [item for item in items if item.picture.subset.dataset == index]
    errors = [abs(item.fit.aspect_error) for item in members if item.repeat == 0 and item.fit is not None]
    buckets = {
        str(number): {"resolution": [bucket.width_px, bucket.height_px], "count": len(group)}
        for number, (bucket, group) in enumerate(items_by_bucket(members).items())
    }
    return {"buckets": buckets, "mean_img_ar_error": sum(errors) / len(errors) if errors else 0}

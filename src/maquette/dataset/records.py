"""What is known of a dataset once its files were read: pictures, and the items that one epoch shows.

Sizes are pixels as (width, height).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from maquette.dataset.config import DatasetSource, SubsetSource

LATENTS_IN_MEMORY_BYTES = 2 << 30
"""Latents beyond this are read from the cache's folder each time, where there is one."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that was decoded whole, with the caption it is trained on."""

    path: Path
    width_px: int
    height_px: int
    caption: str
    """As read: one line, or several where wildcards are enabled; not yet prefixed, shuffled or dropped."""
    caption_path: Path | None
    """None when the caption is a fallback."""
    subset: SubsetSource
    sha256: str
    """Of the picture file's bytes."""
    caption_sha256: str | None
    """Of the caption file's bytes."""
    mask_path: Path | None = None
    """Its mask's file, or its own where its transparency is the mask; None where all of it counts."""
    mask_sha256: str | None = None
    """Of the mask file's bytes."""

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.width_px, self.height_px


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Every picture that will be trained on."""

    pictures: tuple[Picture, ...]
    datasets: tuple[DatasetSource, ...]
    subsets: tuple[SubsetSource, ...]
    """Those that hold pictures, in order."""


Crop = Literal["centre", "random", "piece", "face"]
"""Where a picture is cropped: around its centre; anywhere, at the size that fills its bucket; anywhere, at its own
scale; around a face, at a scale of its own at each showing."""


class Bucket(NamedTuple):
    """One training size of one dataset; pictures of different buckets never share a batch."""

    dataset: int
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Fit:
    """How a picture comes to its bucket: resized to `resized_wh`, then cropped to `bucket_wh`."""

    bucket_wh: tuple[int, int]
    resized_wh: tuple[int, int]
    aspect_error: float
    """Bucket width/height minus the picture's."""
    crop: Crop = "centre"


@dataclass(frozen=True)
class Item:
    """One showing of a picture in an epoch. `index` numbers an epoch's items and never changes."""

    index: int
    picture: Picture
    repeat: int
    fit: Fit | None = None

    @property
    def is_regularization(self) -> bool:
        return self.picture.subset.is_regularization

    @property
    def varies(self) -> bool:
        """Whether its pixels differ from showing to showing by more than mirroring, so that no latent can be kept."""
        is_cropped_anew = self.fit is not None and self.fit.crop != "centre"
        return is_cropped_anew or self.picture.subset.options.color_aug

    @property
    def bucket(self) -> Bucket:
        """The item's bucket; buckets must have been assigned."""
        assert self.fit is not None, "assign_buckets comes before batches"
        return Bucket(self.picture.subset.dataset, *self.fit.bucket_wh)


@dataclass(frozen=True)
class Batch:
    """Items of one bucket that are trained together; `flipped[i]` says that item i is shown mirrored."""

    bucket: Bucket
    items: tuple[Item, ...]
    flipped: tuple[bool, ...]

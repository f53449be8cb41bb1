"""What goes into a LoRA's metadata about its pictures is what the reference writes."""

from __future__ import annotations

from pathlib import Path

from maquette.dataset.buckets import assign_buckets
from maquette.dataset.config import BucketSettings
from maquette.dataset.repeats import plan_items
from maquette.dataset.summary import bucket_info
from tests.dataset.making import captioned, dataset_at


def test_buckets_are_counted_with_repeats(tmp_path: Path) -> None:
    captioned(tmp_path / "train" / "2_dog", 2, (512, 512))
    captioned(tmp_path / "train" / "3_dog", 1, (640, 480))
    captioned(tmp_path / "reg" / "1_dog", 1, (512, 512))
    dataset = dataset_at(tmp_path / "train", regularization=tmp_path / "reg")
    items = assign_buckets(plan_items(dataset.pictures), BucketSettings())
    info = bucket_info(items)
    assert info["buckets"] == {
        "0": {"resolution": [512, 512], "count": 4 + 7},
        "1": {"resolution": [576, 448], "count": 3},
    }
    assert 0 < info["mean_img_ar_error"] < 0.05

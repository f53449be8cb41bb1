"""Pictures reach the encoder with the very pixels the reference gives it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from maquette.dataset.buckets import assign_buckets, fit_picture
from maquette.dataset.config import BucketSettings
from maquette.dataset.preprocess import (
    fit_pixels,
    item_size_info,
    load_pixels,
    mirrored,
    prepare_item,
    resize,
    to_float_CHW,
)
from maquette.dataset.records import Fit
from maquette.dataset.repeats import plan_items
from maquette.errors import DatasetError
from tests.conftest import GOLDEN, shared_data
from tests.dataset.making import captioned, dataset_at, picture

CASES = json.loads((GOLDEN / "preprocess.json").read_text())
TENSORS = load_file(GOLDEN / "preprocess.safetensors")
SETTINGS = BucketSettings(resolution_wh=(128, 128), min_bucket_px=64, max_bucket_px=256)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_pixels_and_crop_are_the_references_to_the_last_bit(case: dict) -> None:
    fit = fit_picture(tuple(case["size"]), SETTINGS)
    assert (list(fit.bucket_wh), list(fit.resized_wh)) == (case["bucket"], case["resized"])
    prepared = fit_pixels(TENSORS[f"{case['name']}.input_u8"], fit)
    assert np.array_equal(prepared.pixels_HWC, TENSORS[f"{case['name']}.cropped_u8"])
    assert list(prepared.crop_ltrb) == case["crop_ltrb"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_lossless_files_give_the_same_pixels_as_arrays(case: dict, tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.fromarray(TENSORS[f"{case['name']}.input_u8"]).save(path)
    assert np.array_equal(load_pixels(path), TENSORS[f"{case['name']}.input_u8"])


def test_floats_are_those_of_to_tensor_and_normalize() -> None:
    pixels_HWC = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    expected = (torch.from_numpy(pixels_HWC.transpose(2, 0, 1).copy()).to(torch.float32).div(255) - 0.5).div(
        0.5
    )
    made = to_float_CHW(pixels_HWC)
    assert np.array_equal(made, expected.numpy())  # every one of the 256 values, to the last bit
    assert (made.min(), made.max()) == (-1, 1)


def test_size_conditioning_needs_no_pixels_and_mirrors_with_the_picture(tmp_path: Path) -> None:
    captioned(tmp_path / "wide", 1, (300, 100))
    (item,) = assign_buckets(plan_items(dataset_at(tmp_path / "wide").pictures), SETTINGS)
    for flipped in (False, True):
        assert prepare_item(item, flipped=flipped).size_info == item_size_info(item, flipped=flipped)
    info = item_size_info(item)
    assert (info.original_hw, info.target_hw) == ((100, 300), (64, 192))


def test_mirroring_twice_is_nothing() -> None:
    prepared = fit_pixels(TENSORS["down.input_u8"], Fit((128, 128), (192, 128), 0.0))
    assert np.array_equal(mirrored(prepared).pixels_HWC, prepared.pixels_HWC[:, ::-1])
    assert np.array_equal(mirrored(mirrored(prepared)).pixels_HWC, prepared.pixels_HWC)


@pytest.mark.parametrize(
    "name", ["lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area", "box"]
)
def test_every_interpolation_keeps_a_plain_colour(name: str) -> None:
    plain = np.full((40, 60, 3), (10, 200, 30), np.uint8)
    for size in ((30, 20), (120, 80)):
        assert np.array_equal(
            resize(plain, size, name), np.full((size[1], size[0], 3), (10, 200, 30), np.uint8)
        )


def test_a_picture_that_changed_after_the_scan_is_refused(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 1)
    (item,) = assign_buckets(plan_items(dataset_at(tmp_path / "d").pictures), SETTINGS)
    picture(item.picture.path, (80, 80))
    with pytest.raises(DatasetError, match="no longer 64x64"):
        prepare_item(item)
    item.picture.path.unlink()
    with pytest.raises(DatasetError, match=r"p000\.png"):
        prepare_item(item)


def test_real_photographs_and_portraits_fill_their_buckets() -> None:
    for folder, fallback in (
        (shared_data("pixel_portraits"), None),
        (shared_data("photos") / "dog", "a dog"),
    ):
        dataset = dataset_at(folder, fallback_caption=fallback)
        items = assign_buckets(
            plan_items(dataset.pictures[:5]), BucketSettings(resolution_wh=(256, 256), min_bucket_px=128)
        )
        for item in items[::10]:
            assert prepare_item(item).size_info.target_hw == (item.bucket.height_px, item.bucket.width_px)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB with a key"])
def test_transparent_parts_lie_on_the_background_and_by_default_show_what_is_behind_them(
    tmp_path: Path, mode: str
) -> None:
    """A half that is opaque, one that is not: of the second only the background may be seen."""
    grey = mode == "LA"
    opaque, hidden = ((50, 50, 50), (200, 200, 200)) if grey else ((10, 60, 200), (0, 255, 0))
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4], pixels[:, 4:] = (*opaque, 255), (*hidden, 0)
    image, path = Image.fromarray(pixels), tmp_path / "p.png"
    if mode in ("RGBA", "LA"):
        image.convert(mode).save(path)
    elif mode == "P":
        flat = image.convert("RGB").quantize(2)
        flat.save(path, transparency=flat.getpixel((7, 0)))
    else:
        image.convert("RGB").save(path, transparency=hidden)
    behind = np.asarray(Image.new("RGB", (1, 1), "#ff8000"))[0, 0]
    stored, laid = load_pixels(path), load_pixels(path, "#ff8000")
    assert tuple(stored[0, 0]) == tuple(laid[0, 0]) == opaque
    assert tuple(stored[0, 7]) == hidden and tuple(laid[0, 7]) == tuple(behind)


def test_half_transparent_edges_mix_with_the_background(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 128)).save(tmp_path / "p.png")
    assert abs(int(load_pixels(tmp_path / "p.png", "white")[0, 0, 0]) - 127) <= 1

"""What chance does to a picture is sd-scripts' definition, repeatable, and never more than was asked for."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from maquette.dataset.augment import crop_anywhere, crop_to_face, shift_colours, shown_item
from maquette.dataset.buckets import assign_buckets, face_in_name
from maquette.dataset.config import BucketSettings, SubsetOptions, SubsetSource
from maquette.dataset.preprocess import item_size_info, prepare_item
from maquette.dataset.records import Item, Picture
from maquette.errors import DatasetError
from tests.dataset.making import picture

SQUARE = BucketSettings(resolution_wh=(64, 64), min_bucket_px=64, max_bucket_px=64)
OFF = BucketSettings(resolution_wh=(64, 64), enabled=False)
PIXELS = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)


def item(tmp_path: Path, size_wh: tuple[int, int], name: str = "a", **options: object) -> Item:
    path = picture(tmp_path / f"{name}.png", size_wh)
    subset = SubsetSource(path=tmp_path, options=SubsetOptions(**options))  # type: ignore[arg-type]
    made = Picture(
        path=path, width_px=size_wh[0], height_px=size_wh[1], caption="", caption_path=None, subset=subset,
        sha256="", caption_sha256=None,
    )  # fmt: skip
    return Item(0, made, 0)


def fitted(one: Item, settings: BucketSettings = SQUARE) -> Item:
    return assign_buckets([one], settings)[0]


def showings(one: Item, count: int = 30) -> list[bytes]:
    return [
        shown_item(one, flipped=False, seed=0, epoch=epoch).pixels_HWC.tobytes() for epoch in range(count)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_a_random_crop_is_drawn_from_left_then_from_top(seed: int) -> None:
    rng, reference = random.Random(seed), random.Random(seed)
    left, top = reference.randint(0, 90 - 64), reference.randint(0, 70 - 64)
    assert (crop_anywhere(PIXELS, (64, 64), rng) == PIXELS[top : top + 64, left : left + 64]).all()


def reference_colours(image: np.ndarray, rng: random.Random) -> np.ndarray:
    """Hue and gamma as sd-scripts 48d368fa computes them."""
    if rng.random() <= 0.33:
        if rng.random() > 0.5:
            hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
            shift = rng.uniform(-8, 8)
            shift = 180 + shift if shift < 0 else shift
            hsv[:, :, 0] = (hsv[:, :, 0] + shift) % 180
            return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        gamma = rng.uniform(0.95, 1.05)
        return np.clip(image**gamma, 0, 255).astype(np.uint8)
    return image


def test_colours_are_shifted_by_sd_scripts_formula() -> None:
    changed = 0
    for seed in range(200):
        shifted = shift_colours(PIXELS, random.Random(seed))
        assert (shifted == reference_colours(PIXELS, random.Random(seed))).all()
        changed += bool((shifted != PIXELS).any())
    assert 45 <= changed <= 90, "a third of 200 showings, within four standard deviations"


def reference_face(
    image: np.ndarray, face: tuple[int, ...], options: SubsetOptions, rng: random.Random
) -> np.ndarray:
    """The piece around a face as sd-scripts 48d368fa cuts it, for 64x64."""
    assert options.face_crop_aug_range is not None
    low, high = options.face_crop_aug_range
    height, width = image.shape[:2]
    face_size = max(face[2:])
    least = min(1.0, max(64 / height, 64 / width, 64 / (face_size * high)))
    most = min(1.0, max(least, 64 / (face_size * low)))
    scale = least if least >= most else rng.uniform(least, most)
    new_h, new_w = int(height * scale + 0.5), int(width * scale + 0.5)
    image = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_AREA)
    for axis, (length, place) in enumerate(((new_h, face[1]), (new_w, face[0]))):
        place = int(place * scale + 0.5)
        start = place - 32
        if options.random_crop:
            reach = max(length - place, place)
            start = start + (rng.randint(0, reach) + rng.randint(0, reach)) - reach
        elif low != high and face_size > 6 and face_size >= 40:
            start = start + rng.randint(-face_size // 20, face_size // 20)
        start = max(0, min(start, length - 64))
        image = image[start : start + 64] if axis == 0 else image[:, start : start + 64]
    return image


@pytest.mark.parametrize("random_crop", [False, True])
@pytest.mark.parametrize("span", [(1.2, 3.0), (1.5, 1.5)])
def test_a_face_is_cropped_by_sd_scripts_formula(
    tmp_path: Path, random_crop: bool, span: tuple[float, float]
) -> None:
    made = item(tmp_path, (200, 160), "fox_100_70_48_40", face_crop_aug_range=span, random_crop=random_crop)
    one, options = fitted(made, OFF), made.picture.subset.options
    assert one.fit is not None and one.fit.crop == "face"
    pixels = np.random.default_rng(1).integers(0, 256, (160, 200, 3), np.uint8)
    for seed in range(12):
        cut = crop_to_face(pixels, one, random.Random(seed))
        assert (cut == reference_face(pixels, (100, 70, 48, 40), options, random.Random(seed))).all()


@pytest.mark.parametrize(
    ("name", "face"),
    [
        ("fox_100_70_48_40", (100, 70, 48, 40)),
        ("a_photo_of_a_dog", None),
        ("100_70_48_40", None),
        ("fox_0_70_48_40", None),
        ("fox_10_70_0_0", None),
    ],
)
def test_a_name_tells_of_a_face_only_with_four_numbers_behind_it(
    name: str, face: tuple[int, ...] | None
) -> None:
    assert face_in_name(Path(f"{name}.png")) == face


def test_showings_differ_only_where_they_were_asked_to(tmp_path: Path) -> None:
    plain = fitted(item(tmp_path, (96, 64), "plain"))
    cropped = fitted(item(tmp_path, (96, 64), "cropped", random_crop=True))
    exact = fitted(item(tmp_path, (64, 64), "exact", random_crop=True))
    assert (plain.varies, cropped.varies, exact.varies) == (False, True, False)
    assert len(set(showings(plain))) == len(set(showings(exact))) == 1
    assert len(set(showings(cropped))) > 10
    assert showings(plain)[0] == prepare_item(plain).pixels_HWC.tobytes()
    assert showings(cropped) == showings(cropped)
    other = replace(cropped, index=1)
    assert showings(other) != showings(cropped), "each repeat is cropped for itself"


def test_mirroring_is_of_what_was_cropped(tmp_path: Path) -> None:
    one = fitted(item(tmp_path, (96, 64), random_crop=True, color_aug=True))
    plain, turned = (
        shown_item(one, flipped=flipped, seed=3, epoch=2).pixels_HWC for flipped in (False, True)
    )
    assert (turned == plain[:, ::-1]).all()


def test_without_buckets_a_random_crop_is_a_piece_at_its_own_scale(tmp_path: Path) -> None:
    one = fitted(item(tmp_path, (200, 90), random_crop=True), OFF)
    whole = np.asarray(prepare_item(replace(one, fit=replace(one.fit, bucket_wh=(200, 90)))).pixels_HWC)  # type: ignore[type-var]
    piece = shown_item(one, flipped=False, seed=0, epoch=0).pixels_HWC
    places = [
        (left, top)
        for left in range(200 - 63)
        for top in range(90 - 63)
        if (whole[top, left] == piece[0, 0]).all()
        and (whole[top : top + 64, left : left + 64] == piece).all()
    ]
    assert len(places) == 1
    info = item_size_info(one)
    assert (info.original_hw, info.crop_top_left, info.target_hw) == ((64, 64), (0, 0), (64, 64))


@pytest.mark.parametrize("options", [{"random_crop": True}, {"face_crop_aug_range": (2.0, 4.0)}])
def test_a_picture_smaller_than_its_piece_is_refused(tmp_path: Path, options: dict[str, object]) -> None:
    small = item(tmp_path, (60, 200), "fox_30_70_20_20", **options)
    with pytest.raises(DatasetError, match=r"smaller than 64x64, which .* without buckets cuts out"):
        fitted(small, OFF)

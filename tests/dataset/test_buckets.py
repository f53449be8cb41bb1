"""Buckets agree with the reference; batches lose nothing and depend only on (seed, epoch)."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.dataset.buckets import (
    assign_buckets,
    bucket_resolutions,
    count_batches,
    epoch_batches,
    fit_picture,
)
from maquette.dataset.config import BucketSettings, DatasetSource, SubsetOptions, bucket_settings
from maquette.errors import ConfigError, DatasetError
from tests.conftest import GOLDEN
from tests.dataset.making import fake_items

TABLES = json.loads((GOLDEN / "buckets.json").read_text())
SIZES = st.tuples(st.integers(16, 6000), st.integers(16, 6000))


@pytest.mark.parametrize("settings", TABLES["resolutions"])
def test_bucket_sizes_are_the_references(settings: str) -> None:
    width, height, shortest, longest, step = map(int, re.findall(r"\d+", settings))
    expected = [tuple(size) for size in TABLES["resolutions"][settings]]
    assert bucket_resolutions((width, height), shortest, longest, step) == expected


@pytest.mark.parametrize("case", TABLES["select"], ids=lambda case: f"{case['image']} {case['no_upscale']}")
def test_each_picture_gets_the_references_bucket(case: dict) -> None:
    settings = BucketSettings(no_upscale=case["no_upscale"])
    if "error" in case:
        with pytest.raises(DatasetError, match="bucket step of 64"):
            fit_picture(tuple(case["image"]), settings)
        return
    fit = fit_picture(tuple(case["image"]), settings)
    assert list(fit.bucket_wh) == case["bucket"]
    assert list(fit.resized_wh) == case["resized"]
    assert (
        fit.aspect_error == case["ar_error"]
    )  # the same operations on the same doubles: equal to the last bit


@given(SIZES, st.booleans(), st.sampled_from([(512, 512), (768, 768), (512, 768), (64, 64)]))
def test_a_bucket_keeps_its_bounds_and_is_covered_by_the_resized_picture(
    size_wh: tuple[int, int], no_upscale: bool, resolution_wh: tuple[int, int]
) -> None:
    step = 16 if resolution_wh == (64, 64) else 64
    settings, _ = bucket_settings(resolution_wh, step_px=step, no_upscale=no_upscale)
    try:
        fit = fit_picture(size_wh, settings)
    except DatasetError:
        assert no_upscale
        return
    width, height = fit.bucket_wh
    assert width % step == 0 and height % step == 0
    assert fit.resized_wh[0] >= width and fit.resized_wh[1] >= height
    if not no_upscale:
        assert width * height <= resolution_wh[0] * resolution_wh[1]
        assert settings.min_bucket_px <= min(width, height) <= max(width, height) <= settings.max_bucket_px


@given(SIZES)
def test_without_buckets_every_picture_has_the_one_resolution(size_wh: tuple[int, int]) -> None:
    fit = fit_picture(size_wh, BucketSettings(resolution_wh=(512, 384), enabled=False))
    assert fit.bucket_wh == (512, 384)
    assert fit.resized_wh[0] >= 512 and fit.resized_wh[1] >= 384


@given(st.lists(SIZES, min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 9), st.integers(0, 99))
def test_an_epoch_shows_every_item_once_and_never_mixes_buckets(
    sizes: list[tuple[int, int]], batch_size: int, epoch: int, seed: int
) -> None:
    items = assign_buckets(fake_items(sizes), BucketSettings())
    batches = epoch_batches(items, batch_size, seed, epoch)
    assert Counter(item.index for batch in batches for item in batch.items) == Counter(range(len(items)))
    assert all(item.bucket == batch.bucket for batch in batches for item in batch.items)
    assert all(1 <= len(batch.items) <= batch_size for batch in batches)
    assert len(batches) == count_batches(items, batch_size)


def test_batches_depend_on_seed_and_epoch_only_so_any_epoch_can_be_resumed() -> None:
    items = assign_buckets(fake_items([(640, 480), (480, 640), (512, 512)] * 20), BucketSettings())
    full = [epoch_batches(items, 2, seed=7, epoch=epoch) for epoch in range(4)]
    assert [epoch_batches(items, 2, seed=7, epoch=epoch) for epoch in (2, 3)] == full[2:]
    assert full[0] != full[1]
    assert epoch_batches(items, 2, seed=8, epoch=0) != full[0]
    assert {frozenset(i.index for i in b.items) for b in full[0]} != {
        frozenset(i.index for i in b.items) for b in full[1]
    }, "who meets whom changes too"


def test_mirroring_happens_only_where_asked_and_to_about_half() -> None:
    plain = assign_buckets(fake_items([(512, 512)] * 400), BucketSettings())
    mirrored = assign_buckets(fake_items([(512, 512)] * 400, SubsetOptions(flip_aug=True)), BucketSettings())
    assert not any(flip for batch in epoch_batches(plain, 4, 1, 0) for flip in batch.flipped)
    flips = [flip for batch in epoch_batches(mirrored, 4, 1, 0) for flip in batch.flipped]
    assert 150 < sum(flips) < 250


def test_every_picture_that_is_too_small_for_no_upscale_is_named() -> None:
    items = fake_items([(512, 512), (100, 50), (50, 100)])
    with pytest.raises(DatasetError) as caught:
        assign_buckets(items, BucketSettings(no_upscale=True))
    assert [problem.where for problem in caught.value.problems] == ["folder/1.png", "folder/2.png"]


def test_bucket_sides_are_rounded_to_steps_with_a_word() -> None:
    settings, messages = bucket_settings((512, 512), min_bucket_px=300, max_bucket_px=1000)
    assert (settings.min_bucket_px, settings.max_bucket_px) == (256, 1024)
    assert ["256" in messages[0].text, "1024" in messages[1].text] == [True, True]


@pytest.mark.parametrize("switch", [{"enabled": False}, {"no_upscale": True}])
def test_bounds_that_have_no_effect_are_said_to_have_none(switch: dict) -> None:
    _, messages = bucket_settings((512, 512), min_bucket_px=320, **switch)
    assert ["no effect" in message.text for message in messages] == [True]
    assert not bucket_settings((512, 512), **switch)[1]


def test_small_resolutions_get_small_buckets_without_being_asked() -> None:
    assert bucket_settings((128, 128))[0].min_bucket_px == 64
    assert bucket_settings((64, 64), step_px=16)[0].min_bucket_px == 32
    assert bucket_settings((512, 512))[0] == BucketSettings()


def test_a_tables_values_stand_before_the_callers() -> None:
    source = DatasetSource(resolution_wh=(768, 768), enable_bucket=False)
    settings, _ = bucket_settings((512, 512), source=source, enabled=True)
    assert (settings.resolution_wh, settings.enabled) == ((768, 768), False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"min_bucket_px": 640}, "shortest bucket side 640"),
        ({"max_bucket_px": 256}, "longest bucket side 256"),
        ({"step_px": 20}, "bucket step 20"),
        ({"min_bucket_px": 8}, "shorter than one bucket step"),
        ({"resolution_wh": (500, 510), "enabled": False}, "Use 496,512"),
    ],
)
def test_impossible_bucket_settings_are_errors_that_name_the_way_out(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        bucket_settings(**({"resolution_wh": (512, 512)} | options))

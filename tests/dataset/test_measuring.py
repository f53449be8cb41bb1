"""Measures of pictures: laws that hold for any picture, what is believed of known ones, the cache, the order."""

from __future__ import annotations

import io
import sqlite3
import threading
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from maquette.dataset import measure_pixels, measuring
from maquette.dataset.hashes import (
    difference_hash,
    groups_of,
    hamming,
    mirror_images,
    mirrored_pairs,
    near_duplicates,
    near_pairs,
    perceptual_hashes,
)
from maquette.dataset.measure_cache import MeasureCache
from maquette.dataset.measures import Measured, Measures
from maquette.dataset.measuring import measure_picture, measure_pictures
from maquette.dataset.pictures import check_picture
from maquette.errors import Problem
from maquette.files import cache_folder
from maquette.world.attributes import Character, Scene
from maquette.world.renderer import render
from tests.conftest import shared_data
from tests.dataset.making import picture

FOX = Character(
    hair_style="spiky",
    hair_color="red",
    skin="pale",
    top_color="white",
    bottom_kind="pants",
    bottom_color="black",
    right_glove="green",
)


def drawing(pose: str = "standing", view: str = "front", background: str = "gray") -> Image.Image:
    return render(FOX, Scene(view=view, pose=pose, background=background, shift=1.0), 512)


def measured(image: Image.Image, folder: Path, name: str = "p.png", **options: object) -> Measures:
    path = folder / name
    image.save(path, **options)
    return measure_picture(path).measures


def photos() -> list[Path]:
    return sorted(shared_data("photos").rglob("*.jpg"))[::4]


# --- sharpness, detail, noise ---


def test_every_blur_lowers_sharpness_and_widens_edges(tmp_path: Path) -> None:
    images = [drawing().filter(ImageFilter.GaussianBlur(radius)) for radius in (0, 1, 2, 4, 8)]
    found = [measured(image, tmp_path) for image in images]
    sharp = [each.sharpness for each in found]
    widths = [each.edge_width_px for each in found]
    assert sharp == sorted(sharp, reverse=True)
    assert widths == sorted(widths)


def test_blur_shows_at_any_size_of_the_same_photograph() -> None:
    """At 512 px along the longer side sharp photographs rise within 2.6 px, ones blurred by 2.5 px take more than 3.5."""
    for path in photos():
        with Image.open(path) as image:
            view = image.convert("L").resize((512, 512), Image.Resampling.BOX)
        assert measure_pixels.edge_width(np.asarray(view)) < 2.6, path
        blurred = view.filter(ImageFilter.GaussianBlur(2.5))
        assert measure_pixels.edge_width(np.asarray(blurred)) > 3.5, path


@pytest.mark.parametrize("factor", [3, 4])
def test_enlarging_lowers_the_share_of_real_detail(factor: int) -> None:
    for path in photos():
        with Image.open(path) as image:
            own = image.convert("L").resize((512, 512), Image.Resampling.LANCZOS)
        small = own.resize((512 // factor, 512 // factor), Image.Resampling.LANCZOS)
        enlarged = small.resize((512, 512), Image.Resampling.BICUBIC)
        assert measure_pixels.detail_scale(own, np.asarray(own)) > 0.7, path
        assert measure_pixels.detail_scale(enlarged, np.asarray(enlarged)) < 0.55, path


@given(deviation=st.sampled_from([3.0, 6.0, 10.0]), seed=st.integers(0, 5))
@settings(max_examples=12, deadline=None)
def test_noise_is_estimated_to_a_sixth(deviation: float, seed: int) -> None:
    """The smoothest tenth of the blocks is somewhat quieter than the average one."""
    gradient = np.tile(np.linspace(60, 190, 512), (512, 1))
    noisy = gradient + np.random.default_rng(seed).normal(0, deviation, gradient.shape)
    estimate = measure_pixels.noise(np.clip(noisy, 0, 255).astype(np.uint8))
    assert deviation * 0.8 < estimate < deviation * 1.05


def test_black_bars_are_measured_and_dark_pictures_have_none(tmp_path: Path) -> None:
    framed = ImageOps.expand(drawing(), (0, 64, 0, 64), "black")
    assert measured(framed, tmp_path).bars == pytest.approx((0.1, 0, 0.1, 0), abs=0.003)
    for image in (drawing(), drawing().point(lambda value: value // 20), Image.new("RGB", (64, 64))):
        assert measured(image, tmp_path).bars == (0, 0, 0, 0)


# --- pixel art ---


@given(
    cells=st.integers(12, 64),
    size_px=st.integers(128, 640),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_enlarged_pixel_art_shows_its_cells(cells: int, size_px: int, seed: int) -> None:
    """Whatever the factor, whole or not, from twofold on."""
    if size_px < 2 * cells:
        return
    colours = np.random.default_rng(seed).integers(0, 8, (cells, cells, 3), np.uint8) * 32
    image = Image.fromarray(colours).resize((size_px, size_px), Image.Resampling.NEAREST)
    grid = measuring.pixel_grid(image, 512)
    assert grid.cell_px == pytest.approx(size_px / cells, abs=0.01)
    assert grid.error <= 0.02


def test_a_cropped_piece_keeps_its_grid() -> None:
    colours = np.random.default_rng(0).integers(0, 8, (40, 40, 3), np.uint8) * 32
    image = Image.fromarray(colours).resize((320, 320), Image.Resampling.NEAREST).crop((5, 3, 300, 310))
    assert measuring.pixel_grid(image, 512).cell_px == 8


def test_what_is_no_pixel_art_has_no_grid(tmp_path: Path) -> None:
    noise = Image.open(picture(tmp_path / "noise.png", (256, 256)))
    for image in (drawing(), noise, Image.new("RGB", (64, 64), "red"), Image.linear_gradient("L")):
        assert measured(image, tmp_path).grid_px == 1


def test_the_pixel_portraits_lie_on_their_grid_of_24() -> None:
    paths = sorted(shared_data("pixel_portraits").rglob("*.png"))[::7]
    found = [each.measures for each in measure_pictures(paths, cache=None)]
    assert {each.grid_px for each in found} == {21.333}
    assert max(each.grid_error for each in found) < 0.02
    assert all(len(each.palette) == min(32, each.num_colours) for each in found)


# --- hashes ---


@given(seed=st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_hashes_are_those_of_imagehash(seed: int) -> None:
    """Given the same small picture: which filter shrinks it is each library's own choice."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (32, 32), np.uint8)
    square = np.kron(small, np.ones((4, 4), np.uint8))  # 128×128, whose averages are `small` again
    assert perceptual_hashes(square)[0] == str(imagehash.phash(Image.fromarray(small)))
    rows = np.kron(rng.integers(0, 256, (8, 9), np.uint8), np.ones((16, 1), np.uint8))
    wide = np.repeat(rows, 128, axis=1).reshape(128, 9, 128).mean(2).astype(np.uint8)
    grey = np.asarray(Image.fromarray(wide).resize((128, 128), Image.Resampling.NEAREST))
    import cv2

    reduced = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    assert difference_hash(grey) == str(imagehash.dhash(Image.fromarray(reduced)))


@pytest.mark.parametrize("pose", ["standing", "arms wide", "jumping"])
def test_the_mirrored_hash_is_the_hash_of_the_mirrored_picture(pose: str, tmp_path: Path) -> None:
    image = drawing(pose, view="left")
    first = measured(image, tmp_path)
    second = measured(ImageOps.mirror(image), tmp_path)
    assert hamming(first.mirrored_hash, second.perceptual_hash) <= 1
    assert hamming(second.mirrored_hash, first.perceptual_hash) <= 1


def test_photographs_keep_their_mirrored_hash(tmp_path: Path) -> None:
    for path in photos():
        with Image.open(path) as image:
            plain = image.convert("RGB")
        first = measured(plain, tmp_path, "a.bmp")
        second = measured(ImageOps.mirror(plain), tmp_path, "b.bmp")
        assert hamming(first.mirrored_hash, second.perceptual_hash) <= 2, path
        assert len(list(mirror_images([first, second]))) == 1, path


def test_copies_are_near_and_other_pictures_are_not(tmp_path: Path) -> None:
    """Halved, or as JPEG of quality 60, a picture is found again; 51 photographs of ten subjects hold no pair."""
    originals = [each.measures for each in measure_pictures(photos(), cache=None)]
    assert not list(near_duplicates(originals))
    found = 0
    for path, original in zip(photos(), originals, strict=True):
        with Image.open(path) as image:
            half = image.convert("RGB").resize(
                (image.width // 2, image.height // 2), Image.Resampling.LANCZOS
            )
        copies = [
            measured(half, tmp_path, "half.jpg", quality=60),
            measured(half.resize((300, 300)), tmp_path, "small.bmp"),
        ]
        found += len(list(near_duplicates([original, *copies])))
    assert found >= 3 * len(originals) - 1


def test_different_portraits_are_not_near() -> None:
    """The set holds variants with a crown, other gems or another shirt: meant, and no duplicates."""
    paths = sorted(shared_data("pixel_portraits").rglob("*.png"))[:60]
    found = [each.measures for each in measure_pictures(paths, cache=None)]
    assert not list(near_duplicates(found))
    assert not list(mirror_images(found))


def test_poses_on_one_background_are_not_near(tmp_path: Path) -> None:
    poses = ("standing", "arms wide", "arms up", "jumping")
    found = [measured(drawing(pose), tmp_path) for pose in poses]
    found += [measured(drawing(pose, view="back"), tmp_path) for pose in poses]
    assert not list(near_duplicates(found))


def test_left_and_right_view_with_the_glove_right_are_no_mirror_pair(tmp_path: Path) -> None:
    found = [measured(drawing(view=view), tmp_path) for view in ("left", "right")]
    assert not list(mirror_images(found))


@given(seed=st.integers(0, 10_000), count=st.integers(0, 60), limit=st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_near_pairs_are_all_pairs_within_the_distance(seed: int, count: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2**63, 4, dtype=np.uint64)
    flips = [np.uint64(1) << np.uint64(rng.integers(0, 64)) for _ in range(6)]
    values = [int(base[rng.integers(4)] ^ np.bitwise_xor.reduce(rng.choice(flips, 3))) for _ in range(count)]
    hashes = [f"{value:016x}" for value in values]
    expected = [
        (i, j, hamming(hashes[i], hashes[j]))
        for i in range(count)
        for j in range(i + 1, count)
        if hamming(hashes[i], hashes[j]) <= limit
    ]
    assert list(near_pairs(hashes, limit)) == expected
    assert list(mirrored_pairs(hashes, hashes, limit)) == expected


def test_blocks_do_not_change_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 2**8, 200, dtype=np.uint64)
    hashes = [f"{value:016x}" for value in values]
    whole = list(near_pairs(hashes, 2))
    monkeypatch.setattr("maquette.dataset.hashes.BLOCK", 700)
    assert list(near_pairs(hashes, 2)) == whole
    assert whole


def test_groups_are_connected_pictures(tmp_path: Path) -> None:
    one = measured(drawing(), tmp_path)
    other = measured(drawing("jumping", background="pink"), tmp_path)
    assert groups_of(list(near_duplicates([one, other, one, one])), 4) == [(0, 2, 3)]


# --- the same facts as training's own look; problems in their place ---


def test_measures_agree_with_the_facts_that_training_reads(tmp_path: Path) -> None:
    rgba = picture(tmp_path / "a.png", (40, 30), mode="RGBA")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = tmp_path / "b.jpg"
    drawing().save(turned, exif=exif)
    for path in (rgba, turned):
        facts, found = check_picture(path), measure_picture(path).measures
        assert not isinstance(facts, Problem)
        for name in ("width_px", "height_px", "sha256", "is_rotated", "is_transparent"):
            assert getattr(found, name) == getattr(facts, name)


def test_what_cannot_be_read_is_the_same_problem_that_training_reports(tmp_path: Path) -> None:
    whole = picture(tmp_path / "whole.png").read_bytes()
    broken = {
        "cut.png": whole[:-200],
        "empty.png": b"",
        "page.png": b"<!DOCTYPE html>",
        "noise.png": b"\0" * 99,
    }
    paths = [tmp_path / name for name in broken] + [tmp_path / "absent.png"]
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    buffer = io.BytesIO()
    Image.new("F", (8, 8)).save(buffer, "TIFF")
    (tmp_path / "deep.png").write_bytes(buffer.getvalue())
    paths.append(tmp_path / "deep.png")
    results = [each.result for each in measure_pictures(paths, cache=None)]
    assert results == [check_picture(path) for path in paths]
    assert all(isinstance(result, Problem) for result in results)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (7, 5), (64, 64), (1500, 20)])
def test_every_mode_and_size_has_measures(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / ("p.jpg" if mode == "CMYK" else "p.png")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).convert(mode).save(path)
    found = measure_picture(path).measures
    assert (found.width_px, found.height_px) == size
    assert 0 <= found.brightness <= 1
    assert 0 <= found.subject_share <= 1
    assert 0 < found.detail_scale <= 1
    assert all(np.isfinite([found.sharpness, found.noise, found.contrast, found.edge_width_px]))


# --- order, memory, cache ---


def test_results_come_in_the_order_of_the_paths(tmp_path: Path) -> None:
    paths = [
        picture(tmp_path / f"{index}.png", (16 + 40 * (index % 3), 20), seed=index) for index in range(60)
    ]
    paths.append(tmp_path / "missing.png")
    paths.append(paths[0])
    assert [each.path for each in measure_pictures(paths, cache=None, workers=3)] == paths


def test_no_more_than_a_few_pictures_are_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = picture(tmp_path / "p.png", (16, 16))
    begun = 0
    lock = threading.Lock()
    real = measuring.measure_picture

    def counted(path: Path, **options: object) -> Measured:
        nonlocal begun
        with lock:
            begun += 1
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "measure_picture", counted)
    results = measure_pictures([path] * 5000, cache=None, workers=2)
    for _ in range(10):
        next(results)
    assert begun <= 10 + 2 * measuring.AHEAD_PER_WORKER + 2
    results.close()  # type: ignore[attr-defined]


@pytest.fixture
def cache(tmp_path: Path) -> MeasureCache:
    return MeasureCache(tmp_path / "cache")


def settled(path: Path) -> Path:
    """Set a file's time of change back: what changed this instant is not remembered by its path."""
    import os

    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def test_the_cache_returns_what_a_fresh_look_returns(tmp_path: Path, cache: MeasureCache) -> None:
    paths = [settled(picture(tmp_path / f"{index}.png", seed=index)) for index in range(5)]
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"<html>")
    paths.append(settled(bad))
    fresh = list(measure_pictures(paths, cache=None))
    assert list(measure_pictures(paths, cache=cache)) == fresh
    assert cache.recall(paths).keys() == set(paths)
    assert list(measure_pictures(paths, cache=cache)) == fresh
    cache.close()
    again = MeasureCache(cache.file.parent)
    assert list(measure_pictures(paths, cache=again)) == fresh
    assert not again.trouble


def test_a_remembered_file_is_not_opened_again(
    tmp_path: Path, cache: MeasureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = settled(picture(tmp_path / "p.png"))
    first = list(measure_pictures([path], cache=cache))
    monkeypatch.setattr(measuring, "read_picture", lambda path: pytest.fail("opened again"))
    assert list(measure_pictures([path], cache=cache)) == first


def test_a_copy_is_not_decoded_again(
    tmp_path: Path, cache: MeasureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = picture(tmp_path / "p.png")
    list(measure_pictures([path], cache=cache))
    copy = tmp_path / "copy.png"
    copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(measuring, "decode_picture", lambda *_, **__: pytest.fail("decoded again"))
    (found,) = measure_pictures([copy], cache=cache)
    assert found.path == copy


def test_changed_content_is_noticed(tmp_path: Path, cache: MeasureCache) -> None:
    """Even with the same size and, for a file changed this instant, the same time of change."""
    path = tmp_path / "p.bmp"
    for colour in ("red", "blue"):
        Image.new("RGB", (8, 8), colour).save(path)
        (found,) = measure_pictures([path], cache=cache)
        assert found.measures.palette == (("#ff0000",) if colour == "red" else ("#0000ff",))
    settled(path)
    list(measure_pictures([path], cache=cache))
    Image.new("RGB", (8, 8), "white").save(path)
    (found,) = measure_pictures([path], cache=cache)
    assert found.measures.palette == ("#ffffff",)


def test_a_damaged_cache_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "measures.sqlite3").write_bytes(b"no database at all " * 100)
    cache = MeasureCache(folder)
    assert "damaged" in cache.trouble
    path = settled(picture(tmp_path / "p.png"))
    first = list(measure_pictures([path], cache=cache))
    assert cache.recall([path])[path] == first[0]


def test_a_cache_damaged_while_in_use_is_left_alone(tmp_path: Path, cache: MeasureCache) -> None:
    path = settled(picture(tmp_path / "p.png"))
    first = list(measure_pictures([path], cache=cache))
    with sqlite3.connect(cache.file) as other:
        other.execute("DROP TABLE paths")
    assert list(measure_pictures([path], cache=cache)) == first
    assert "cannot be used" in cache.trouble


def test_an_entry_that_makes_no_sense_is_measured_anew(tmp_path: Path, cache: MeasureCache) -> None:
    path = settled(picture(tmp_path / "p.png"))
    first = list(measure_pictures([path], cache=cache))
    with sqlite3.connect(cache.file) as other:
        other.execute('UPDATE measures SET value = \'{"measures": {"width_px": 1}}\'')
    assert list(measure_pictures([path], cache=cache)) == first


def test_a_cache_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("MAQUETTE_CACHE", str(blocked / "below"))
    path = picture(tmp_path / "p.png")
    assert next(measure_pictures([path])).is_sound
    assert "cannot be used" in MeasureCache().trouble


def test_two_caches_on_one_file_write_in_turn(tmp_path: Path) -> None:
    paths = [settled(picture(tmp_path / f"{index}.png", (8, 8), seed=index)) for index in range(40)]
    errors: list[BaseException] = []

    def work() -> None:
        try:
            own = MeasureCache(tmp_path / "cache")
            assert len(list(measure_pictures(paths, cache=own, workers=2))) == len(paths)
            assert not own.trouble
            own.close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert MeasureCache(tmp_path / "cache").recall(paths).keys() == set(paths)


def test_the_environment_names_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    path = picture(tmp_path / "p.png")
    list(measure_pictures([path]))
    assert (tmp_path / "mine" / "measures.sqlite3").is_file()

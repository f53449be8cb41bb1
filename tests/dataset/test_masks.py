"""Masks: which file is whose, that none is taken for a picture, and that each goes its picture's way to the latent's grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from maquette.curating.listing import list_heap
from maquette.dataset.augment import shown_item
from maquette.dataset.buckets import assign_buckets
from maquette.dataset.config import BucketSettings, SubsetOptions
from maquette.dataset.facts import DatasetFacts, DatasetInput
from maquette.dataset.mask_grids import MaskGrids, grid_of, shown_mask
from maquette.dataset.masks import look_of
from maquette.dataset.preprocess import prepare_item
from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Item
from maquette.dataset.repeats import plan_items
from maquette.dataset.strict import dataset_of
from maquette.errors import DatasetError

RNG = np.random.default_rng(3)


def picture(path: Path, size_wh: tuple[int, int] = (80, 60), mode: str = "RGB") -> np.ndarray:
    """Write a picture with a caption; return its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(mode)
    coarse = RNG.integers(0, 256, (6, 8, channels), np.uint8)
    image = Image.fromarray(coarse, mode).resize(size_wh, Image.Resampling.BILINEAR)
    image.save(path)
    path.with_suffix(".txt").write_text("zkw, standing")
    return np.array(image)


def mask(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def facts_of(folder: Path, **options: object) -> DatasetFacts:
    return read_dataset(
        DatasetInput(images=folder, options=SubsetOptions(caption_extension=".txt", **options)), cache=None
    )


def items(facts: DatasetFacts, resolution_wh: tuple[int, int] = (64, 64)) -> list[Item]:
    settings = BucketSettings(resolution_wh=resolution_wh, min_bucket_px=32, max_bucket_px=128, step_px=16)
    return list(assign_buckets(plan_items(dataset_of(facts).pictures), settings))


def plainly(item: Item) -> np.ndarray:
    return shown_mask(item, flipped=False, seed=1, epoch=0)


# --- names -----------------------------------------------------------------------------------------------

NAMES = ("masks/fox.png", "fox-masklabel.png", "fox.mask.png", "fox_mask.png", "fox-mask.jpg")


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_beside_its_picture_is_found_and_is_no_picture(tmp_path: Path, name: str) -> None:
    grey = picture(tmp_path / "fox.png")[..., 0]
    picture(tmp_path / "hen.png")
    mask(tmp_path / name, grey)
    facts = facts_of(tmp_path, masks_beside=True)
    folder = facts.used_folders[0]
    assert [path.name for path in facts.files] == ["fox.png", "hen.png"]
    assert {each.name: found.path for each, found in folder.masks.items()} == {"fox.png": tmp_path / name}
    assert [path.name for path in folder.without_mask] == ["hen.png"]
    assert not facts.without_caption and len(facts.folders) == 1
    assert list_heap(tmp_path).names == ("fox.png", "hen.png")


def test_a_captioned_picture_of_a_mask_is_a_picture(tmp_path: Path) -> None:
    picture(tmp_path / "fox.png")
    picture(tmp_path / "fox_mask.png")
    picture(tmp_path / "gas-mask.png")
    facts = facts_of(tmp_path)
    assert [path.name for path in facts.files] == ["fox.png", "fox_mask.png", "gas-mask.png"]
    assert facts.used_folders[0].idle_masks == ()


def test_sd_scripts_trains_masks_that_lie_among_the_pictures(tmp_path: Path) -> None:
    grey = picture(tmp_path / "10_fox" / "a.png")[..., 0]
    mask(tmp_path / "10_fox" / "a_mask.png", grey)
    facts = read_dataset(DatasetInput(images=tmp_path, trainer="sd-scripts"), cache=None)
    assert [path.name for path in facts.files] == ["a.png", "a_mask.png"]
    assert [path.name for path in facts.used_folders[0].idle_masks] == ["a_mask.png"]


def test_a_folder_of_masks_serves_flat_and_numbered_folders(tmp_path: Path) -> None:
    for folder in ("5_fox", "5_hen"):
        grey = picture(tmp_path / "images" / folder / "a.png")[..., 0]
        mask(tmp_path / "m" / (f"{folder}/a.png" if folder == "5_fox" else "a.webp"), grey)
    facts = facts_of(tmp_path / "images", mask_folder=tmp_path / "m")
    found = [fact.path for folder in facts.used_folders for fact in folder.masks.values()]
    assert found == [tmp_path / "m" / "5_fox" / "a.png", tmp_path / "m" / "a.webp"]


# --- the way to the grid ---------------------------------------------------------------------------------


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("crop", [{}, {"random_crop": True}, {"resize_interpolation": "nearest"}])
def test_a_mask_of_a_picture_s_own_pixels_meets_them_at_every_place(
    tmp_path: Path, crop: dict[str, object], flipped: bool
) -> None:
    """The red channel given as mask must be the red channel as trained: resized, cropped and mirrored alike."""
    for index, size_wh in enumerate([(80, 60), (150, 61), (33, 50)]):
        pixels = picture(tmp_path / f"{index}.png", size_wh)
        mask(tmp_path / "masks" / f"{index}.png", pixels[..., 0])
    for item in items(facts_of(tmp_path, masks_beside=True, **crop)):
        for epoch in (0, 1):
            prepared = shown_item(item, flipped=flipped, seed=4, epoch=epoch).pixels_HWC[..., 0].astype(int)
            found = shown_mask(item, flipped=flipped, seed=4, epoch=epoch).astype(int)
            assert np.abs(found - prepared).max() <= 1, item.picture.path.name


def test_the_grid_is_the_mean_of_each_cell() -> None:
    pixels = RNG.integers(0, 256, (64, 96), np.uint8)
    expected = pixels.reshape(8, 8, 12, 8).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(grid_of(pixels, (8, 12))[0].numpy(), expected, atol=1e-6)


def test_transparency_is_a_mask_where_it_is_asked_for(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "fox.png", (64, 64), "RGBA")
    picture(tmp_path / "hen.png", (64, 64))
    facts = facts_of(tmp_path, alpha_mask=True)
    fox, hen = items(facts)
    assert np.abs(plainly(fox).astype(int) - pixels[..., 3]).max() == 0
    assert torch.equal(MaskGrids(1).grid(hen, False, 0, (8, 8)), torch.ones(1, 8, 8))
    assert [path.name for path in facts.used_folders[0].without_mask] == ["hen.png"]


def test_a_mask_drawn_upright_meets_a_picture_that_is_stored_turned(tmp_path: Path) -> None:
    for orientation in range(2, 9):
        pixels = picture(tmp_path / "fox.png", (64, 48))
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(tmp_path / "fox.png", exif=exif)
        with Image.open(tmp_path / "fox.png") as image:
            shown = np.array(ImageOps.exif_transpose(image))
        mask(tmp_path / "masks" / "fox.png", np.ascontiguousarray(shown[..., 0]))
        (item,) = items(facts_of(tmp_path, masks_beside=True))
        trained = prepare_item(item).pixels_HWC[..., 0].astype(int)
        assert np.abs(plainly(item).astype(int) - trained).max() <= 1, orientation


def test_a_smaller_mask_of_the_same_shape_is_enlarged_and_of_another_shape_refused(tmp_path: Path) -> None:
    picture(tmp_path / "fox.png", (80, 60))
    half = np.zeros((30, 40), np.uint8)
    half[:, 20:] = 255
    mask(tmp_path / "masks" / "fox.png", half)
    (item,) = items(facts_of(tmp_path, masks_beside=True))
    shown = plainly(item)
    assert shown[:, : shown.shape[1] // 2 - 2].max() == 0 and shown[:, shown.shape[1] // 2 + 2 :].min() > 240
    mask(tmp_path / "masks" / "fox.png", half[:, :30])
    with pytest.raises(DatasetError, match="a mask of 30x30 for a picture of 80x60"):
        dataset_of(facts_of(tmp_path, masks_beside=True))


def test_a_mask_that_changes_during_a_run_stops_it(tmp_path: Path) -> None:
    picture(tmp_path / "fox.png")
    mask(tmp_path / "masks" / "fox.png", np.zeros((60, 80), np.uint8))
    (item,) = items(facts_of(tmp_path, masks_beside=True))
    mask(tmp_path / "masks" / "fox.png", np.ones((60, 80), np.uint8))
    with pytest.raises(DatasetError, match="another mask than when it was scanned"):
        MaskGrids(1).grid(item, False, 0, (8, 8))


def test_grids_beyond_the_limit_are_made_again(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "fox.png", (64, 64))
    mask(tmp_path / "masks" / "fox.png", pixels[..., 0])
    (item,) = items(facts_of(tmp_path, masks_beside=True))
    grids = MaskGrids(1, memory_limit_bytes=300)
    first = grids.grid(item, False, 0, (8, 8)).clone()
    grids.grid(item, True, 0, (8, 8))
    assert torch.equal(grids.grid(item, False, 0, (8, 8)), first)
    torch.testing.assert_close(grids.grid(item, True, 0, (8, 8)), first.flip(-1))


def test_masks_of_no_picture_at_all_stop_a_run(tmp_path: Path) -> None:
    picture(tmp_path / "fox.png")
    with pytest.raises(DatasetError, match="none of its 1 pictures has one"):
        dataset_of(facts_of(tmp_path, mask_folder=tmp_path / "elsewhere"))


def test_looks_tell_an_inverted_mask_from_a_subject_s() -> None:
    subject = np.zeros((64, 64), np.uint8)
    subject[12:, 16:48] = 255
    assert not look_of(subject).seems_inverted and look_of(255 - subject).seems_inverted
    assert look_of(np.zeros((9, 9), np.uint8)).is_empty and look_of(np.full((9, 9), 255, np.uint8)).is_white

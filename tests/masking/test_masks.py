"""`maquette masks`: what is found, what is never overwritten, what is taken back, what a person sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import maquette
from maquette.dataset.config import SubsetOptions
from maquette.dataset.facts import DatasetInput
from maquette.dataset.reading import read_dataset
from maquette.errors import ConfigError, MaquetteError, ModelError
from maquette.masking.sheet import OUTSIDE, Shown, grid_for, views
from maquette.masking.subject import subject_of
from maquette.project.undoing import undo
from maquette.world.cast import SCENES, TOVAKI
from maquette.world.renderer import render

GREY = (128, 128, 128)


def drawn(path: Path, size_px: int = 128, box: tuple[int, int, int, int] = (40, 30, 90, 110)) -> Path:
    """Write a picture of a red thing before a plain wall."""
    image = Image.new("RGB", (size_px, size_px), (170, 200, 170))
    ImageDraw.Draw(image).ellipse(box, fill=(200, 40, 30), outline=(20, 10, 10))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def mask_at(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("L"))


def overlap(found: np.ndarray, right: np.ndarray) -> float:
    return float((found & right).sum() / (found | right).sum())


# --- what is found ---------------------------------------------------------------------------------------


def test_every_picture_of_the_small_world_is_parted_from_its_wall() -> None:
    for scene in SCENES:
        wall = "gray" if scene.background == "pink" else "pink"
        shown, other = (render(TOVAKI, each, 128) for each in (scene, replace(scene, background=wall)))
        right = np.all(np.array(shown) == np.array(other), axis=2)
        found = subject_of(np.array(shown))
        white = found.mask_HW > 127
        assert not found.doubt and (white & right).sum() > 0.97 * right.sum(), scene
        assert white.sum() < 1.3 * right.sum(), "beyond it the shadow on the floor at most"


def test_a_subject_that_stands_free_is_found_before_a_wall_that_is_not_plain() -> None:
    generator = np.random.default_rng(1)
    coarse = generator.integers(40, 120, (8, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC)
    right = Image.new("L", (160, 160))
    for canvas, colour in ((image, (240, 200, 30)), (right, 255)):
        ImageDraw.Draw(canvas).ellipse((50, 40, 115, 130), fill=colour)
    found = subject_of(np.array(image))
    assert found.how == "grabcut" and overlap(found.mask_HW > 127, np.array(right) > 0) > 0.85


def test_a_picture_of_nothing_gets_no_mask(tmp_path: Path) -> None:
    Image.new("RGB", (96, 96), GREY).save(tmp_path / "wall.png")
    result = maquette.masks(tmp_path)
    assert not result.made and "wall.png" in result.doubtful and not (tmp_path / "masks").exists()


def test_transparency_becomes_a_mask_as_it_is(tmp_path: Path) -> None:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[10:30, 20:50] = 200
    image = Image.new("RGBA", (60, 40), (255, 0, 0, 255))
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    drawn(tmp_path / "b.png")
    result = maquette.masks(tmp_path, source="alpha")
    assert np.array_equal(mask_at(tmp_path / "masks" / "a.png"), alpha)
    assert result.doubtful == {"b.png": "it has no transparency"}


def test_faces_are_white(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from tests.encoders.test_faces import portrait, write_detector

    write_detector(tmp_path / "face_detection_yunet_2023mar.onnx")
    portrait(tmp_path / "pictures" / "one.png", (160, 128))
    portrait(tmp_path / "pictures" / "none.png")
    result = maquette.masks(tmp_path / "pictures", source="face", face_models=tmp_path, grow=0.0)
    mask = mask_at(tmp_path / "pictures" / "masks" / "one.png")
    assert mask[144, 176] == 255 and mask[10, 10] == 0 and 0.01 < mask.mean() / 255 < 0.3
    assert result.doubtful == {"none.png": "no face is found"}


def write_network(path: Path, sides: tuple[int | str, int | str], output: str = "Identity") -> Path:
    """Write a network of one picture: its red less its green, then `output` of that."""
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    weight = helper.make_tensor("w", floats, (1, 3, 1, 1), [1.0, -1.0, 0.0])
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["differs"], kernel_shape=[1, 1]),
        helper.make_node(output, ["differs"], ["out"]),
    ]
    given = helper.make_tensor_value_info("input", floats, [1, 3, *sides])
    made = helper.make_tensor_value_info("out", floats, [1, 1, *sides])
    graph = helper.make_graph(nodes, "pictures", [given], [made], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), str(path))
    return path


def write_segmenter(path: Path) -> Path:
    """Write a network of a salient object's inputs and outputs: what is red is the subject."""
    return write_network(path, (64, 64))


def test_a_network_says_where_the_subject_is(tmp_path: Path) -> None:
    network = write_segmenter(tmp_path / "isnet-tiny.onnx")
    drawn(tmp_path / "p" / "a.png")
    result = maquette.masks(tmp_path / "p", segmenter=network, grow=0.0)
    mask = mask_at(tmp_path / "p" / "masks" / "a.png")
    assert result.how == {"network": 1} and mask[70, 65] > 200 and mask[5, 5] < 60
    inverted = maquette.masks(tmp_path / "p", segmenter=network, grow=0.0, invert=True, overwrite=True)
    assert np.array_equal(mask_at(inverted.made[0]), 255 - mask)


def test_lettering_is_left_out_and_a_picture_without_any_needs_no_mask(tmp_path: Path) -> None:
    """What is blue is text to this network, as far as it is given BGR; a large round body is no line of text."""
    network = write_network(tmp_path / "det.onnx", ("height", "width"), "Sigmoid")
    wall = Image.new("RGB", (320, 192), (128, 128, 0))
    (tmp_path / "p").mkdir()
    wall.save(tmp_path / "p" / "plain.png")
    draw = ImageDraw.Draw(wall)
    draw.rectangle((160, 150, 290, 165), fill=(0, 0, 255))
    draw.ellipse((30, 30, 110, 110), fill=(0, 0, 255))
    wall.save(tmp_path / "p" / "signed.png")
    result = maquette.masks(tmp_path / "p", source="text", text_model=network)
    assert result.plain == ["plain.png"] and not result.doubtful and result.how == {"lettering": 1}
    [path] = result.made
    mask = mask_at(path)
    assert mask[150:166, 160:291].max() == 0, "the lettering"
    assert mask[70, 70] == 255 and (mask == 0).mean() < 0.15, "all else is learned"
    maquette.masks(tmp_path / "p", source="text", text_model=network, invert=True, overwrite=True)
    assert np.array_equal(mask_at(path), 255 - mask)
    assert result.sheet is not None and result.sheet.is_file()


def test_lettering_needs_a_network_that_answers_with_probabilities(tmp_path: Path) -> None:
    drawn(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"given without --text-model.*opencv_zoo"):
        maquette.masks(tmp_path, source="text")
    other = write_network(tmp_path / "other.onnx", (64, 64))
    with pytest.raises(ModelError, match="it answers"):
        maquette.masks(tmp_path, source="text", text_model=other)


def test_what_is_no_network_and_options_without_effect_are_refused(tmp_path: Path) -> None:
    drawn(tmp_path / "a.png")
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="cannot be opened"):
        maquette.masks(tmp_path, segmenter=tmp_path / "x.onnx")
    with pytest.raises(ConfigError, match="--segmenter: given together with --from face"):
        maquette.masks(tmp_path, source="face", segmenter=tmp_path / "x.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaquetteError, match="no pictures"):
        maquette.masks(tmp_path / "empty")


# --- what is written -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        drawn(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("zkw")
    return tmp_path


def test_training_takes_the_masks_and_nothing_takes_them_for_pictures(folder: Path) -> None:
    result = maquette.masks(folder)
    facts = read_dataset(DatasetInput(images=folder, options=SubsetOptions(masks_beside=True)), cache=None)
    (used,) = facts.used_folders
    assert len(result.made) == len(facts.files) == len(used.masks) == 3 and not used.without_mask
    assert all(not mask.look.seems_inverted and not mask.look.is_empty for mask in used.masks.values())
    assert result.sheet is not None and result.sheet.stat().st_size > 1000


def test_a_mask_that_somebody_drew_or_changed_is_never_overwritten(folder: Path) -> None:
    own = folder / "a-masklabel.png"
    Image.new("L", (128, 128), 77).save(own)
    maquette.masks(folder)
    Image.new("L", (128, 128), 99).save(folder / "masks" / "b.png")
    result = maquette.masks(folder, overwrite=True, grow=5.0)
    assert [path.name for path in result.made] == ["c.png"]
    assert {path.name for path in result.kept} == {"a-masklabel.png", "b.png"}
    assert mask_at(own).max() == 77 and mask_at(folder / "masks" / "b.png").max() == 99
    assert not (folder / "masks" / "a.png").exists()


def test_undo_takes_masks_back_and_leaves_what_was_changed_since(folder: Path) -> None:
    maquette.masks(folder)
    Image.new("L", (128, 128), 99).save(folder / "masks" / "b.png")
    undone = undo(folder)
    assert undone.kind == "masks"
    assert [path.name for path in sorted((folder / "masks").iterdir())] == ["b.png"]


def test_the_white_grows_by_what_is_asked_for(folder: Path) -> None:
    maquette.masks(folder, grow=0.0)
    before = mask_at(folder / "masks" / "a.png") > 127
    maquette.masks(folder, grow=5.0, overwrite=True)
    after = mask_at(folder / "masks" / "a.png") > 127
    reach = after.any(axis=0).argmax() - before.any(axis=0).argmax()
    assert (after | before == after).all() and reach == -round(0.05 * 128)


# --- what is shown ---------------------------------------------------------------------------------------


def test_what_is_learned_is_shown_as_it_is_and_the_rest_in_red() -> None:
    pixels = np.full((64, 64, 3), 200, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 32:] = 255
    plain, over, grid = views(Shown("a.png", pixels, mask, grid_for(mask, 8)))
    assert plain.shape == over.shape == grid.shape
    half, side = plain.shape[1] // 2, plain.shape[0]
    inside = slice(9, side - 9), slice(half + 9, side - 9)
    outside = slice(9, side - 9), slice(9, half - 9)
    red = (0.3 * 200 + 0.45 * OUTSIDE).astype(np.uint8)
    assert (plain == 200).all()
    assert all((view[inside] == 200).all() and (view[outside] == red).all() for view in (over, grid))

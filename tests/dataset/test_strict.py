"""A dataset is found in every form people have it; what is wrong with it is said at once, with its remedy."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.dataset.config import SubsetOptions
from maquette.dataset.opening import opened, stored_rgb, upright
from maquette.errors import DatasetError
from maquette.project.request import TrainingRequest
from tests.conftest import shared_data
from tests.dataset.making import captioned, dataset_at, picture, problems_of, said_of

# Forms


def test_prefixed_folders_carry_their_repeats(tmp_path: Path) -> None:
    captioned(tmp_path / "10_sks dog", 2)
    captioned(tmp_path / "3_portrait", 1)
    dataset = dataset_at(tmp_path)
    assert [(s.name, s.num_repeats) for s in dataset.subsets] == [("10_sks dog", 10), ("3_portrait", 3)]
    assert len(dataset.pictures) == 3


def test_a_prefixed_folder_may_be_given_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captioned(tmp_path / "10_dog", 2)
    assert dataset_at(tmp_path / "10_dog").subsets[0].num_repeats == 10
    monkeypatch.chdir(tmp_path / "10_dog")
    assert dataset_at(Path()).subsets[0].num_repeats == 10


def test_a_flat_folder_takes_the_callers_repeats(tmp_path: Path) -> None:
    captioned(tmp_path / "flat", 2)
    assert dataset_at(tmp_path / "flat").subsets[0].num_repeats == 1
    assert dataset_at(tmp_path / "flat", options=SubsetOptions(num_repeats=4)).subsets[0].num_repeats == 4


def test_repeats_given_beside_prefixes_have_no_effect_and_that_is_said(tmp_path: Path) -> None:
    captioned(tmp_path / "10_dog", 2)
    dataset = dataset_at(tmp_path, options=SubsetOptions(num_repeats=4))
    assert dataset.subsets[0].num_repeats == 10
    request = TrainingRequest(file=Path("maquette.toml"), trainer="maquette", repeats=4)
    assert "4 repeats are asked for, but 10_dog says 10" in said_of(tmp_path, request)["STP010"]


def test_pictures_beside_prefixed_folders_are_left_out_with_a_warning(tmp_path: Path) -> None:
    captioned(tmp_path, 2)
    captioned(tmp_path / "2_dog", 1)
    captioned(tmp_path / "spare", 1)
    captioned(tmp_path / "0_off", 1)
    dataset = dataset_at(tmp_path)
    assert len(dataset.pictures) == 1
    said = said_of(tmp_path)
    assert f"3 pictures in {tmp_path.name}, spare are not used: beside folders named" in said["STP007"]
    assert "0_off: None of its 1 picture is trained, because of the 0 in its name" in said["STP009"]


def test_a_year_in_a_folders_name_is_noticed(tmp_path: Path) -> None:
    captioned(tmp_path / "2023_holiday", 1)
    assert "show each picture 2,023 times" in said_of(tmp_path)["STP016"]


def test_regularization_takes_its_folders_name_as_caption(tmp_path: Path) -> None:
    captioned(tmp_path / "train", 2)
    picture(tmp_path / "reg" / "1_dog" / "a.png")
    dataset = dataset_at(tmp_path / "train", regularization=tmp_path / "reg")
    (regularization,) = [p for p in dataset.pictures if p.subset.is_regularization]
    assert (regularization.caption, regularization.caption_path) == ("dog", None)
    given = dataset_at(
        tmp_path / "train", regularization=tmp_path / "reg", regularization_caption="a photo of a dog"
    )
    assert given.pictures[-1].caption == "a photo of a dog"


def test_training_takes_its_folders_name_only_when_asked(tmp_path: Path) -> None:
    picture(tmp_path / "5_sks dog" / "a.png")
    assert "no captions" in problems_of(tmp_path)[0]
    assert dataset_at(tmp_path, trainer="sd-scripts").pictures[0].caption == "sks dog"


def test_a_fallback_captions_a_folder_in_which_nothing_has_one(tmp_path: Path) -> None:
    picture(tmp_path / "d" / "a.png")
    picture(tmp_path / "d" / "b.jpg")
    dataset = dataset_at(tmp_path / "d", fallback_caption="sks")
    assert [p.caption for p in dataset.pictures] == ["sks", "sks"]
    said = said_of(tmp_path / "d", fallback_caption="sks")
    assert "None of its 2 pictures has a caption of its own: trained on 'sks'" in said["CAP029"]


def test_fingerprints_are_of_the_files_bytes(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 1)
    (found,) = dataset_at(tmp_path / "d").pictures
    assert found.sha256 == hashlib.sha256(found.path.read_bytes()).hexdigest()
    assert found.caption_path is not None
    assert found.caption_sha256 == hashlib.sha256(found.caption_path.read_bytes()).hexdigest()
    assert found.size_wh == (64, 64)


def test_scanning_does_not_load_torch() -> None:
    code = "import sys, maquette.dataset.reading, maquette.dataset.strict; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_hidden_files_are_not_pictures(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 1)
    (tmp_path / "d" / "._p000.png").write_bytes(b"resource fork")
    (tmp_path / "d" / "._p000.txt").write_bytes(b"\x00\x05")
    assert len(dataset_at(tmp_path / "d").pictures) == 1


def test_the_real_portraits_are_sound() -> None:
    dataset = dataset_at(shared_data("pixel_portraits"))
    assert len(dataset.pictures) == 203
    assert dataset.subsets[0].num_repeats == 10
    assert all(p.caption.startswith("pixel art") for p in dataset.pictures)


def test_real_photographs_have_no_captions_and_that_is_an_error_without_a_fallback() -> None:
    assert "no captions: 5 pictures" in problems_of(shared_data("photos") / "cat")[0]
    assert len(dataset_at(shared_data("photos") / "cat", fallback_caption="a cat").pictures) == 5


# Bad input


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    captioned(tmp_path / "images", 1)
    (line,) = problems_of(tmp_path / "imagse")
    assert "no such folder" in line and f"Did you mean '{tmp_path / 'images'}'" in line


def test_a_picture_given_as_dataset(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 1)
    assert f"Give its folder: {tmp_path / 'd'}" in problems_of(tmp_path / "d" / "p000.png")[0]


def test_no_pictures(tmp_path: Path) -> None:
    (line,) = problems_of(tmp_path)
    assert "no pictures" in line and ".png" in line


def test_no_pictures_but_some_one_folder_deeper(tmp_path: Path) -> None:
    captioned(tmp_path / "d" / "inside", 1)
    (line,) = problems_of(tmp_path / "d")
    assert f"Give {tmp_path / 'd' / 'inside'}." in line


def test_no_pictures_of_a_kind_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    (tmp_path / "b.gif").write_bytes(b"x")
    assert "a.heic, b.gif cannot be read. Convert to PNG" in problems_of(tmp_path)[0]


def test_only_regularization_pictures(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    captioned(tmp_path / "reg", 1)
    assert "only regularization pictures" in problems_of(tmp_path / "d", regularization=tmp_path / "reg")[0]


def test_no_captions(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (line,) = problems_of(tmp_path)
    assert str(tmp_path) in line and "no captions: 2 pictures" in line and "Write NAME.txt" in line


def test_captions_of_another_ending_are_pointed_out(tmp_path: Path) -> None:
    captioned(tmp_path, 2, ending=".caption")
    assert 'set caption_extension = ".caption"' in problems_of(tmp_path)[0]


def test_a_picture_without_caption_and_a_caption_without_picture(tmp_path: Path) -> None:
    captioned(tmp_path, 3)
    (tmp_path / "p001.txt").rename(tmp_path / "p0001.txt")
    said = problems_of(tmp_path)
    assert len(said) == 2
    assert any(
        f"{tmp_path / 'p0001.txt'}: a caption without picture" in line and "meant for 'p00" in line
        for line in said
    )
    assert any(f"{tmp_path / 'p001.png'}: a picture without caption" in line for line in said)
    assert len(problems_of(tmp_path, fallback_caption="sks")) == 2, "a fallback does not paper over a mistake"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


BAD_PICTURES = {
    "zero.png": (lambda _: b"", "an empty file"),
    "truncated.png": (lambda whole: whole[: len(whole) // 2], "damaged or cut short"),
    "flipped_bits.png": (
        lambda whole: whole[:200] + bytes(byte ^ 0xFF for byte in whole[200:260]) + whole[260:],
        "damaged or cut short",
    ),
    "huge.png": (lambda _: huge_png(), "3,600,000,000 pixels — at most 67,108,864 pixels"),
    "words.png": (lambda _: b"these are words", "not a picture"),
    "page.jpg": (lambda _: b"<!DOCTYPE html><html></html>", "a web page"),
    "pointer.webp": (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
}


def test_every_bad_picture_is_named_in_one_go(tmp_path: Path) -> None:
    captioned(tmp_path, 1, (128, 128))
    whole = (tmp_path / "p000.png").read_bytes()
    for name, (damage, _) in BAD_PICTURES.items():
        (tmp_path / name).write_bytes(damage(whole))
        (tmp_path / name).with_suffix(".txt").write_text("x")
    said = problems_of(tmp_path)
    assert len(said) == len(BAD_PICTURES)
    for name, (_, sentence) in BAD_PICTURES.items():
        assert any(str(tmp_path / name) in line and sentence in line for line in said), name


@pytest.mark.parametrize("ending", ["jpg", "webp", "bmp"])
def test_a_truncated_file_of_every_kind_is_found(tmp_path: Path, ending: str) -> None:
    path = picture(tmp_path / f"a.{ending}", (200, 200))
    path.write_bytes(path.read_bytes()[:-2000])
    assert "damaged or cut short" in problems_of(tmp_path, fallback_caption="x")[0]


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    assert "an animation of 3 frames" in problems_of(tmp_path, fallback_caption="x")[0]


def test_values_of_no_known_range_are_refused(tmp_path: Path) -> None:
    """A TIFF of floating-point numbers under a picture's name that is read: its white may be 1, or 255, or anything."""
    Image.new("F", (32, 32), 0.5).save(tmp_path / "a.tif")
    with (
        pytest.raises(DatasetError, match=r"no known range \(mode F\)"),
        opened(tmp_path / "a.tif", formats=("TIFF",)),
    ):
        pass


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_greyscale_keeps_its_shades_and_its_turn(tmp_path: Path, name: str) -> None:
    """Pillow's own conversion to 8 bits would make all but the darkest 255 of 65,536 shades white."""
    deep = np.linspace(0, 65_535, 32 * 48).reshape(32, 48).astype(np.uint16)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(deep).save(tmp_path / name, exif=turned)
    with opened(tmp_path / name, formats=("PNG", "TIFF")) as image:
        assert image.mode == "L" and image.format == {"a.png": "PNG", "a.tif": "TIFF"}[name]
        assert np.array_equal(np.asarray(upright(image)), np.rot90(deep >> 8, -1))


def test_sixteen_bit_pictures_are_read_as_what_they_show(tmp_path: Path) -> None:
    deep = np.linspace(0, 65_535, 32 * 48).reshape(32, 48).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert len(dataset_at(tmp_path, fallback_caption="x").pictures) == 1
    trained = np.asarray(stored_rgb(tmp_path / "a.png"))
    assert np.array_equal(trained, np.repeat((deep >> 8)[..., None], 3, axis=2))


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    captioned(tmp_path, 1)
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "a.txt").write_text("x")
    assert "a link that leads nowhere" in problems_of(tmp_path)[0]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    captioned(tmp_path, 1)
    os.mkfifo(tmp_path / "a.png")
    assert "a device, pipe or socket" in problems_of(tmp_path)[0]


def test_a_palette_with_a_transparent_colour_is_transparent(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 1)
    image.save(tmp_path / "a.png", transparency=1)
    assert "a.png has transparent parts" in said_of(tmp_path, fallback_caption="x")["PIC006"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders_are_named(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 2)
    (tmp_path / "d" / "p000.png").chmod(0)
    (tmp_path / "d" / "p001.txt").chmod(0)
    assert sum("Permission denied" in line for line in problems_of(tmp_path / "d")) == 2
    (tmp_path / "d").chmod(0)
    try:
        assert "Permission denied" in problems_of(tmp_path / "d")[0]
    finally:
        (tmp_path / "d").chmod(0o755)


def test_unreadable_captions_are_named_with_their_encoding(tmp_path: Path) -> None:
    captioned(tmp_path, 4)
    (tmp_path / "p000.txt").write_bytes("caf\u00e9, terrace".encode("cp1252"))
    (tmp_path / "p001.txt").write_bytes("a dog".encode("utf-16"))
    (tmp_path / "p002.txt").write_bytes(b"")
    (tmp_path / "p003.txt").write_bytes(b"\na dog")
    said = problems_of(tmp_path)
    assert ["Windows-1252" in said[0], "UTF-16" in said[1], "an empty caption" in said[2]] == [True] * 3
    assert "its first line is blank" in said[3]


def test_problems_of_all_folders_come_together(tmp_path: Path) -> None:
    captioned(tmp_path / "train" / "1_a", 1)
    captioned(tmp_path / "train" / "1_b", 1)
    (tmp_path / "train" / "1_a" / "p000.png").write_bytes(b"")
    (tmp_path / "train" / "1_b" / "orphan.txt").write_text("x")
    picture(tmp_path / "reg" / "a.png")
    said = problems_of(tmp_path / "train", regularization=tmp_path / "reg")
    assert len(said) == 3


# Warnings


def test_rotation_in_exif_is_not_applied_and_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 32)).save(path, exif=exif)
    dataset = dataset_at(tmp_path, fallback_caption="x")
    assert dataset.pictures[0].size_wh == (64, 32)
    assert "a.jpg is turned or mirrored by EXIF data" in said_of(tmp_path, fallback_caption="x")["PIC007"]


def test_transparency_is_said(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", mode="RGBA")
    Image.new("RGBA", (64, 64), (255, 0, 0, 255)).save(tmp_path / "opaque.png")
    said = said_of(tmp_path, fallback_caption="x")["PIC006"]
    assert "a.png has transparent parts" in said and "opaque" not in said


def test_longer_captions_shared_captions_and_marks_are_said(tmp_path: Path) -> None:
    captioned(tmp_path, 2)
    (tmp_path / "p000.txt").write_text("first\nsecond")
    (tmp_path / "p001.txt").write_bytes(b"\xef\xbb\xbfmarked")
    picture(tmp_path / "p001.jpg")
    said = said_of(tmp_path)
    assert "text after the first line, which is not read (1 line in all): p000.txt" in said["CAP006"]
    assert "begins with a byte order mark: p001.txt" in said["CAP005"]
    assert "p001.txt: p001.jpg, p001.png share it" in said["CAP030"]


def test_the_same_folder_for_training_and_regularization_counts_once(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 1)
    dataset = dataset_at(tmp_path / "d", regularization=tmp_path / "d")
    assert len(dataset.pictures) == 1
    said = said_of(tmp_path / "d", regularization=tmp_path / "d")["STP008"]
    assert "listed twice" in said and "given for training and for regularization" in said


def test_pictures_below_a_folder_that_has_its_own_are_not_used_and_that_is_said(tmp_path: Path) -> None:
    captioned(tmp_path / "2_dog", 1)
    captioned(tmp_path / "2_dog" / "more", 3)
    assert "3 pictures in more are not used" in said_of(tmp_path)["STP007"]


def test_a_setting_that_needs_another_is_said_to_be_idle(tmp_path: Path) -> None:
    captioned(tmp_path, 1)
    assert "keep_tokens has no effect" in said_of(tmp_path, options=SubsetOptions(keep_tokens=1))["CAP031"]
    assert not said_of(tmp_path, options=SubsetOptions(keep_tokens=1, shuffle_caption=True))


def test_a_regularization_file_is_refused(tmp_path: Path) -> None:
    captioned(tmp_path / "d", 1)
    (tmp_path / "reg.toml").write_text("")
    with pytest.raises(DatasetError, match="is_reg = true"):
        dataset_at(tmp_path / "d", regularization=tmp_path / "reg.toml")

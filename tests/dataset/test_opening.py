"""Opening a picture: which formats are decoded, what is refused before a pixel is, and which way up it is."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maquette.dataset import opening
from maquette.dataset.kinds import kind_of
from maquette.dataset.measuring import measure_picture
from maquette.dataset.opening import on_white, opened, picture_rgb, read_file, read_size, stored_rgb
from maquette.dataset.pictures import check_picture
from maquette.errors import DatasetError, Problem
from tests.dataset.making import picture

PNG = b"\x89PNG\r\n\x1a\n"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(owned) (w) file closefile\n%%EOF\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *, colour: int = 2, before_pixels: bytes = b"") -> bytes:
    """Return a PNG whose header promises this size; there are no pixels in it."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), before_pixels, chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b"")
    return PNG + b"".join(parts)


def webp_of(width: int, height: int) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body)) + b"WEBPVP8X" + struct.pack("<I", len(body)) + body


def saved_as(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, form)
    return buffer.getvalue()


def said_of(path: Path) -> str:
    """Return the one error that every way of opening a picture gives."""
    looks = [check_picture(path), measure_picture(path).result]
    for look in (picture_rgb, stored_rgb):
        with pytest.raises(DatasetError) as caught:
            look(path)
        looks += caught.value.problems
    assert len({str(look) for look in looks}) == 1, "check, curate, caption and train say the same"
    assert isinstance(looks[0], Problem)
    return str(looks[0])


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (EPS, "a PostScript drawing (EPS)"),
        (b"\xc5\xd0\xd3\xc6" + bytes(28) + EPS, "a PostScript drawing (EPS)"),
        (b"\n  " + EPS, "a PostScript drawing (EPS)"),
        (saved_as("GIF"), "a GIF picture"),
        (saved_as("TIFF"), "a TIFF picture"),
        (saved_as("ICO"), "an icon (ICO)"),
        (saved_as("PPM"), "a Netpbm picture"),
        (saved_as("AVIF"), "an AVIF picture"),
        (saved_as("JPEG2000"), "a JPEG 2000 picture"),
        (saved_as("PDF"), "a PDF"),
        (b"8BPS\x00\x01" + bytes(30), "a Photoshop file"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a HEIC picture"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "a film"),
        (b"\xff\x0a\x00\x00", "a JPEG XL picture"),
        (b"PK\x03\x04" + bytes(20), "a ZIP archive"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"Not Found", "text, not a picture"),
        (bytes(64), "nothing but zeros"),
        (bytes(range(1, 64)), "not a picture, whatever its name says"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_files_are_refused_for_what_they_are(data: bytes, named: str, tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(data)
    assert f"{path}: {named}" in said_of(path)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_what_trainers_read_is_read_under_any_name(form: str, tmp_path: Path) -> None:
    path = tmp_path / "fox.jpeg"
    path.write_bytes(saved_as(form))
    assert kind_of(saved_as(form)).format == form
    assert read_size(path) == (16, 16) and picture_rgb(path).size == (16, 16)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (png_of(13_000, 13_000), "169,000,000 pixels — at most 67,108,864 pixels"),
        (png_of(70_000, 2), "70000x2 pixels — at most 65,535 a side"),
        (webp_of(16_383, 16_383), "268,402,689 pixels — at most 67,108,864 pixels"),
        (png_of(8, 8, before_pixels=chunk(b"tEXt", b"c\0" + bytes(9 << 20))), "notes in it take far more"),
        (
            png_of(8, 8, before_pixels=chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(3 << 20)))),
            "notes in it take far more",
        ),
        (
            png_of(8, 8, before_pixels=chunk(b"iCCP", b"c\0\0" + zlib.compress(bytes(3 << 20)))),
            "notes in it take far more",
        ),
        (saved_as("JPEG")[:-2] + 300 * b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00", "a JPEG of 301 scans"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_takes_too_much_is_refused_before_it_is_decoded(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(data)
    assert said in said_of(path)


def test_a_file_beyond_the_limit_is_not_even_read(tmp_path: Path) -> None:
    path = picture(tmp_path / "long.png")
    os.truncate(path, 1 << 40)  # sparse: it takes no room on the disk
    assert "a file of 1,099,512 MB — at most 134 MB" in said_of(path)


def test_a_pipe_named_like_a_picture_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    os.mkfifo(path)
    with pytest.raises(DatasetError, match=r"fox\.png: no file — a picture file"):
        read_file(path)


def test_a_link_that_leads_nowhere_and_a_name_that_no_disk_holds(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    assert "a link that leads nowhere" in said_of(tmp_path / "link.png")
    assert "no such file" in said_of(tmp_path / "gone.png")
    assert "cannot be read (File name too long)" in said_of(tmp_path / f"{'x' * 300}.png")


def test_a_picture_of_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MAX_PICTURE_PIXELS", 64 * 64)
    assert picture_rgb(picture(tmp_path / "a.png", (64, 64))).size == (64, 64)
    with pytest.raises(DatasetError, match="4,160 pixels"):
        picture_rgb(picture(tmp_path / "b.png", (65, 64)))


def test_other_formats_are_opened_only_where_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    path.write_bytes(saved_as("TIFF"))
    with opened(path, formats=opening.CONVERTED_FORMATS) as image:
        assert image.size == (16, 16)
    with pytest.raises(DatasetError, match="a TIFF picture"), opened(path):
        pass


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_parts_are_white_however_many_strips_it_takes(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (31, 17, 4), np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    if mode == "P":
        image = image.convert("RGB").quantize(16)
        image.info["transparency"] = bytes(range(0, 256, 16))
    elif mode != "RGBA":
        image = image.convert("LA").convert(mode)
    whole = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert(
        "RGB"
    )
    monkeypatch.setattr(opening, "STRIP_PIXELS", 40)
    assert np.array_equal(np.asarray(on_white(image)), np.asarray(whole))


def test_broken_exif_and_profile_do_not_harm_a_sound_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + bytes(20)
    Image.new("RGB", (40, 20), "teal").save(path, exif=exif, icc_profile=b"no profile at all")
    found = measure_picture(path).measures
    assert (found.width_px, found.height_px, found.is_rotated) == (40, 20, False)
    assert found.colour_profile == "an unreadable ICC profile"

"""Tiny sound pictures of every kind that people have, and the law that every damaged one is held to."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from maquette.captioning.sources.palette import palette_phrases
from maquette.dataset.measures import Measures, PictureFacts, PictureSize
from maquette.dataset.measuring import measure_picture
from maquette.dataset.opening import picture_rgb, stored_rgb
from maquette.dataset.pictures import check_picture, read_sizes
from maquette.dataset.unread import unread_in
from maquette.errors import DatasetError, Problem
from maquette.rules.picture_repairs import as_png, in_srgb, on_white, upright
from tests.dataset.test_unread import HEIC
from tests.fuzz.damage import damaged

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n/Times findfont\nshowpage\n%%EOF\n"
SIZE_WH = (24, 17)


@cache
def sound() -> tuple[tuple[str, bytes], ...]:
    """Return (ending, bytes) of pictures that are read, and of some that are not."""
    pixels = np.random.default_rng(7).integers(0, 256, (*reversed(SIZE_WH), 4), np.uint8)
    rgba = Image.fromarray(pixels, "RGBA")
    rgb = rgba.convert("RGB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a phone"
    notes = PngImagePlugin.PngInfo()
    notes.add_text("parameters", "a fox, " * 20, zip=True)
    notes.add_itxt("prompt", "ein Fuchs, " * 20, "de", "", zip=True)
    grey, deep = rgb.convert("L"), Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)
    film = {"save_all": True, "append_images": [rgb.rotate(180), rgba]}
    return (
        (".png", _saved(rgb, "PNG", exif=exif, icc_profile=srgb, pnginfo=notes)),
        (".png", _saved(rgba, "PNG")),
        (".png", _saved(rgb.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))),
        (".png", _saved(rgb.convert("1"), "PNG")),
        (".png", _saved(grey.convert("LA"), "PNG")),
        (".png", _saved(deep, "PNG")),
        (".png", _saved(rgb, "PNG", **film)),
        (".jpg", _saved(rgb, "JPEG", exif=exif, icc_profile=srgb, comment="by hand")),
        (".jpg", _saved(rgb, "JPEG", progressive=True, subsampling=2, restart_marker_rows=1)),
        (".jpg", _saved(rgb.convert("CMYK"), "JPEG")),
        (".jpeg", _saved(grey, "JPEG", optimize=True)),
        (".jpg", _saved(rgb, "MPO", save_all=True, append_images=[rgb])),
        (".webp", _saved(rgb, "WEBP", exif=exif, icc_profile=srgb)),
        (".webp", _saved(rgba, "WEBP", lossless=True)),
        (".webp", _saved(rgb, "WEBP", **film)),
        (".bmp", _saved(rgb, "BMP")),
        (".bmp", _saved(rgb.quantize(8), "BMP")),
        (".bmp", _saved(rgba, "BMP")),
        (".gif", _saved(rgb.quantize(8), "GIF", transparency=1)),
        (".tif", _saved(rgb, "TIFF", compression="tiff_lzw", exif=exif)),
        (".tiff", _saved(rgb.convert("CMYK"), "TIFF", compression="jpeg")),
        (".avif", _saved(rgb, "AVIF", exif=exif)),
        (".heic", HEIC),
        (".ico", _saved(rgba, "ICO", sizes=[(16, 16)])),
        (".ppm", _saved(rgb, "PPM")),
        (".png", EPS),
    )


def inputs(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Yield (ending, damaged bytes); some carry another kind's ending, which must change nothing."""
    rng = random.Random(seed)
    known = sound()
    others = [data for _, data in known]
    for index in range(count):
        ending, data = known[index % len(known)]
        if rng.random() < 0.2:
            ending = rng.choice(known)[0]
        yield ending, damaged(data, others, rng)


def hold_to_the_law(path: Path) -> bool:
    """Open `path` in every way there is; return whether it was read.

    Each way gives a picture or one DatasetError that names the file; all agree whether it can be trained on.
    """
    checked, measured = check_picture(path), measure_picture(path).result
    (size,) = read_sizes([path])
    assert isinstance(checked, Problem) == isinstance(measured, Problem), (checked, measured)
    for look in (checked, measured, size):
        assert not isinstance(look, Problem) or _names(look, path)
    if isinstance(checked, PictureFacts):
        assert isinstance(size, PictureSize) and size.size_wh == checked.size_wh
        assert isinstance(measured, Measures) and measured.sha256 == checked.sha256
        shown = picture_rgb(path)
        assert stored_rgb(path).size == checked.size_wh and shown.mode == "RGB"
        assert palette_phrases(shown, measured.palette)
    for way in (picture_rgb, stored_rgb, upright, in_srgb, on_white, as_png):
        _try(way, path)
    assert all(group.remedy for group in unread_in(path.parent, [path]))
    return isinstance(checked, PictureFacts)


def _try(way: Any, path: Path) -> None:
    try:
        way(path)
    except DatasetError as error:
        assert len(error.problems) == 1 and _names(error.problems[0], path)


def _names(problem: Problem, path: Path) -> bool:
    text = str(problem)
    return text.startswith(f"{path}: ") and "\n" not in text and len(text) < len(str(path)) + 600


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()

"""Is a file a picture that can be trained on? Each is read once, hashed, and decoded to its last pixel."""

from __future__ import annotations

import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from maquette.dataset.measures import PictureFacts, PictureSize
from maquette.errors import Problem

T = TypeVar("T")
MAX_PICTURE_PIXELS = (
    178_956_970  # Pillow's own limit against decompression bombs, so that the trainer's reads agree
)
EXIF_ORIENTATION = 0x0112
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
EIGHT_BIT_MODES = frozenset(
    {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
)
STILL_FORMATS = frozenset({"MPO"})  # a camera's JPEG with a preview as second frame
OTHER_PICTURE_EXTENSIONS = frozenset(
    {
        *(
            ".gif",
            ".tif",
            ".tiff",
            ".heic",
            ".heif",
            ".avif",
            ".jxl",
            ".jfif",
            ".jp2",
            ".ico",
            ".tga",
            ".svg",
        ),
        *(".psd", ".exr", ".raw", ".cr2", ".nef", ".dng", ".mp4", ".webm", ".mov"),
    }
)
SIGNS_OF_TEXT = (
    (b"version https://git-lfs", "a Git LFS pointer", "Fetch the real file: git lfs pull"),
    (b"<!doctype html", "a web page", "Download the picture itself."),
    (b"<html", "a web page", "Download the picture itself."),
    (b"%pdf", "a PDF", "Export the page as PNG."),
)


@dataclass(frozen=True)
class LoadedPicture:
    """A decoded picture, its pixels as stored, and its facts."""

    image: Image.Image
    facts: PictureFacts


def check_pictures(paths: Sequence[Path]) -> Iterator[PictureFacts | Problem]:
    """Yield for each path its facts or what is wrong with it, in order. Decodes on several threads."""
    return _by_threads(check_picture, paths)


def read_sizes(paths: Sequence[Path]) -> Iterator[PictureSize | Problem]:
    """Yield each picture's size from its header alone, or that there is none to be read, in order."""
    return _by_threads(_read_size, paths)


def _by_threads(look: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    with warnings.catch_warnings():  # set around the pool: the filter is global, not per thread
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            yield from pool.map(look, paths)


def _read_size(path: Path) -> PictureSize | Problem:
    try:
        with Image.open(path) as image:
            return PictureSize(width_px=image.width, height_px=image.height)
    # Decoders fail in many ways on damaged headers (OSError, SyntaxError, struct.error, DecompressionBombError, ...).
    except Exception:
        return Problem(
            str(path),
            "cannot be opened as a picture",
            "a picture",
            "maquette check says what is wrong with it.",
        )


def check_picture(path: Path) -> PictureFacts | Problem:
    """Return the facts of one picture file, or the problem that keeps it from being trained on."""
    data = read_picture(path)
    if isinstance(data, Problem):
        return data
    loaded = decode_picture(path, data)
    return loaded if isinstance(loaded, Problem) else loaded.facts


def read_picture(path: Path) -> bytes | Problem:
    """Return the bytes of a picture file, never empty, or the problem that keeps them from being read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Problem(
            str(path), "a link that leads nowhere", "a picture file", "Restore its target or remove the link."
        )
    except OSError as error:
        return Problem(
            str(path),
            f"cannot be read ({error.strerror})",
            "a readable picture",
            "Check its permissions and the disk.",
        )
    if not data:
        return Problem(
            str(path),
            "an empty file",
            "a picture",
            "Copy it again from its source, or remove it and its caption.",
        )
    return data


def decode_picture(path: Path, data: bytes, *, sha256: str | None = None) -> LoadedPicture | Problem:
    """Return the picture that `data` holds, decoded to its last pixel, or what makes it unfit; `path` names it.

    `sha256` is the hash of `data` where the caller has it already.
    """
    try:
        if data.startswith(PNG_SIGNATURE):
            with Image.open(io.BytesIO(data)) as image:
                image.verify()  # checksums, which decoding alone does not look at; other formats have none
        with Image.open(io.BytesIO(data)) as image:
            return _unsuitable(path, image) or _loaded(image, sha256 or hashlib.sha256(data).hexdigest())
    except UnidentifiedImageError:
        return _not_a_picture(path, data)
    except Image.DecompressionBombError as error:
        return _too_large(path, str(error))
    # Decoders fail in many ways on damaged data (OSError, SyntaxError, struct.error, zlib.error, EOFError,
    # ...).
    except Exception as error:
        return Problem(
            str(path),
            f"damaged or cut short ({error})",
            "a picture that decodes to the end",
            "Copy it again from its source, or remove it and its caption.",
        )


def _loaded(image: Image.Image, sha256: str) -> LoadedPicture:
    orientation = _orientation(image)
    image.load()
    facts = PictureFacts(
        width_px=image.width,
        height_px=image.height,
        sha256=sha256,
        is_rotated=orientation != 1,
        is_transparent=_is_transparent(image),
    )
    return LoadedPicture(image, facts)


def _is_transparent(image: Image.Image) -> bool:
    if "A" not in image.getbands():
        if "a" not in image.getbands() and "transparency" not in image.info:
            return False
        image = image.convert("RGBA")
    return image.getchannel("A").histogram()[255] < image.width * image.height


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # damaged EXIF data do not harm the picture, whose pixels are taken as stored
        return 1


def _unsuitable(path: Path, image: Image.Image) -> Problem | None:
    """Return what makes a sound file unfit for training, before it is decoded."""
    if image.width * image.height > MAX_PICTURE_PIXELS:
        return _too_large(path, f"{image.width * image.height} pixels")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in STILL_FORMATS:
        return Problem(
            str(path),
            f"an animation of {frames} frames",
            "a still picture",
            "Save the frame you want as PNG.",
        )
    if image.mode not in EIGHT_BIT_MODES:
        return Problem(
            str(path),
            f"more than 8 bits a pixel channel (mode {image.mode})",
            "8 bits a channel",
            "Save it as an 8-bit PNG: brightness would be cut off.",
        )
    return None


def _too_large(path: Path, said: str) -> Problem:
    pixels = re.search(r"(\d+) pixels", said)
    given = f"{int(pixels[1]):,} pixels" if pixels else "more pixels than can be decoded safely"
    return Problem(
        str(path), given, f"at most {MAX_PICTURE_PIXELS:,} pixels", "Scale it down; training needs far fewer."
    )


def _not_a_picture(path: Path, data: bytes) -> Problem:
    start = data[:64].lstrip().lower()
    for sign, given, remedy in SIGNS_OF_TEXT:
        if start.startswith(sign):
            return Problem(str(path), given, "a picture", remedy)
    return Problem(
        str(path),
        "not a picture, whatever its name says",
        "a PNG, JPEG, WebP or BMP file",
        "Replace it, or remove it and its caption.",
    )

"""Is a file a picture that can be trained on? Each is read once, hashed, and decoded to its last pixel."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from maquette.dataset.measures import PictureFacts, PictureSize
from maquette.dataset.opening import (
    has_alpha,
    on_white,
    opened,
    orientation_of,
    read_file,
    read_size,
    room_for,
    upright,
    verify,
)
from maquette.errors import DatasetError, Problem

T = TypeVar("T")


@dataclass(frozen=True)
class LoadedPicture:
    """A decoded picture as it is looked at, what its file said of it, and its facts."""

    rgb: Image.Image
    """Upright, transparent parts on white."""
    facts: PictureFacts
    format: str
    mode: str
    icc_profile: bytes | None


def check_pictures(paths: Sequence[Path]) -> Iterator[PictureFacts | Problem]:
    """Yield for each path its facts or what is wrong with it, in order. Decodes on several threads."""
    return _by_threads(check_picture, paths)


def read_sizes(paths: Sequence[Path]) -> Iterator[PictureSize | Problem]:
    """Yield each picture's size from its header alone, or what is wrong with it, in order."""
    return _by_threads(_read_size, paths)


def _by_threads(look: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T]:
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        yield from pool.map(look, paths)


def _read_size(path: Path) -> PictureSize | Problem:
    try:
        width, height = read_size(path)
    except DatasetError as error:
        return error.problems[0]
    return PictureSize(width_px=width, height_px=height)


def check_picture(path: Path) -> PictureFacts | Problem:
    """Return the facts of one picture file, or the problem that keeps it from being trained on."""
    try:
        data = read_file(path)
        verify(path, data)
        with room_for(path, data), opened(path, data) as image:
            return _facts_of(image, hashlib.sha256(data).hexdigest())
    except DatasetError as error:
        return error.problems[0]


def read_picture(path: Path) -> bytes | Problem:
    """Return the bytes of a picture file, never empty, or the problem that keeps them from being read."""
    try:
        return read_file(path)
    except DatasetError as error:
        return error.problems[0]


def decode_picture(path: Path, data: bytes, *, sha256: str) -> LoadedPicture | Problem:
    """Return the picture that `data` holds, decoded to its last pixel, or what makes it unfit; `path` names it.

    `sha256` is the hash of `data`.
    """
    try:
        verify(path, data)
        with opened(path, data) as image:
            facts = _facts_of(image, sha256)
            return LoadedPicture(
                rgb=on_white(upright(image)),
                facts=facts,
                format=image.format or "",
                mode=image.mode,
                icc_profile=image.info.get("icc_profile"),
            )
    except DatasetError as error:
        return error.problems[0]


def _facts_of(image: Image.Image, sha256: str) -> PictureFacts:
    orientation = orientation_of(image)
    image.load()
    return PictureFacts(
        width_px=image.width,
        height_px=image.height,
        sha256=sha256,
        is_rotated=orientation != 1,
        is_transparent=_is_transparent(image),
    )


def _is_transparent(image: Image.Image) -> bool:
    if not has_alpha(image):
        return False
    layer = image if "A" in image.getbands() else image.convert("RGBA")
    return layer.getchannel("A").histogram()[255] < image.width * image.height

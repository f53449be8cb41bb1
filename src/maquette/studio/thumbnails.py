"""Small versions of pictures for pages: made once, kept by the picture's content, dropped when the folder grows too large.

    CACHE/thumbnails/256/ab/ab12….webp

The key is the file's place, size and time, so that a page of thousands reads no picture to find that it is known.
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from contextlib import suppress
from pathlib import Path

from maquette.dataset.opening import picture_rgb
from maquette.errors import OutputError
from maquette.files import cache_folder, write_atomic

SIZES_PX = (192, 384, 1024)
LIMIT_BYTES = 1 << 30
QUALITY = 82
_SWEEP_EVERY = 500


class Thumbnails:
    """Pictures no larger than asked for, as WebP."""

    def __init__(self, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = folder or cache_folder() / "thumbnails"
        self._limit = limit_bytes
        self._made = 0

    def of(self, path: Path, size_px: int) -> bytes:
        """Return `path` with its longer side at most `size_px`, one of SIZES_PX. Raises DatasetError for what is no picture."""
        file = self._file(path, size_px)
        try:
            data = file.read_bytes()
            os.utime(file)
            return data
        except OSError:
            data = _reduced(path, size_px)
        with suppress(
            OutputError, OSError
        ):  # a full disk or a folder that cannot be written costs time, not the page
            write_atomic(file, data)
            self._made += 1
            if self._made % _SWEEP_EVERY == 0:
                self.sweep()
        return data

    def sweep(self) -> int:
        """Remove what was not looked at for longest until the folder is below its limit; return how many files."""
        known = sorted(_entries(self.folder), key=lambda entry: -entry[0])
        total, removed = 0, 0
        for _, size, path in known:
            total += size
            if total > self._limit:
                with suppress(OSError):
                    path.unlink()
                    removed += 1
        return removed

    def _file(self, path: Path, size_px: int) -> Path:
        key = _key(path)
        return self.folder / str(size_px) / key[:2] / f"{key}.webp"


def tag_of(path: Path, size_px: int) -> str:
    """Return what changes whenever the picture does: the name under which a browser keeps its thumbnail."""
    return f'"{_key(path)[:24]}-{size_px}"'


def _key(path: Path) -> str:
    told = path.stat()
    text = f"{path}\0{told.st_size}\0{told.st_mtime_ns}\0{told.st_ino}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _reduced(path: Path, size_px: int) -> bytes:
    from PIL import Image

    picture = picture_rgb(path, least_px=size_px)
    small = max(picture.size) <= size_px
    if not small:
        picture.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    # Pixel art and the small world's pictures stay as they are.
    picture.save(
        buffer, format="WEBP", quality=QUALITY, lossless=small and max(picture.size) <= SIZES_PX[0], method=2
    )
    return buffer.getvalue()


def _entries(folder: Path) -> list[tuple[float, int, Path]]:
    found = []
    for place, _, files in os.walk(folder):
        for name in files:
            path = Path(place) / name
            with suppress(OSError):
                told = path.stat()
                found.append(
                    (
                        max(told.st_mtime, told.st_atime if told.st_atime < time.time() else 0),
                        told.st_size,
                        path,
                    )
                )
    return found

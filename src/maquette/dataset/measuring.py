"""Measures pictures, each decoded once, on all cores, in bounded memory; what was measured before is recalled."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageCms

from maquette.dataset import measure_pixels as look
from maquette.dataset.hashes import difference_hash, hashed, perceptual_hashes
from maquette.dataset.measure_cache import FileState, MeasureCache
from maquette.dataset.measure_grid import pixel_grid
from maquette.dataset.measures import Measured, Measures
from maquette.dataset.opening import room_for
from maquette.dataset.pictures import LoadedPicture, decode_picture, read_picture
from maquette.errors import DatasetError, Problem

RECALLED_AT_ONCE = 512
AHEAD_PER_WORKER = 4
STANDARD_COLOURS = ("srgb", "s rgb", "iec61966-2.1", "iec 61966-2-1", "gray gamma 2.2", "sgray")


def measure_pictures(
    paths: Sequence[Path],
    *,
    cache: MeasureCache | Literal["default"] | None = "default",
    workers: int | None = None,
) -> Iterator[Measured]:
    """Yield for each path its measures, or what is wrong with the file, in the order of `paths`.

    A few pictures for each of the `workers` (default: one a core) are under way at any time, however long the list.
    `cache` None measures everything anew; a cache that cannot be used changes nothing but the time
    (`MeasureCache.trouble` says why).
    """
    workers = workers or os.cpu_count() or 1
    known = MeasureCache() if cache == "default" else cache
    ahead: deque[Measured | Future[Measured]] = deque()
    with _one_thread_a_picture(), ThreadPoolExecutor(workers, thread_name_prefix="measure") as pool:
        try:
            for result in _begun(paths, known, pool):
                ahead.append(result)
                if len(ahead) > AHEAD_PER_WORKER * workers:
                    yield _finished(ahead.popleft())
            while ahead:
                yield _finished(ahead.popleft())
        finally:
            for waiting in ahead:
                if isinstance(waiting, Future):
                    waiting.cancel()
            if known is not None:
                known.flush()
            if cache == "default" and known is not None:
                known.close()


def measure_picture(path: Path, *, cache: MeasureCache | None = None) -> Measured:
    """Return the measures of one picture file, or what is wrong with it."""
    state = FileState.of(path) if cache is not None else None
    data = read_picture(path)
    if isinstance(data, Problem):
        return Measured(path, data)
    sha256 = hashlib.sha256(data).hexdigest()
    known = cache.by_content(path, sha256) if cache is not None else None
    if known is None:
        known = Measured(path, _taken(path, data, sha256))
    if cache is not None:
        cache.remember(known, sha256, state)
    return known


def _taken(path: Path, data: bytes, sha256: str) -> Measures | Problem:
    try:
        with room_for(path, data):
            loaded = decode_picture(path, data, sha256=sha256)
            return loaded if isinstance(loaded, Problem) else measures_of(loaded)
    except DatasetError as error:
        return error.problems[0]


def measures_of(loaded: LoadedPicture) -> Measures:
    """Return the measures of a decoded picture."""
    rgb, facts = loaded.rgb, loaded.facts
    reduced = _reduced(rgb, look.VIEW_PX)
    view_HW = look.shrunk(np.asarray(reduced.convert("L")), look.VIEW_PX)
    small_HWC = look.shrunk(np.asarray(_reduced(reduced, 2 * look.SMALL_PX)), look.SMALL_PX)
    brightness, contrast, clipped_dark, clipped_bright = look.exposure(view_HW)
    num_colours, palette = look.colours(rgb, small_HWC)
    grid = pixel_grid(rgb, num_colours)
    square_HW = hashed(view_HW)
    perceptual, mirrored = perceptual_hashes(square_HW)
    plain_border, subject_share, edge_contacts = look.subject(small_HWC)
    return Measures(
        width_px=facts.width_px,
        height_px=facts.height_px,
        sha256=facts.sha256,
        format=loaded.format,
        mode=loaded.mode,
        sharpness=look.sharpness(view_HW),
        edge_width_px=look.edge_width(view_HW),
        brightness=brightness,
        contrast=contrast,
        clipped_dark=clipped_dark,
        clipped_bright=clipped_bright,
        noise=look.noise(view_HW),
        detail_scale=look.detail_scale(rgb, view_HW) if grid.cell_px == 1 else 1.0,
        grid_px=grid.cell_px,
        grid_error=grid.error,
        num_colours=num_colours,
        difference_hash=difference_hash(square_HW),
        perceptual_hash=perceptual,
        mirrored_hash=mirrored,
        thumbnail=look.thumbnail(small_HWC),
        is_rotated=facts.is_rotated,
        is_transparent=facts.is_transparent,
        colour_profile=colour_profile(loaded.icc_profile),
        subject_share=subject_share,
        edge_contact=sum(edge_contacts) / 4,
        edge_contacts=edge_contacts,
        plain_border=plain_border,
        bars=look.bars(view_HW),
        palette=palette,
    )


def colour_profile(icc: bytes | None) -> str:
    """Return the name of an embedded ICC profile; empty for none, for sRGB and for plain grey."""
    return _profile_name(bytes(icc)) if icc else ""


@lru_cache(256)
def _profile_name(icc: bytes) -> str:
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        name = ImageCms.getProfileDescription(profile).strip()
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return "an unreadable ICC profile"
    plain = name.lower()
    return "" if any(word in plain for word in STANDARD_COLOURS) else name or "an unnamed ICC profile"


def _reduced(rgb: Image.Image, longest_px: int) -> Image.Image:
    """Return a copy reduced by a whole factor, which is quick, to between one and two times `longest_px`."""
    factor = max(rgb.size) // longest_px
    return rgb.reduce(factor) if factor > 1 else rgb


def _begun(
    paths: Sequence[Path], cache: MeasureCache | None, pool: ThreadPoolExecutor
) -> Iterator[Measured | Future[Measured]]:
    """Yield what is known already, and the beginnings of the rest, as far as the caller asks."""
    rest = iter(paths)
    while some := list(islice(rest, RECALLED_AT_ONCE)):
        known = cache.recall(some) if cache is not None else {}
        for path in some:
            yield known.get(path) or pool.submit(measure_picture, path, cache=cache)


def _finished(result: Measured | Future[Measured]) -> Measured:
    return result.result() if isinstance(result, Future) else result


@contextmanager
def _one_thread_a_picture() -> Iterator[None]:
    """Keep OpenCV to the calling thread: the pictures are what runs in parallel."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)

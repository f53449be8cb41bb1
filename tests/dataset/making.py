"""Small datasets written to disk for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from maquette.dataset.config import SubsetOptions, SubsetSource
from maquette.dataset.records import Item, Picture
from maquette.dataset.scan import scan_dataset
from maquette.errors import DatasetError


def picture(path: Path, size_wh: tuple[int, int] = (64, 64), seed: int = 0, mode: str = "RGB") -> Path:
    """Write random pixels to `path` and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 4), np.uint8)
    Image.fromarray(pixels, "RGBA").convert(mode).save(path)
    return path


def captioned(folder: Path, count: int, size_wh: tuple[int, int] = (64, 64), ending: str = ".txt") -> Path:
    """Write `count` pictures with captions into `folder` and return it."""
    for index in range(count):
        path = picture(folder / f"p{index:03}.png", size_wh, seed=index)
        path.with_suffix(ending).write_text(f"sks dog, number {index}, outdoors")
    return folder


def problems_of(images: Path, **options: object) -> list[str]:
    """Return the problems that scanning reports, one line each; fail when there are none."""
    try:
        scan_dataset(images, **options)  # type: ignore[arg-type]
    except DatasetError as error:
        return [str(problem) for problem in error.problems]
    raise AssertionError(f"{images} was accepted")


def fake_items(sizes: Iterable[tuple[int, int]], options: SubsetOptions | None = None) -> list[Item]:
    """Return items of pictures that exist only on paper, one for each size."""
    subset = SubsetSource(path=Path("folder"), options=options or SubsetOptions())
    return [
        Item(
            index,
            Picture(
                path=Path(f"folder/{index}.png"),
                width_px=width,
                height_px=height,
                caption="a, b, c, d",
                caption_path=None,
                subset=subset,
                sha256=f"{index:064x}",
                caption_sha256=None,
            ),
            repeat=0,
        )
        for index, (width, height) in enumerate(sizes)
    ]

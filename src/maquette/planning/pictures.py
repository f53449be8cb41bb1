"""The pictures of a planned run, as training would find them, with sizes read from their headers alone.

Thousands of pictures take a second: no pixel is decoded, no caption read. What only a full look can find (damaged
files, missing captions) is left to `maquette check` and to training itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maquette.dataset.config import SubsetOptions
from maquette.dataset.folders import Notes, keep_first, list_folder, missing_folder
from maquette.dataset.records import Dataset, Picture
from maquette.dataset.scan import plan_folders
from maquette.errors import DatasetError, Problem


def find_pictures(
    images: Path, *, regularization: Path | None = None, options: SubsetOptions | None = None
) -> Dataset:
    """Return the dataset at `images` without captions and fingerprints.

    Pictures that cannot be opened are left out and said in a warning. Raises DatasetError when a folder is missing or
    no picture of the subject is left.
    """
    plan = plan_folders(images, regularization=regularization, options=options)
    notes = Notes(warnings=list(plan.warnings))
    subsets = keep_first(plan.subsets, notes)
    missing = [subset.path for subset in subsets if not subset.path.is_dir()]
    if missing:
        raise DatasetError(missing_folder(path) for path in missing)
    files = {subset: list_folder(subset.path, notes).pictures for subset in subsets}
    paths = list(dict.fromkeys(path for group in files.values() for path in group))
    sizes = dict(zip(paths, sizes_wh(paths), strict=True))
    unreadable = [path for path, size in sizes.items() if size is None]
    if unreadable:
        notes.warn(
            f"{len(unreadable)} pictures cannot be opened and are not counted ({_names(unreadable)}). "
            "Training will refuse them: run maquette check."
        )
    pictures = tuple(
        Picture(
            path=path, width_px=size[0], height_px=size[1], caption="", caption_path=None, subset=subset,
            sha256="", caption_sha256=None,
        )
        for subset, group in files.items() for path in group if (size := sizes[path]) is not None
    )  # fmt: skip
    if notes.problems:
        raise DatasetError(notes.problems)
    if not any(not picture.subset.is_regularization for picture in pictures):
        remedy = " ".join(
            ["Add pictures or correct the path.", *(message.text for message in notes.warnings)]
        )
        raise DatasetError(Problem(str(images), "no pictures", "at least one picture of the subject", remedy))
    used = {picture.subset for picture in pictures}
    return Dataset(
        pictures=pictures,
        datasets=plan.datasets,
        subsets=tuple(subset for subset in subsets if subset in used),
        warnings=tuple(notes.warnings),
    )


def sizes_wh(paths: Sequence[Path]) -> list[tuple[int, int] | None]:
    """Return each picture's size in pixels (width, height) from its header; None for what is no picture."""
    if not paths:
        return []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_size_wh, paths))


def _size_wh(path: Path) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    # Decoders fail in many ways on damaged headers (OSError, SyntaxError, struct.error, DecompressionBombError, ...).
    except Exception:
        return None


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown

"""Small datasets written to disk for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from maquette.dataset.config import SubsetOptions, SubsetSource
from maquette.dataset.facts import DatasetFacts, DatasetInput, Depth
from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Dataset, Item, Picture
from maquette.dataset.strict import dataset_of
from maquette.errors import DatasetError
from maquette.findings.registry import run_rules
from maquette.project.request import TrainingRequest
from maquette.rules.catalogue import all_rules


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


def facts_of(images: Path, depth: Depth = "hashes", **given: Any) -> DatasetFacts:
    """Return what is read of a dataset; `given` as in DatasetInput."""
    return read_dataset(DatasetInput(images=images, **given), depth, cache=None)


def dataset_at(images: Path, **given: Any) -> Dataset:
    """Return what training takes of a dataset, or raise DatasetError."""
    return dataset_of(facts_of(images, **given))


def said_of(images: Path, request: TrainingRequest | None = None, **given: Any) -> dict[str, str]:
    """Return what the rules say of a dataset that can be trained on, by code: place, message and remedy."""
    facts = {DatasetFacts: facts_of(images, **given), TrainingRequest: request}
    found, _ = run_rules(
        all_rules().values(), {kind: fact for kind, fact in facts.items() if fact is not None}
    )
    said: dict[str, str] = {}
    for each in found:
        said[each.code] = f"{said.get(each.code, '')} {each.where}: {each.message} {each.remedy}".strip()
    return said


def problems_of(images: Path, **given: Any) -> list[str]:
    """Return what keeps a dataset from being trained on, one line each; fail when there is nothing."""
    try:
        dataset_at(images, **given)
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

"""The pictures that a run measures with, as they are shown: whole, unmirrored, each under its whole caption."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from maquette.dataset.facts import DatasetFacts
from maquette.dataset.reading import read_dataset
from maquette.dataset.records import Item, Picture
from maquette.dataset.strict import dataset_of
from maquette.errors import DatasetError, Problem


def held_pictures(facts: DatasetFacts) -> tuple[Picture, ...]:
    """Return the pictures that `facts` hold out, and those elsewhere that are measured too, each content once.

    Raises DatasetError with every problem of pictures and captions, as training does for its own.
    """
    own = replace(facts, folders=facts.held_folders, captions=facts.held_captions, problems=())
    pictures = list(dataset_of(own).pictures) if facts.held_folders else []
    for folder in dict.fromkeys(path.parent for path in facts.held_elsewhere):
        pictures += _elsewhere(facts, folder)
    return plainly(pictures)


def _elsewhere(facts: DatasetFacts, folder: Path) -> list[Picture]:
    wanted = {path for path in facts.held_elsewhere if path.parent == folder}
    there = read_dataset(replace(facts.given, images=folder, regularization=None, held_out=None))
    left_out = tuple(
        replace(
            each,
            files=tuple(path for path in each.files if path in wanted),
            without_caption=tuple(path for path in each.without_caption if path in wanted),
        )
        for each in there.folders
    )
    captions = tuple(each for each in there.captions if each.picture in wanted)
    if missing := wanted - {path for each in left_out for path in each.files}:
        raise DatasetError(
            Problem(
                str(path),
                "is no picture that can be measured with",
                "a picture with its caption",
                "Correct the path.",
            )
            for path in sorted(missing)
        )
    return list(dataset_of(replace(there, folders=left_out, captions=captions)).pictures)


def plainly(pictures: Iterable[Picture]) -> tuple[Picture, ...]:
    """Return pictures, each content once, without anything that is left to chance when they are shown."""
    first = {picture.sha256: picture for picture in reversed(list(pictures))}
    order = sorted(first)
    return tuple(_plainly(first[sha256]) for sha256 in order)


def _plainly(picture: Picture) -> Picture:
    options = replace(
        picture.subset.options,
        shuffle_caption=False,
        caption_dropout_rate=0.0,
        caption_dropout_every_n_epochs=0,
        caption_tag_dropout_rate=0.0,
        token_warmup_step=0,
        flip_aug=False,
        color_aug=False,
        random_crop=False,
        face_crop_aug_range=None,
    )
    return replace(picture, subset=replace(picture.subset, options=options))


def items_of(pictures: Sequence[Picture]) -> tuple[Item, ...]:
    """Return one showing of each picture, without a bucket yet. Its index follows from its content, as its words do then."""
    return tuple(Item(int(picture.sha256[:8], 16), picture, 0) for picture in pictures)

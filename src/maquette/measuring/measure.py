"""A look's pictures, scored: each alone, and all of a column and prompt together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.dataset.opening import picture_rgb
from maquette.events import Artifact, Finished, Progress, Stage, Started
from maquette.measuring.looks import FirstLook, Look, SetScore
from maquette.measuring.protocol import Measurer

if TYPE_CHECKING:
    from PIL import Image

_STAGE = "measure"


def measured(look: FirstLook, measurers: Sequence[Measurer]) -> Stage[FirstLook]:
    """Return `look` with the scores of `measurers`, written into its folder. Raises DatasetError for a picture that is gone
    or damaged.
    """
    yield Started(_STAGE, len(look.looks), "picture")
    looks: list[Look] = []
    sets: list[SetScore] = []
    for group in _groups(look):
        pictures = [_picture(look.folder, entry) for entry in group]
        scores: list[dict[str, float]] = [{} for _ in group]
        for measurer in measurers:
            for told, more in zip(scores, measurer.score(pictures, group), strict=True):
                told.update(more)
            sets += [
                SetScore(
                    checkpoint=group[0].checkpoint,
                    prompt=group[0].prompt,
                    role=group[0].role,
                    measure=name,
                    value=value,
                )
                for name, value in measurer.score_set(pictures, group).items()
            ]
        looks += [replace(entry, scores=told) for entry, told in zip(group, scores, strict=True)]
        yield Progress(_STAGE, len(looks), len(look.looks), "picture")
    found = replace(
        look,
        looks=tuple(looks),
        sets=tuple(sets),
        measures=tuple(measure for measurer in measurers for measure in measurer.measures),
        ceilings={name: value for measurer in measurers for name, value in measurer.ceilings().items()},
    )
    yield Artifact("first look", found.write())
    yield Finished(_STAGE)
    return found


def _groups(look: FirstLook) -> list[list[Look]]:
    """Return the pictures of each column and prompt, in the order in which they were drawn."""
    groups: dict[tuple[str, str], list[Look]] = {}
    for entry in look.looks:
        groups.setdefault((entry.checkpoint, entry.prompt), []).append(entry)
    return list(groups.values())


def _picture(folder: Path, entry: Look) -> Image.Image:
    return picture_rgb(folder / entry.path)

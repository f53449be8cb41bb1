"""The small world's own encoder: what its judge reads off a picture, as numbers.

For each attribute the square roots of the judge's chances, so that the scalar product of two pictures is the mean
over the attributes of how far their readings overlap (the Bhattacharyya coefficient): 1 for the same character,
about 0.4 for two at random. Appearance comes first and is the identity; view, pose and background follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.encoders import UNMEASURED_BAND, cosine
from maquette.errors import ConfigError, DatasetError
from maquette.world.attributes import CHARACTER_VALUES, SCENE_VALUES, Character, Scene
from maquette.world.renderer import render

VERSION = "1"
PHOTOGRAPH_PX, PHOTOGRAPH_SHADES = 64, 0.15
"""Share of pixels that differ in colour at that size: of 47 photographs 0.20 or more, of flat drawings 0.10 at most."""
SAMPLED = 8
SHIFTS = (-2.0, -1.0, 0.0, 1.0, 2.0)
REDRAWN = 0.05
"""Mean difference up to which a drawing counts as the same; pictures of other kinds are several times as far."""


class World:
    """The judge's readings."""

    name = "world"
    threshold = 0.75
    band = UNMEASURED_BAND
    slack = None
    blind_to = "whatever is not the small world's, into which it reads its own people"
    batch = 64

    def __init__(self) -> None:
        from maquette.world.judge import SIZE_PX
        from maquette.world.pack import JUDGE_NAME, PACK, load_judge

        self.judge = load_judge()
        self.size_px = SIZE_PX
        weights = hashlib.sha256((PACK / JUDGE_NAME).read_bytes()).hexdigest()
        self.fingerprint = f"world{VERSION}-{weights[:16]}"
        self.identity_dims = sum(len(values) for values in CHARACTER_VALUES.values())
        self.dims = self.identity_dims + sum(len(values) for values in SCENE_VALUES.values())

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        return np.asarray(image.resize((self.size_px, self.size_px), Image.Resampling.BOX))

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        chances = self.judge.attributes([Image.fromarray(pixels) for pixels in prepared])
        parts = []
        for names in (CHARACTER_VALUES, SCENE_VALUES):
            scale = len(names) ** -0.5
            parts += [chances[name].sqrt().numpy() * scale for name in names]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        return cosine(pictures_ND[:, : self.identity_dims], references_RD[:, : self.identity_dims])


def shows_the_small_world(paths: Sequence[Path]) -> bool:
    """Return whether most of these pictures are the small world's: drawn again from what the judge reads, they agree."""
    from maquette.world.judge import SIZE_PX
    from maquette.world.pack import load_judge

    small = _sampled(paths, SIZE_PX)
    if not small:
        return False
    read = load_judge().read(small)
    agree = sum(_redrawn(image, seen) <= REDRAWN for image, seen in zip(small, read, strict=True))
    return 2 * agree > len(small)


def are_photographs(paths: Sequence[Path]) -> bool:
    """Return whether most of these pictures have as many shades as no flat drawing has."""
    small = _sampled(paths, PHOTOGRAPH_PX)
    most = PHOTOGRAPH_PX * PHOTOGRAPH_PX
    shades = [len(image.getcolors(most) or []) / most for image in small]
    return 2 * sum(share > PHOTOGRAPH_SHADES for share in shades) > len(shades)


def _sampled(paths: Sequence[Path], side_px: int) -> list[Image.Image]:
    """Return the first few pictures that can be read, as squares of one size; what is wrong with others is said elsewhere."""
    from maquette.dataset.opening import picture_rgb

    small = []
    for path in paths[:SAMPLED]:
        with suppress(DatasetError):
            small.append(picture_rgb(path).resize((side_px, side_px), Image.Resampling.BOX))
    return small


def _redrawn(image: Image.Image, seen: Mapping[str, str]) -> float:
    """Return how far a picture is from the drawing of what was read off it, 0 to 1, at its best place."""
    try:
        character = Character(**{name: seen[name] for name in CHARACTER_VALUES})
    except ConfigError:  # a colour of headwear without headwear: no inhabitant looks so
        return 1.0
    pixels = np.asarray(image, np.float32)
    apart = []
    for shift in SHIFTS:
        scene = Scene(**{name: seen[name] for name in SCENE_VALUES}, shift=shift)
        drawn = np.asarray(render(character, scene, image.width), np.float32)
        apart.append(float(np.abs(pixels - drawn).mean()) / 255)
    return min(apart)


def load(name: str, source: str, device: str | None) -> World:
    return World()

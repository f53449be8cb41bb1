"""Whether a head of the small world is drawn cleanly, or smeared: two views in one, a colour run into another.

The judge answers whatever it is shown; a blend of two faces still has the right hair and the right skin. So a picture is
held against drawings: of what the judge sees in it, from every side, as the renderer would draw it. Only the head is
compared, since that is where a person looks first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from maquette.world.attributes import CHARACTER_VALUES, NONE, SCENE_VALUES, Character, Scene
from maquette.world.judge import SIZE_PX, Judge, as_pixels
from maquette.world.renderer import render

CLEAN_DISTANCE = 0.092
"""The largest distance of a clean head. Chosen by eye from drawings of several LoRAs; what the small world's own VAE makes of
clean drawings stays below it, and the mean of two views above."""
_ROWS, _COLUMNS = slice(6, 38), slice(14, 50)
_MOST_SHIFT_PX = 2

Seen = tuple[tuple[str, str], ...]


def head_distances(judge: Judge, images: Sequence[Image.Image]) -> list[float]:
    """Return for each picture the root mean square difference, in [0, 1], between its head and the nearest clean one."""
    pixels_BHWC = (as_pixels(images).permute(0, 2, 3, 1).numpy() + 1.0) / 2.0
    return [
        _distance(pixels, tuple(seen.items()))
        for pixels, seen in zip(pixels_BHWC, judge.read(images), strict=True)
    ]


def clean(judge: Judge, images: Sequence[Image.Image]) -> list[bool]:
    """Return for each picture whether its head is drawn cleanly."""
    return [distance <= CLEAN_DISTANCE for distance in head_distances(judge, images)]


def _distance(pixels_HWC: np.ndarray, seen: Seen) -> float:
    head = pixels_HWC[_ROWS, _COLUMNS]
    shifts = range(-_MOST_SHIFT_PX, _MOST_SHIFT_PX + 1)
    differences = (
        head - np.roll(drawn, by, axis=1)[_ROWS, _COLUMNS] for drawn in _every_view(seen) for by in shifts
    )
    return min(float(np.sqrt(np.mean(difference**2))) for difference in differences)


@lru_cache(maxsize=256)
def _every_view(seen: Seen) -> tuple[np.ndarray, ...]:
    """Return what was seen as clean drawings [64, 64, 3] in [0, 1], two for each view, half a pixel apart."""
    values = dict(seen)
    if NONE in (values["headwear"], values["headwear_color"]):
        values["headwear"] = values["headwear_color"] = NONE
    character = Character(**{name: values[name] for name in CHARACTER_VALUES})
    scenes = (
        Scene(view=view, pose=values["pose"], background=values["background"], shift=shift)
        for view in SCENE_VALUES["view"]
        for shift in (0.0, 0.5)
    )
    return tuple(np.asarray(render(character, scene, SIZE_PX), dtype=np.float32) / 255.0 for scene in scenes)

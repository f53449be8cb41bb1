"""Technical quality: whether a picture is one at all, whatever it shows.

What is too much depends on the subject: a cartoon on white is four fifths pure white, pixel art has no soft edge. So the limits
give way to what pictures of the subject have themselves (its references, its training pictures).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.measuring.protocol import Measure, PictureMeasurer

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

NAME = "technical"
FLAT = 4.0
"""A picture whose levels spread by less (standard deviation, of 255) is black, white or of one colour; NaN is drawn so, too."""
_CLIPPED, _NOISE, _BLUR = 0.5, 0.35, 0.01
"""Limits without pictures of the subject. 254 photographs, cartoons and pixel portraits have a roughness of 0.02 to 0.23,
independent pixels 1.14.
"""
_SIDE_PX = 256


@dataclass(frozen=True)
class Limits:
    """What a sound picture keeps to: share of pure black and white, roughness from least to most."""

    clipped: float = _CLIPPED
    noise: float = _NOISE
    blur: float = _BLUR


def limits_of(pictures: Sequence[Image.Image]) -> Limits:
    """Return the limits, as wide as pictures of the subject ask."""
    levels = [_levels(picture) for picture in pictures]
    rough = [_roughness(pixels) for pixels in levels if _spread(pixels) >= FLAT]
    return Limits(
        clipped=max([_CLIPPED, *(_clipped(pixels) + 0.15 for pixels in levels)]),
        noise=max([_NOISE, *(1.5 * each for each in rough)]),
        blur=min([_BLUR, *(each / 2 for each in rough)]),
    )


class TechnicalMeasurer(PictureMeasurer):
    """One measure of every picture: sound or not."""

    measures = (
        Measure(
            name=NAME,
            title="Technical quality",
            definition="the share of pictures that are not flat (black, one colour, NaN), burnt out, noise or blurred away.",
            formula=(
                "spread of levels ≥ 4 of 255; pure black and white, and neighbours' difference / spread, within what the "
                "subject's own pictures have"
            ),
            blind_to="everything that a picture shows: anatomy, smears, gaudy colours",
            least=0.95,
            lack="are black, burnt out, blurred or noise",
        ),
    )

    def __init__(self, subject: Sequence[Image.Image] = ()) -> None:
        self.limits = limits_of(subject)

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return 1 for a sound picture, 0 for another."""
        return [{NAME: float(fault_of(picture, self.limits) is None)} for picture in pictures]


def fault_of(picture: Image.Image, limits: Limits = Limits()) -> str | None:
    """Return what is wrong with a picture as such: "flat", "burnt out", "noise" or "blurred"; None where nothing is."""
    pixels = _levels(picture)
    if _spread(pixels) < FLAT:
        return "flat"
    if _clipped(pixels) > limits.clipped:
        return "burnt out"
    roughness = _roughness(pixels)
    return "noise" if roughness > limits.noise else "blurred" if roughness < limits.blur else None


def _levels(picture: Image.Image) -> NDArray[Any]:
    small = picture.convert("RGB")
    small.thumbnail((_SIDE_PX, _SIDE_PX))
    return np.asarray(small, np.float32)


def _spread(pixels_HWC: NDArray[Any]) -> float:
    return float(pixels_HWC.mean(axis=2).std())


def _clipped(pixels_HWC: NDArray[Any]) -> float:
    """Return the share of pixels that are pure black or white."""
    return float(((pixels_HWC <= 0).all(axis=2) | (pixels_HWC >= 255).all(axis=2)).mean())


def _roughness(pixels_HWC: NDArray[Any]) -> float:
    """Return the mean difference of neighbours beside the spread of all levels."""
    grey = pixels_HWC.mean(axis=2)
    across, down = np.abs(np.diff(grey, axis=1)).mean(), np.abs(np.diff(grey, axis=0)).mean()
    return float((across + down) / 2 / grey.std())

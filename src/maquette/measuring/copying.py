"""Copying: how near a drawing comes to a training picture as it stands, or mirrored.

Compared are small pictures (16 × 16, colours, less each one's mean) by their correlation. A drawing of the same subject in
another place correlates little; the same frame correlates whatever an encoder thinks of it. The base alone is the control: it has
never seen the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as pictures_of_pillow
from PIL import ImageOps

from maquette.dataset.opening import picture_rgb
from maquette.files import write_json
from maquette.measuring.protocol import Measure, PictureMeasurer
from maquette.reading import parse_json

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

NAME = "copying"
NEAREST_NAME = "nearest.json"
_SIDE_PX = 16


@dataclass(frozen=True)
class Nearest:
    """The training picture that a drawing resembles most. `likeness` is a correlation, 1 the same."""

    training: Path
    is_mirrored: bool
    likeness: float


class CopyingMeasurer(PictureMeasurer):
    """Each drawing's nearest training picture; `nearest` keeps which, by the drawing's path."""

    measures = (
        Measure(
            name=NAME,
            title="Nearness to a training picture",
            definition=(
                "how much a drawing resembles the training picture that is nearest to it, mirrored ones too; the base alone, "
                "which never saw them, shows what chance gives."
            ),
            formula="largest correlation of 16 × 16 colour thumbnails, cut to [0, 1]",
            direction="lower",
            blind_to="a subject that is copied into another place of the frame, small details",
        ),
    )

    def __init__(self, training: Sequence[Path]) -> None:
        self.nearest: dict[str, Nearest] = {}
        self._paths = tuple(training)
        opened = [_squared(picture_rgb(path)) for path in training]
        self._rows_RD = np.stack([_row(each) for each in opened])
        self._mirrored_RD = np.stack([_row(ImageOps.mirror(each)) for each in opened])

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return each drawing's likeness to its nearest training picture."""
        found = []
        for picture, look in zip(pictures, looks, strict=True):
            nearest = self._nearest(picture)
            self.nearest[look.path] = nearest
            found.append({NAME: max(0.0, nearest.likeness)})
        return found

    def _nearest(self, picture: Image.Image) -> Nearest:
        row = _row(_squared(picture))
        plain, mirrored = self._rows_RD @ row, self._mirrored_RD @ row
        is_mirrored = bool(mirrored.max() > plain.max())
        likeness = mirrored if is_mirrored else plain
        index = int(likeness.argmax())
        return Nearest(self._paths[index], is_mirrored, float(likeness[index]))


def likeness_of_thumbnails(pictures: Sequence[Image.Image]) -> NDArray[Any]:
    """Return how much pictures are copies of each other, mirrored ones too, [N, N]: the correlation of their thumbnails."""
    small = [_squared(picture) for picture in pictures]
    rows_ND = np.stack([_row(each) for each in small])
    mirrored_ND = np.stack([_row(ImageOps.mirror(each)) for each in small])
    found: NDArray[Any] = np.maximum(rows_ND @ rows_ND.T, rows_ND @ mirrored_ND.T)
    return found


def read_nearest(folder: Path) -> dict[str, Nearest]:
    """Return what `write_nearest` wrote into `folder`; nothing where it wrote none, or what is there is something else."""
    path = folder / NEAREST_NAME
    if not path.is_file():
        return {}
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return {
            str(drawn): Nearest(Path(each["training"]), bool(each["is_mirrored"]), float(each["likeness"]))
            for drawn, each in parse_json(path.read_bytes())["drawings"].items()
        }
    return {}


def write_nearest(folder: Path, nearest: Mapping[str, Nearest]) -> Path:
    """Write nearest.json: by the drawing's path, the training picture that it resembles most."""
    told = {
        drawn: {
            "training": str(each.training),
            "is_mirrored": each.is_mirrored,
            "likeness": round(each.likeness, 4),
        }
        for drawn, each in nearest.items()
    }
    return write_json(folder / NEAREST_NAME, {"nearest_version": 1, "drawings": told})


def _squared(picture: Image.Image) -> Image.Image:
    """Return the middle square, small: training pictures of other shapes are cropped too."""
    return ImageOps.fit(
        picture.convert("RGB"), (_SIDE_PX, _SIDE_PX), method=pictures_of_pillow.Resampling.BOX
    )


def _row(small: Image.Image) -> NDArray[Any]:
    """Return the thumbnail's levels less their mean, of length 1; a picture of one colour is like nothing."""
    levels = np.asarray(small, np.float32).reshape(-1, 3)
    levels = levels - levels.mean(axis=0)
    length = float(np.linalg.norm(levels))
    flat: NDArray[Any] = levels.ravel() / length if length > 1.0 else np.zeros(levels.size, np.float32)
    return flat

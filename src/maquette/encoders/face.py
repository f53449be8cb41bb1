"""People by their faces: OpenCV's detector and recogniser (YuNet, MIT; SFace, Apache-2.0), the largest face of each picture.

Their two files are no part of OpenCV: `face=FOLDER` names where they lie, `face` alone fetches them from the hub once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maquette.encoders import cosine
from maquette.encoders.faces import BAND, LONGEST_PX, SAME_FACE, FaceFinder


class Face:
    """Rows of SFace's numbers, of zeros where no face is found: such a picture is like nobody."""

    threshold = SAME_FACE
    band = BAND
    slack = None
    blind_to = (
        "everything but the face: a picture without one (a back, a mask, a face too small or drawn) is like nobody, and clothes, "
        "hair and figure count for nothing. Its threshold is OpenCV's for photographs"
    )
    batch = 32

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name = name
        self._finder = FaceFinder("match", folder)
        self.fingerprint = f"face-{self._finder.fingerprint}"
        self.dims = self.identity_dims = self._finder.dims

    def prepare(self, image: Image.Image) -> NDArray[Any]:
        """Return the picture's pixels, uint8 [H, W, 3], no larger than faces are looked for in."""
        smaller = image.convert("RGB")
        smaller.thumbnail((LONGEST_PX, LONGEST_PX))
        return np.asarray(smaller, np.uint8)

    def encode(self, prepared: Sequence[NDArray[Any]]) -> NDArray[Any]:
        rows = np.zeros((len(prepared), self.dims), np.float32)
        for row, pixels_HWC in zip(rows, prepared, strict=True):
            found = self._finder.find(pixels_HWC).features_FD
            if len(found):
                row[:] = found[0]
        return rows

    def similarity(self, pictures_ND: NDArray[Any], references_RD: NDArray[Any]) -> NDArray[Any]:
        return cosine(pictures_ND, references_RD)


def load(name: str, source: str, device: str | None) -> Face:
    """Return the pair from a local folder, or from the hub. Raises ModelError where the files are in neither."""
    return Face(f"{name}={source}" if source else name, Path(source).expanduser() if source else None)

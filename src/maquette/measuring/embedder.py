"""Pictures as an encoder's rows, each taken once however many measures ask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.dataset.opening import picture_rgb
from maquette.encoders import Encoder

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look


class Embedder:
    """An encoder that remembers the rows of the pictures of one look."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._rows: dict[str, NDArray[Any]] = {}

    def rows(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> NDArray[Any]:
        """Return the rows of drawn pictures, float32 [N, D]."""
        new = [
            (look.path, picture)
            for look, picture in zip(looks, pictures, strict=True)
            if look.path not in self._rows
        ]
        for (path, _), row in zip(new, self._encode([picture for _, picture in new]), strict=True):
            self._rows[path] = row
        return self._stacked([self._rows[look.path] for look in looks])

    def of_files(self, paths: Sequence[Path]) -> NDArray[Any]:
        """Return the rows of picture files, float32 [N, D]. Raises DatasetError for one that cannot be read."""
        return self.of_pictures([picture_rgb(path) for path in paths])

    def of_pictures(self, pictures: Sequence[Image.Image]) -> NDArray[Any]:
        """Return the rows of pictures in memory, float32 [N, D]."""
        return self._stacked(list(self._encode(pictures)))

    def _encode(self, pictures: Sequence[Image.Image]) -> list[NDArray[Any]]:
        rows: list[NDArray[Any]] = []
        for start in range(0, len(pictures), self.encoder.batch):
            batch = pictures[start : start + self.encoder.batch]
            rows += list(self.encoder.encode([self.encoder.prepare(picture) for picture in batch]))
        return rows

    def _stacked(self, rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.stack(rows).astype(np.float32) if rows else np.zeros((0, self.encoder.dims), np.float32)

"""Drift: what a LoRA does to prompts that have nothing to do with its subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.dataset.opening import picture_rgb
from maquette.encoders import cosine
from maquette.measuring.embedder import Embedder
from maquette.measuring.looks import FLOOR, FirstLook
from maquette.measuring.protocol import Measure, PictureMeasurer

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

NAME = "drift"
ROLE = "drift"


class DriftMeasurer(PictureMeasurer):
    """The distance of a picture from what the base draws from the same prompt and seed; another seed's is the ceiling."""

    def __init__(self, embedder: Embedder, look: FirstLook) -> None:
        self._embedder = embedder
        self._floor = {
            (entry.prompt, entry.seed): entry
            for entry in look.looks
            if entry.role == ROLE and entry.checkpoint == FLOOR
        }
        self._folder = look.folder
        self.measures = (
            Measure(
                name=NAME,
                title="Drift",
                definition=(
                    "how far the pictures of unrelated prompts are from those of the base alone with the same seed: 0 where "
                    "nothing changed; the ceiling is how far two of the base's own seeds are apart."
                ),
                formula="1 − cosine of the encoder's rows",
                direction="lower",
                encoder=embedder.encoder.name,
                blind_to="whether the change is for the better",
            ),
        )

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return each picture's distance; nothing where the base was not drawn."""
        return [self._drift(picture, look) for picture, look in zip(pictures, looks, strict=True)]

    def _drift(self, picture: Image.Image, look: Look) -> dict[str, float]:
        before = self._floor.get((look.prompt, look.seed))
        if before is None:
            return {}
        rows = self._embedder.rows([picture], [look]), self._row(before)
        return {NAME: float(np.clip(1.0 - cosine(*rows)[0, 0], 0.0, 1.0))}

    def ceilings(self) -> Mapping[str, float]:
        """Return the mean distance of two seeds of one prompt under the base; nothing where there is one seed."""
        prompts: dict[str, list[NDArray[Any]]] = {}
        for (prompt, _), look in self._floor.items():
            prompts.setdefault(prompt, []).append(self._row(look))
        apart = [
            float(1.0 - cosine(one, other)[0, 0])
            for rows in prompts.values()
            for one, other in combinations(rows, 2)
        ]
        return {NAME: float(np.clip(np.mean(apart), 0.0, 1.0))} if apart else {}

    def _row(self, look: Look) -> NDArray[Any]:
        return self._embedder.rows([picture_rgb(self._folder / look.path)], [look])

"""Identity: how much a drawing shows whom the references show, to an encoder.

A drawing is compared with all references but one, each left out in turn, as each reference is with the others. So drawings and
references are measured alike, and what the references score among themselves is the ceiling: a drawing of the subject does not
have to be more like them than they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.encoders.likeness import among_themselves, scores
from maquette.measuring.embedder import Embedder
from maquette.measuring.protocol import Measure, PictureMeasurer

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

NAME = "identity"


class IdentityMeasurer(PictureMeasurer):
    """Each drawing's likeness to the references; theirs to each other is the ceiling."""

    def __init__(self, embedder: Embedder, references_RD: NDArray[Any]) -> None:
        self._embedder = embedder
        self._references_RD = references_RD
        self.measures = (
            Measure(
                name=NAME,
                title="Identity",
                definition=(
                    "how much a picture is like the references, to an encoder that compares pictures; the references' likeness "
                    "to each other is the ceiling, what the base alone draws the floor."
                ),
                formula="cosine with the nearest references (a quarter of them, at most 3), one of them left out in turn",
                encoder=embedder.encoder.name,
                blind_to=embedder.encoder.blind_to,
            ),
        )

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return each drawing's likeness."""
        values = self._likeness(self._embedder.rows(pictures, looks))
        return [{NAME: value} for value in np.clip(values, 0.0, 1.0).tolist()]

    def ceilings(self) -> Mapping[str, float]:
        """Return the references' mean likeness to each other; nothing of a single one."""
        found = among_themselves(self._embedder.encoder, self._references_RD)
        return {NAME: float(np.clip(found.mean(), 0.0, 1.0))} if len(found) else {}

    def _likeness(self, rows_ND: NDArray[Any]) -> NDArray[Any]:
        table_NR = self._embedder.encoder.similarity(rows_ND, self._references_RD).astype(np.float32)
        count = table_NR.shape[1]
        if count < 2:
            return scores(table_NR)[0]
        each_without = []
        for left_out in range(count):
            others_NR = table_NR.copy()
            others_NR[:, left_out] = -np.inf
            each_without.append(scores(others_NR)[0])
        mean: NDArray[Any] = np.mean(each_without, axis=0)
        return mean

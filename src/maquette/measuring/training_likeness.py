"""What scoring against training pictures would reward: likeness to them, and by how much it exceeds that to unseen ones.

Both are taken alike: the mean of each drawing's likeness to sets of as many training pictures as there are references, and to
the references, by the same encoder and formula. A LoRA that draws the subject is as like to either; one that copies is more
like the pictures that it saw. The base alone, which saw neither, shows what the sets themselves differ by.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.encoders import Encoder
from maquette.encoders.likeness import among_themselves, scores
from maquette.measuring.embedder import Embedder
from maquette.measuring.protocol import Measure, PictureMeasurer

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

LIKENESS, BONUS = "training_likeness", "training_bonus"
MOST_SETS = 8


class TrainingLikenessMeasurer(PictureMeasurer):
    """Each drawing's likeness to the training pictures, and what that is above its likeness to the held-out references."""

    def __init__(self, embedder: Embedder, references_RD: NDArray[Any], training_TD: NDArray[Any]) -> None:
        self._embedder = embedder
        size = min(len(references_RD), len(training_TD))
        self._seen = list(_sets(training_TD, size))
        self._unseen = list(_sets(references_RD, size))
        encoder, blind_to = embedder.encoder.name, embedder.encoder.blind_to
        formula = f"as identity, over sets of {size} pictures of either kind"
        self.measures = (
            Measure(
                name=LIKENESS,
                title="Likeness to the training pictures",
                definition=(
                    "how much a picture is like the pictures that were trained on: what identity would be if they were the "
                    "references. It rewards copies, so nothing is chosen by it."
                ),
                formula=formula,
                encoder=encoder,
                blind_to=blind_to,
            ),
            Measure(
                name=BONUS,
                title="What training pictures would add",
                definition=(
                    "by how much a picture is more like the training pictures than like the references, which were not trained "
                    "on. The base alone shows what the two sets differ by; what is above that is memory, not likeness."
                ),
                formula=f"{formula}; the difference of the two",
                low=-1.0,
                direction="lower",
                encoder=encoder,
                blind_to=blind_to,
            ),
        )

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return each drawing's likeness to what was trained on, and its excess."""
        rows_ND = self._embedder.rows(pictures, looks)
        encoder = self._embedder.encoder
        seen_N, unseen_N = (_likeness(encoder, rows_ND, sets) for sets in (self._seen, self._unseen))
        return [
            {LIKENESS: float(np.clip(seen, 0.0, 1.0)), BONUS: float(seen - unseen)}
            for seen, unseen in zip(seen_N, unseen_N, strict=True)
        ]


def of_copies(encoder: Encoder, training_TD: NDArray[Any]) -> tuple[float, float] | None:
    """Return what copies of the training pictures would score where those are the references, and what they score among
    themselves; None of a single one.
    """
    others_T = among_themselves(encoder, training_TD)
    if not len(others_T):
        return None
    table_TT = encoder.similarity(training_TD, training_TD).astype(np.float32)
    return float(np.clip(scores(table_TT)[0].mean(), 0.0, 1.0)), float(np.clip(others_T.mean(), 0.0, 1.0))


def _sets(rows_ND: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """Yield sets of `size` rows, each row in at most one."""
    order = list(range(len(rows_ND)))
    random.Random(0).shuffle(order)
    for start in range(0, min(len(order) // size, MOST_SETS) * size, size):
        yield rows_ND[order[start : start + size]]


def _likeness(encoder: Encoder, rows_ND: NDArray[Any], sets: Sequence[NDArray[Any]]) -> NDArray[Any]:
    found: NDArray[Any] = np.mean([scores(encoder.similarity(rows_ND, each))[0] for each in sets], axis=0)
    return found

"""Variety: how many different pictures a prompt's seeds amount to.

The Vendi score (Friedman & Dieng 2023) of n pictures is exp of the entropy of the eigenvalues of K / n, K their similarities: 1
where all are alike, n where none resembles another. Here (score − 1) / (n − 1), so that numbers of seeds compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.encoders import cosine
from maquette.measuring.embedder import Embedder
from maquette.measuring.protocol import Measure, PictureMeasurer

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

NAME = "variety"
_MOST_DRAWN = 200
"""Sets of references that stand for all of their size."""


class VarietyMeasurer(PictureMeasurer):
    """The spread of one prompt's pictures over its seeds; the references' own spread is the ceiling."""

    def __init__(self, embedder: Embedder, references_RD: NDArray[Any], seeds: int) -> None:
        self._embedder = embedder
        self._references_RD = references_RD
        self._seeds = seeds
        self.measures = (
            Measure(
                name=NAME,
                title="Variety",
                definition=(
                    "how different the pictures of one prompt are from seed to seed: 0 where all are the same picture, 1 where "
                    "none resembles another."
                ),
                formula="(exp(entropy of the eigenvalues of K / n) − 1) / (n − 1), K cosines of the encoder's rows",
                encoder=embedder.encoder.name,
                blind_to="whether the pictures are any good: noise is very varied",
            ),
        )

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return nothing: a single picture has no variety."""
        return [{} for _ in pictures]

    def score_set(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> Mapping[str, float]:
        """Return the variety of a prompt's pictures; nothing of a single one."""
        if len(pictures) < 2:
            return {}
        return {NAME: variety(self._embedder.rows(pictures, looks))}

    def ceilings(self) -> Mapping[str, float]:
        """Return the mean variety of as many references as a prompt has seeds; nothing where there are fewer."""
        count = len(self._references_RD)
        size = min(self._seeds, count)
        if size < 2:
            return {}
        drawn = _some_sets(count, size)
        return {NAME: float(np.mean([variety(self._references_RD[list(members)]) for members in drawn]))}


def variety(rows_ND: NDArray[Any]) -> float:
    """Return the Vendi score of at least two rows, as a share of what their number allows."""
    similarity_NN = np.clip(cosine(rows_ND, rows_ND).astype(np.float64), -1.0, 1.0)
    values = np.clip(np.linalg.eigvalsh(similarity_NN / len(rows_ND)), 1e-15, None)
    values /= values.sum()
    score = float(np.exp(-(values * np.log(values)).sum()))
    return float(np.clip((score - 1.0) / (len(rows_ND) - 1), 0.0, 1.0))


def _some_sets(count: int, size: int) -> list[tuple[int, ...]]:
    from itertools import combinations

    if comb(count, size) <= _MOST_DRAWN:
        return list(islice(combinations(range(count), size), _MOST_DRAWN))
    draws = np.random.default_rng(0)
    return [tuple(draws.choice(count, size, replace=False)) for _ in range(_MOST_DRAWN)]

"""Style: whether drawings are drawn as the references are.

Similarities of style lie close together and some pictures are near everything. So a likeness is read less what both pictures are
to their own neighbours (CSLS, Conneau et al. 2018):

    2 cos(x, r) − mean cos of x to its k nearest − mean cos of r to its k nearest

neighbours among the references and what the base alone draws. And nobody takes it on trust: before a LoRA is measured, the
references must be nearer to each other than what the base draws is to them. Where they are not, this measure cannot tell that
style, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maquette.dataset.opening import picture_rgb
from maquette.encoders import cosine
from maquette.measuring.embedder import Embedder
from maquette.measuring.headlines import SUBJECT_ROLES
from maquette.measuring.looks import FLOOR, FirstLook
from maquette.measuring.memorization import area, chance_of
from maquette.measuring.protocol import Measure, PictureMeasurer

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

NAME = "style"
NEIGHBOURS = 3
LEAST_AREA, CHANCE = 0.8, 0.05
"""The references must be nearer to each other than the base's drawings are so often, and by more than chance."""
LEAST_REFERENCES = 4
_MOST_FLOOR = 64


@dataclass(frozen=True, kw_only=True)
class GapTest:
    """Whether a style can be told: the chance that a reference is nearer to the others than one of the base's drawings is."""

    area: float
    chance: float
    references: int
    drawings: int

    @property
    def is_passed(self) -> bool:
        return self.area >= LEAST_AREA and self.chance < CHANCE

    @property
    def sentence(self) -> str:
        """What to say of a test that was not passed."""
        if self.references < LEAST_REFERENCES or self.drawings < LEAST_REFERENCES:
            return (
                f"Style was not measured: {self.references} references and {self.drawings} drawings of the base alone are "
                f"too few to tell one from the other; it takes {LEAST_REFERENCES} of each."
            )
        return (
            "Style was not measured: this measure cannot tell the references' style from what the base draws anyway "
            f"({self.area:.0%} of pairs told apart, by chance 50 %)."
        )


class StyleMeasurer(PictureMeasurer):
    """Each drawing's likeness in style; `test` says whether that means anything here."""

    def __init__(self, embedder: Embedder, references_RD: NDArray[Any], look: FirstLook) -> None:
        self._embedder = embedder
        self._references_RD = references_RD
        floor = [entry for entry in look.looks if entry.checkpoint == FLOOR and entry.role in SUBJECT_ROLES][
            :_MOST_FLOOR
        ]
        self._floor_FD = embedder.rows([picture_rgb(look.folder / entry.path) for entry in floor], floor)
        self._background_BD = np.concatenate([references_RD, self._floor_FD])
        self.measures = (
            Measure(
                name=NAME,
                title="Style",
                definition=(
                    "how much a picture is drawn as the references are, beside what lies near to everything; the references' own "
                    "likeness is the ceiling, what the base alone draws the floor."
                ),
                formula="2 cosine − both pictures' mean cosine to their 3 nearest neighbours; mean of the 3 nearest references",
                low=-2.0,
                high=2.0,
                encoder=embedder.encoder.name,
                blind_to=embedder.encoder.blind_to,
            ),
        )

    @property
    def test(self) -> GapTest:
        """The references against the base's drawings."""
        counts = len(self._references_RD), len(self._floor_FD)
        if min(counts) < LEAST_REFERENCES:
            return GapTest(area=0.5, chance=1.0, references=counts[0], drawings=counts[1])
        own, floor = self._own(), self._likeness(self._floor_FD, is_known=True)
        return GapTest(
            area=area(own, floor), chance=chance_of(own, floor), references=len(own), drawings=len(floor)
        )

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> list[dict[str, float]]:
        """Return each drawing's likeness to the references."""
        values = self._likeness(self._embedder.rows(pictures, looks), is_known=False)
        return [{NAME: float(value)} for value in values]

    def ceilings(self) -> Mapping[str, float]:
        """Return the references' mean likeness to the others."""
        return {NAME: float(self._own().mean())} if len(self._references_RD) > 1 else {}

    def _likeness(self, rows_ND: NDArray[Any], *, is_known: bool) -> NDArray[Any]:
        """Return the likeness of rows that are no references; those that are `is_known` stand in the background themselves."""
        own_N = _near(cosine(rows_ND, self._background_BD), skip_best=is_known)
        theirs_R = _near(cosine(self._references_RD, self._background_BD), skip_best=True)
        table_NR = 2 * cosine(rows_ND, self._references_RD) - own_N[:, None] - theirs_R[None, :]
        return _mean_of_best(table_NR)

    def _own(self) -> NDArray[Any]:
        """Return the likeness of each reference to the others."""
        theirs_R = _near(cosine(self._references_RD, self._background_BD), skip_best=True)
        table_RR = (
            2 * cosine(self._references_RD, self._references_RD) - theirs_R[:, None] - theirs_R[None, :]
        )
        np.fill_diagonal(table_RR, -np.inf)
        return _mean_of_best(table_RR if len(table_RR) > 1 else np.zeros((0, 0)))


def _near(table_NB: NDArray[Any], *, skip_best: bool) -> NDArray[Any]:
    """Return the mean of each row's nearest; `skip_best` leaves out the nearest, which is the picture itself."""
    ranked = -np.sort(-table_NB, axis=1)
    first = int(skip_best)
    found: NDArray[Any] = ranked[:, first : first + NEIGHBOURS].mean(axis=1)
    return found


def _mean_of_best(table_NR: NDArray[Any]) -> NDArray[Any]:
    if not table_NR.size:
        return np.zeros(0)
    ranked = -np.sort(-table_NR, axis=1)[:, :NEIGHBOURS]
    counted = np.where(np.isfinite(ranked), ranked, np.nan)
    found: NDArray[Any] = np.nanmean(counted, axis=1)
    return found

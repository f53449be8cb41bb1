"""What a measure is, and what a measurer does: pictures in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from PIL import Image

    from maquette.measuring.looks import Look

Direction = Literal["higher", "lower"]
"""Which end of a measure is better."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A score's definition in plain words; scores lie in [low, high]."""

    name: str
    title: str
    definition: str
    formula: str = ""
    low: float = 0.0
    high: float = 1.0
    direction: Direction = "higher"
    encoder: str = ""
    """What looked at the pictures, where something did."""
    blind_to: str = ""
    """What it cannot see, or takes for something else."""
    least: float | None = None
    """Where the measure is a share of good pictures: below it, a LoRA is not simply good, whatever else it learned."""
    lack: str = ""
    """What the other pictures are, behind their number: "heads are smeared"."""


class Measurer(Protocol):
    """Scores pictures for its measures."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What it measures."""

    def score(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> Sequence[Mapping[str, float]]:
        """Return the scores of each picture by the measures' names; a picture that a measure says nothing of lacks it."""

    def score_set(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> Mapping[str, float]:
        """Return what all pictures of one column and prompt score together, by name; most measurers return nothing."""

    def ceilings(self) -> Mapping[str, float]:
        """Return what the references themselves score, by name: what no LoRA has to pass."""


class PictureMeasurer:
    """A measurer that looks at one picture at a time and knows no ceiling: the base of most."""

    measures: tuple[Measure, ...] = ()

    def score_set(self, pictures: Sequence[Image.Image], looks: Sequence[Look]) -> Mapping[str, float]:
        """Return nothing: no picture is compared with another."""
        return {}

    def ceilings(self) -> Mapping[str, float]:
        """Return nothing: a score's own limit is its ceiling."""
        return {}

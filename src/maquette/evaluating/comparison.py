"""The report's grid: every prompt and seed by checkpoint, what differs in front, what is alike on demand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from maquette.errors import DatasetError
from maquette.evaluating.drawn_sections import picture_of
from maquette.evaluating.facts import Drawn
from maquette.measuring.looks import FLOOR, FirstLook

_ROWS_SHOWN = 2
"""Rows of one prompt that are in front, at most."""
ALIKE = 0.03
"""Checkpoints draw alike where their pictures, reduced to 32 pixels, differ by less: root mean square, in [0, 1]."""
_REDUCED_PX = 32


@dataclass(frozen=True)
class GridCell:
    """One drawing, and the first measure's score of it."""

    checkpoint: str
    path: Path
    alt: str
    measure: str = ""
    score: str | None = None
    note: str = ""
    """All its scores in words."""


@dataclass(frozen=True)
class GridRow:
    """One prompt and seed, drawn by every checkpoint. `difference` is the largest between two checkpoints, in [0, 1]."""

    prompt: str
    seed: int
    cells: Sequence[GridCell]
    difference: float

    @property
    def is_alike(self) -> bool:
        return self.difference < ALIKE


@dataclass(frozen=True)
class Grid:
    """All prompts and seeds by checkpoint: for each prompt the rows that differ most, then the others."""

    columns: Sequence[str]
    shown: Sequence[tuple[str, Sequence[GridRow]]]
    rest: Sequence[tuple[str, Sequence[GridRow]]]
    scored: str
    """What the numbers under the pictures are; empty without any."""

    @property
    def rest_in_words(self) -> str:
        """How many rows are folded, and in how many of them the checkpoints draw alike."""
        rows = [row for _, entries in self.rest for row in entries]
        alike = sum(row.is_alike for row in rows)
        told = "1 more row" if len(rows) == 1 else f"{len(rows)} more rows"
        if not alike:
            return told
        which = "in which" if alike == len(rows) else f"in {alike} of them"
        return f"{told}{',' if alike == len(rows) else ';'} {which} the checkpoints draw almost the same"


def grid(facts: Drawn) -> Grid | None:
    """Return all drawings; None where nothing was drawn."""
    look = facts.look
    if look is None:
        return None
    columns = look.checkpoints()
    shown, rest = [], []
    for prompt in look.prompts():
        rows = [_row(look, prompt, seed, columns) for seed in look.seeds_of_all(prompt)]
        front = _front(rows)
        shown.append((prompt, [row for row in rows if row in front]))
        if folded := [row for row in rows if row not in front]:
            rest.append((prompt, folded))
    measured = look.leading
    scored = f"{measured.title.lower()}, from {measured.low:g} to {measured.high:g}" if measured else ""
    return Grid(columns, shown, rest, scored)


def _front(rows: Sequence[GridRow]) -> list[GridRow]:
    """Return the rows that differ most, the first row where none differs."""
    differing = sorted((row for row in rows if not row.is_alike), key=lambda row: -row.difference)
    return differing[:_ROWS_SHOWN] or list(rows[:1])


def _row(look: FirstLook, prompt: str, seed: int, columns: Sequence[str]) -> GridRow:
    cells = [_cell(look, name, prompt, seed) for name in columns]
    trained = [cell.path for cell in cells if cell.checkpoint != FLOOR]
    return GridRow(prompt, seed, cells, _largest_difference(trained or [cell.path for cell in cells]))


def _cell(look: FirstLook, checkpoint: str, prompt: str, seed: int) -> GridCell:
    path, alt = picture_of(look, checkpoint, prompt, seed)
    scores = look.find(checkpoint, prompt, seed).scores
    first = [look.leading] if look.leading else []
    told = [
        (measure.title.lower(), f"{scores[measure.name]:.2f}")
        for measure in dict.fromkeys([*first, *look.measures])
        if measure.name in scores
    ]
    if not told:
        return GridCell(checkpoint, path, alt)
    return GridCell(
        checkpoint, path, alt, *told[0], note=", ".join(f"{name} {value}" for name, value in told)
    )


def _largest_difference(paths: Sequence[Path]) -> float:
    """Return the largest difference between two of the pictures; infinite where one cannot be read or there is one alone."""
    reduced = [_reduced(path) for path in paths]
    if len(paths) < 2 or None in reduced:
        return math.inf
    pairs = combinations([values for values in reduced if values is not None], 2)
    return max(
        math.sqrt(sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) / len(one)) / 255
        for one, two in pairs
    )


def _reduced(path: Path) -> bytes | None:
    from PIL import Image

    from maquette.dataset.opening import picture_rgb

    try:
        return picture_rgb(path).resize((_REDUCED_PX, _REDUCED_PX), Image.Resampling.BOX).tobytes()
    except DatasetError:
        return None

"""What a report shows of each training picture: which stand apart in the loss, and how all were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.evaluating.facts import ReportFacts
from maquette.runs.picture_losses import WORDS, PictureLoss, share_of
from maquette.spoken import counted


@dataclass(frozen=True)
class PictureRow:
    """One picture: its file and caption, its loss against what its noise gives, what that may mean."""

    path: Path
    caption: str
    loss: str
    what: str
    ask: str


@dataclass(frozen=True)
class PicturesShown:
    """Those that stand apart in front, then all, the highest loss first."""

    told: str
    apart: Sequence[PictureRow]
    rest: Sequence[PictureRow]


def fitted(facts: ReportFacts) -> PicturesShown | None:
    """Return how the training pictures were fitted, None where the run was too short to tell."""
    losses = facts.record.picture_losses
    if not losses:
        return None
    rows = [_row(facts, each) for each in losses]
    apart = [row for row, each in zip(rows, losses, strict=True) if each.standing]
    number = counted(len(rows), "picture")
    stand = "stands" if len(apart) == 1 else "stand"
    look = "Look at them: each may be just what is wanted, or a mistake."
    told = f"Of {number}, {len(apart)} {stand} apart. {look}" if apart else f"None of {number} stands apart."
    return PicturesShown(told, apart, [row for row in rows if row not in apart])


def _row(facts: ReportFacts, loss: PictureLoss) -> PictureRow:
    picture = facts.record.dataset.pictures[loss.picture]
    what, ask = WORDS.get(loss.standing, ("", ""))
    low, high = (share_of(loss.excess + sign * loss.error) for sign in (-1, 1))
    told = f"{share_of(loss.excess):+.0%} ({low:+.0%} to {high:+.0%}), shown {counted(loss.showings, 'time')}"
    return PictureRow(Path(picture.path), picture.caption, told, what, ask)

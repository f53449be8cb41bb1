"""What a report shows of each training picture: which stand apart in the loss, and how all were fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.evaluating.facts import ReportFacts
from maquette.runs.folder import RunFolder
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


@dataclass(frozen=True)
class MasksShown:
    """The sheet of a run's masks, and how much of the pictures they leave."""

    sheet: Path
    told: str


def masks(facts: ReportFacts) -> MasksShown | None:
    """Return what was masked; None for a run without masks, or without its sheet."""
    masked = sum(each.mask_path is not None for each in facts.record.dataset.pictures)
    sheet = RunFolder(facts.run).masks
    if not masked or not sheet.is_file():
        return None
    wanted = facts.record.settings.objective
    held = wanted.masked_prior_preservation_weight
    outside = f"held to the base's own prediction at weight {held:g}" if held else "not learned"
    if wanted.unmasked_weight:
        outside += f", but for a weight of {wanted.unmasked_weight:g}"
    told = f"{counted(masked, 'picture')} with masks; what is red is {outside}. Right: as it was weighed, cell by cell."
    return MasksShown(sheet, told)


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

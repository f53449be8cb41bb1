"""How each picture of a run was fitted, as its record says it, and what to look at where one stands apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Standing = Literal["", "apart from the start", "left behind", "ahead"]


@dataclass(frozen=True, kw_only=True)
class PictureLoss:
    """How one picture of the record's dataset was fitted."""

    picture: int
    """Its place in the record's pictures, from 0."""
    showings: int
    excess: float
    """Mean logarithm of its loss over what its noise levels give, after the first quarter of the run."""
    error: float
    """Standard error of `excess`."""
    early: float | None
    """The same over the first quarter; None where it was hardly shown."""
    standing: Standing = ""


WORDS: Mapping[Standing, tuple[str, str]] = {
    "apart from the start": (
        "stands apart from the first steps on",
        "Does its caption describe it, and nothing else?",
    ),
    "left behind": (
        "is left behind while the others are learnt",
        "Does it show the same subject, in the same look?",
    ),
    "ahead": (
        "is fitted ahead of all others",
        "It teaches little more: is it the simplest, or shown too often?",
    ),
}
"""What each standing says, and what to look at."""


def share_of(excess: float) -> float:
    """Return an excess as a share: 0.35 for a loss 35 % above what is expected."""
    return math.exp(excess) - 1


def apart_in_words(name: str, loss: PictureLoss) -> str:
    """Return what a person should know of a picture that stands apart."""
    what, ask = WORDS[loss.standing]
    side = "above" if loss.excess > 0 else "below"
    return f"{name} {what}: its loss is {abs(share_of(loss.excess)):.0%} {side} what its noise gives. {ask}"

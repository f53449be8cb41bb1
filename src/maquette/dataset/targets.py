"""How long a run should be for its pictures: the band that planning aims at, and that checking compares with.

A character of 15 to 25 pictures wants 800 to 1,200 steps. Fewer pictures are known by heart sooner; with more, each is
shown up to 48 times, which is 1,200 steps at 25 pictures. Styles take longer: 203 pixel-art portraits were trained
well with 100 showings each. A batch of several pictures counts as that many showings, but needs fewer steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from maquette.project.profile import Kind
from maquette.project.scaffold import proposed_steps

FEWEST_STEPS = 800
MOST_STEPS = 1200
USUAL_PICTURES = (15, 25)
SHOWINGS = 48
"""Showings of each picture in the longest sensible run of a subject: 1,200 steps / 25 pictures."""
STYLE_SHOWINGS = 120
STYLE_FEWEST_STEPS = 1000
FEW_PICTURES = 50
"""Up to so many pictures a subject's length is well known; for more, bands are a rough guide."""


@dataclass(frozen=True)
class StepTarget:
    """A band of optimizer steps, both ends included."""

    low: int
    high: int
    best: int
    """What to plan for where nothing else is known."""

    def __contains__(self, steps: int) -> bool:
        return self.low <= steps <= self.high

    def __str__(self) -> str:
        return f"{self.low:,} to {self.high:,}"


def step_target(num_pictures: int, kind: Kind | None = None, pictures_per_step: int = 1) -> StepTarget:
    """Return the band for so many pictures of the subject; `pictures_per_step` is batch size × accumulation.

    Without a kind the band is that of a subject for up to 50 pictures, and for more it reaches up to a style's end.
    """
    if kind == "style":
        high = max(4 * STYLE_FEWEST_STEPS, STYLE_SHOWINGS * num_pictures)
        return _band(STYLE_FEWEST_STEPS, high, high // 2, pictures_per_step)
    high = max(_most_steps(num_pictures), SHOWINGS * num_pictures)
    if kind is None and num_pictures > FEW_PICTURES:
        high = max(high, STYLE_SHOWINGS * num_pictures)
    low = round(FEWEST_STEPS * min(1.0, max(0.25, num_pictures / USUAL_PICTURES[0])))
    return _band(low, high, proposed_steps(num_pictures), pictures_per_step)


def epochs_within(target: StepTarget, steps_per_epoch: int) -> int | None:
    """Return the number of epochs that comes nearest to the band's best within it, None when none does."""
    if steps_per_epoch < 1:
        return None
    nearest = max(1, round(target.best / steps_per_epoch))
    fitting = [n for n in (nearest, nearest - 1, nearest + 1) if n >= 1 and n * steps_per_epoch in target]
    return fitting[0] if fitting else None


def _most_steps(num_pictures: int) -> int:
    """A dozen pictures and fewer are known by heart before 1,200 steps."""
    return min(MOST_STEPS, 500 + 60 * num_pictures)


def _band(low: int, high: int, best: int, pictures_per_step: int) -> StepTarget:
    """Larger batches need fewer steps, but not in proportion: the upper end never falls below a small set's."""
    per_step = max(1, pictures_per_step)
    fewest, most = -(-low // per_step), max(min(high, MOST_STEPS), -(-high // per_step))
    return StepTarget(fewest, most, min(most, max(fewest, -(-best // per_step))))

"""How long a run should be for its pictures: the band that planning aims at, and that checking compares with.

A character of 15 to 25 pictures wants 800 to 1,200 steps. Fewer pictures are known by heart sooner; of more, each needs
fewer showings: 413 film frames were trained well with 20 showings each, where 20 pictures take 50. Styles take longer: 203
pixel-art portraits were trained well with 100 showings each. A step of several pictures (batch × accumulation) teaches
more than a step of one, though not as much as so many steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from maquette.project.profile import Kind

FEWEST_STEPS, MOST_STEPS = 800, 1200
USUAL_PICTURES = (15, 25)
STYLE_FEWEST_STEPS, STYLE_MOST_STEPS = 1000, 4000
GROWTH, STYLE_GROWTH = (0.65, 0.8), (0.8, 0.8)
"""Above the usual number of pictures the band's ends grow with these powers of it."""
BATCHES = (0.85, 0.7)
"""The band's ends fall with these powers of the pictures in a step: 413 frames in eights ran 1,040 steps, 203 portraits in
pairs 10,150."""
FEW_PICTURES = 50
"""Up to so many pictures a subject's length is well known; for more, bands are a rough guide."""


@dataclass(frozen=True)
class StepTarget:
    """A band of optimizer steps, both ends included."""

    low: int
    high: int
    best: int
    """What to plan for where nothing else is known: the middle."""

    def __contains__(self, steps: int) -> bool:
        return self.low <= steps <= self.high

    def __str__(self) -> str:
        return f"{self.low:,} to {self.high:,}"


def step_target(num_pictures: int, kind: Kind | None = None, pictures_per_step: int = 1) -> StepTarget:
    """Return the band for so many pictures of the subject; `pictures_per_step` is batch size × accumulation.

    Without a kind the band is that of a subject for up to 50 pictures, and for more it reaches up to a style's end.
    """
    low, high = _of_style(num_pictures) if kind == "style" else _of_subject(num_pictures)
    if kind is None and num_pictures > FEW_PICTURES:
        high = _of_style(num_pictures)[1]
    low, high = (
        end / max(1, pictures_per_step) ** power for end, power in zip((low, high), BATCHES, strict=True)
    )
    fewest = max(1, round(low))
    most = max(fewest, round(high))
    return StepTarget(fewest, most, (fewest + most) // 2)


def proposed_steps(num_pictures: int, kind: Kind = "character") -> int:
    """Return the length that a new project of so many pictures begins with: the band's middle, in fifties."""
    return max(50, round(step_target(num_pictures, kind).best / 50) * 50)


def epochs_within(target: StepTarget, steps_per_epoch: int) -> int | None:
    """Return the number of epochs that comes nearest to the band's best within it, None when none does."""
    if steps_per_epoch < 1:
        return None
    nearest = max(1, round(target.best / steps_per_epoch))
    fitting = [n for n in (nearest, nearest - 1, nearest + 1) if n >= 1 and n * steps_per_epoch in target]
    return fitting[0] if fitting else None


def _of_subject(num_pictures: int) -> tuple[float, float]:
    """Return the band of single pictures; a dozen pictures and fewer are known by heart before 1,200 steps."""
    fewest = FEWEST_STEPS * min(1.0, max(0.25, num_pictures / USUAL_PICTURES[0]))
    most = min(MOST_STEPS, 500 + 60 * num_pictures)
    return _grown((fewest, most), num_pictures, GROWTH)


def _of_style(num_pictures: int) -> tuple[float, float]:
    return _grown((STYLE_FEWEST_STEPS, STYLE_MOST_STEPS), num_pictures, STYLE_GROWTH)


def _grown(ends: tuple[float, float], num_pictures: int, powers: tuple[float, float]) -> tuple[float, float]:
    times = max(1.0, num_pictures / USUAL_PICTURES[1])
    return ends[0] * times ** powers[0], ends[1] * times ** powers[1]

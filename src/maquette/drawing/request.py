"""What one picture follows from. Reading it never imports torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DrawRequest:
    """Everything that one picture follows from, besides the model and its LoRA."""

    prompt: str
    """Brackets stand for themselves, written `(` or `\\(`."""
    negative: str = ""
    seed: int = 1
    width_px: int
    height_px: int
    steps: int = 25
    guidance: float = 7.0
    """Classifier-free guidance scale; 1 draws without it, in half the time."""
    sampler: str | None = None
    """None is the family's."""
    trial: int = 0
    """Which of the adapter's trials draws it."""

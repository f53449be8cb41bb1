"""Which encoder looks at pictures where nobody named one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PHOTOGRAPHS = "photo"
DRAWINGS = "clip"
"""For what is neither the small world's nor a photograph: its weights are looked for in the hub's cache, then on the hub."""


def encoder_for(pictures: Sequence[Path]) -> tuple[str, str]:
    """Return the encoder for pictures of one subject, and why it is that one, in words.

    The small world's judge for its own pictures, the embedded one for photographs, else a model of transformers.
    """
    from maquette.encoders.world import World, are_photographs, shows_the_small_world

    if shows_the_small_world(pictures):
        return World.name, "the references are pictures of the small world"
    if are_photographs(pictures):
        return PHOTOGRAPHS, "the references are photographs"
    return DRAWINGS, "the references are drawings"

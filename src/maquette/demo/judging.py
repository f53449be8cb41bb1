"""What the demo draws of its cast, and who measures it."""

from __future__ import annotations

from maquette.measuring.looks import LookPrompt
from maquette.measuring.world import WorldMeasurer
from maquette.world.cast import PROMPTS, TOVAKI
from maquette.world.pack import load_judge

ROLES = {"trigger": "bare", "scene": "full", "edit": "edit", "class": "leak"}
"""The report's roles of what the cast's prompts are for."""

CLEAN_ROLES = ("bare", "full")
"""The roles whose pictures should show the character as clean as the base can draw."""


def look_prompts(*, seeds_each: int) -> tuple[LookPrompt, ...]:
    """Return the cast's prompts: the bare trigger with every seed of a plan, the others with `seeds_each`."""
    return tuple(
        LookPrompt(
            text=prompt.text,
            role=ROLES[prompt.purpose],
            num_seeds=None if prompt.purpose == "trigger" else seeds_each,
        )
        for prompt in PROMPTS
        if prompt.purpose in ROLES
    )


def cast_measurer() -> WorldMeasurer:
    """Return the judge's measures of the demo's character."""
    return WorldMeasurer(load_judge(), TOVAKI, clean_roles=CLEAN_ROLES)

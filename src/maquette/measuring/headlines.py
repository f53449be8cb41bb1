"""The numbers of a scorecard: a measure over the prompts of some roles, and what its zero and its one are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from maquette.measuring.protocol import Direction

Anchor = Literal["base", "low", "high", "ceiling"]
"""What the base alone scores on the same prompts and seeds; the measure's own ends; what the references score."""

SUBJECT_ROLES = ("bare", "pose", "novel", "asymmetry", "full", "prompt")
"""Prompts that ask for the subject."""

Aspect = Literal["identity", "variety", "style", "adherence", "technical"]

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"identity": 40.0, "variety": 20.0, "style": 20.0, "adherence": 10.0, "technical": 10.0}
)
"""What each aspect counts in the score of a checkpoint; those that were not measured are left out of the sum."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """A measure over the prompts of some roles. On the common scale `zero` is 0 and `one` is 1: more is always better."""

    name: str
    title: str
    measure: str
    roles: tuple[str, ...]
    zero: Anchor = "base"
    one: Anchor = "ceiling"
    aspect: Aspect | None = None
    """What it counts towards in the score; None where it only warns."""

    @property
    def direction(self) -> Direction:
        """Which end of its own scale is better: of what is not to appear (a leak, a copy) the lower one."""
        return "lower" if self.zero == "ceiling" else "higher"


HEADLINES = (
    Headline(
        name="identity",
        title="Identity",
        measure="identity",
        roles=("pose", "asymmetry", "full", "prompt"),
        aspect="identity",
    ),
    Headline(
        name="identity_bare",
        title="Identity from the trigger alone",
        measure="identity",
        roles=("bare",),
        aspect="identity",
    ),
    Headline(
        name="identity_novel",
        title="Identity in novel contexts",
        measure="identity",
        roles=("novel",),
        aspect="identity",
    ),
    Headline(
        name="asymmetry",
        title="Details on their side",
        measure="asymmetry",
        roles=("bare", "asymmetry", "full"),
        aspect="identity",
    ),
    Headline(
        name="variety",
        title="Variety",
        measure="variety",
        roles=SUBJECT_ROLES,
        zero="low",
        aspect="variety",
    ),
    Headline(name="style", title="Style", measure="style", roles=SUBJECT_ROLES, aspect="style"),
    Headline(
        name="adherence",
        title="Prompt adherence",
        measure="adherence",
        roles=("pose", "novel", "full", "edit", "prompt"),
        zero="low",
        one="base",
        aspect="adherence",
    ),
    Headline(
        name="technical",
        title="Technical quality",
        measure="technical",
        roles=(*SUBJECT_ROLES, "leak", "bleed", "drift", "edit"),
        zero="low",
        one="base",
        aspect="technical",
    ),
    Headline(
        name="leakage",
        title="Leak into the class word",
        measure="identity",
        roles=("leak",),
        zero="ceiling",
        one="base",
    ),
    Headline(
        name="bleed",
        title="Bleed into other subjects",
        measure="identity",
        roles=("bleed",),
        zero="ceiling",
        one="base",
    ),
    Headline(
        name="drift",
        title="Drift of unrelated prompts",
        measure="drift",
        roles=("drift",),
        zero="ceiling",
        one="low",
    ),
    Headline(
        name="copying",
        title="Nearness to a training picture",
        measure="copying",
        roles=SUBJECT_ROLES,
        zero="ceiling",
        one="base",
    ),
    Headline(
        name="training_likeness",
        title="Likeness to the training pictures",
        measure="training_likeness",
        roles=SUBJECT_ROLES,
    ),
    Headline(
        name="training_bonus",
        title="What training pictures would add",
        measure="training_bonus",
        roles=SUBJECT_ROLES,
        zero="ceiling",
        one="base",
    ),
)
"""In the order in which a card shows them."""

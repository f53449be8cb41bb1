"""What a plan is asked for beside the run's settings."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from maquette.project.fields import Flag, Options
from maquette.project.profile import Kind
from maquette.project.request import Trainer
from maquette.project.validation import Unfit

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g|t)?i?b?", re.IGNORECASE)
UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def _bytes(value: Any) -> Any:
    """Return bytes of `16GB`, `16 GiB`, `12g` or a plain number; units are powers of 1024, as cards are sold."""
    if not isinstance(value, str):
        return value
    found = SIZE.fullmatch(value.strip())
    if found is None or float(found[1]) == 0:
        raise Unfit("a size such as 16GB", "Write a number and GB.")
    return int(float(found[1]) * UNITS.get((found[2] or "").lower(), 1))


class PlanOptions(Options):
    """What the plan is held against."""

    target_steps: int | None = Field(
        None,
        ge=1,
        description="Propose epochs and repeats for about N steps. Default: as many as suit the kind.",
    )
    kind: Kind | None = Field(None, description="What is learned. Default: as profile.toml says.")
    memory_bytes: Annotated[int | None, BeforeValidator(_bytes), Flag("--memory", "SIZE")] = Field(
        None, gt=0, description="Fit into this much memory (16GB), whatever the device has."
    )
    device_like: Annotated[str | None, Flag(metavar="CARD")] = Field(
        None, description="Take the published speed and memory of this card, such as 'RTX 3090 Ti'."
    )
    trainer: Trainer = Field("maquette", description="Whose options the advice may use.")
    preset: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="Plan with these proven settings; flags win over them."
    )
    measure: bool = Field(
        True, description="Measure this machine's speed for two seconds where no earlier run tells it."
    )
    hold_back: bool = Field(
        False, description="Say by name which pictures to hold out of training, to judge the run by, and why."
    )

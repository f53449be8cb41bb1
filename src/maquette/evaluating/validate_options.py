"""What measuring LoRA files on pictures is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from maquette.project.fields import Flag, Options


class ValidateOptions(Options):
    """Which pictures are measured, over which base."""

    images: Path | None = Field(
        None,
        description="Folder of pictures with captions beside them. Default: those that the run measured or held out.",
    )
    base: str | None = Field(None, description="The base model, for LoRA files outside a run.")
    resolution: Annotated[int | None, Flag(metavar="PX")] = Field(
        None, ge=64, description="Edge that pictures are measured at. Default: the run's, or 512."
    )
    timesteps: int = Field(8, ge=1, le=100, description="Levels of noise at which each picture is measured.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the fixed noise.")

"""What the pipeline is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from maquette.project.fields import Flag, Options


class AutoOptions(Options):
    """How far the pipeline goes, and what it waits for."""

    wait_s: Annotated[float, Flag("--wait", metavar="SECONDS")] = Field(
        0.0,
        ge=0,
        description="Wait so long for captions that nobody is seen to write. While a captioning is at work, it is waited for.",
    )
    without_captions: bool = Field(
        False, description="Go on where pictures have no caption: something else stands in for it."
    )
    suite: Literal["quick", "profile", "thirty"] | None = Field(
        None, description="Prompts that every checkpoint draws (maquette evaluate). Default: quick."
    )
    seeds: int | None = Field(
        None, ge=1, le=1000, description="Pictures of each prompt (maquette evaluate). Default: 4."
    )
    until: Literal["captions", "check", "plan", "train", "evaluate", "select", "deploy"] = Field(
        "deploy", description="Go no further than this stage."
    )
    memory: Annotated[str | None, Flag(metavar="SIZE")] = Field(
        None, description="Stop where the run does not fit into this much (16GB), whatever the device has."
    )
    comfyui: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="ComfyUI's folder, for the command that deploys. Nothing is installed."
    )
    webui: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="AUTOMATIC1111's or Forge's folder, likewise."
    )

"""What a deployment is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from maquette.project.fields import Flag, Options


class DeployOptions(Options):
    """Where a LoRA goes, and under which name."""

    comfyui: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="ComfyUI's folder (the one with models/)."
    )
    webui: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="AUTOMATIC1111's or Forge's folder."
    )
    diffusers: Annotated[Path | None, Flag(metavar="DIR")] = Field(
        None, description="Folder that receives NAME/ for diffusers and the Hub, with a model card."
    )
    checkpoint: Annotated[str | None, Flag(metavar="NAME")] = Field(
        None, description="Checkpoint to install. Default: the chosen one (maquette select), else the last."
    )
    name: str | None = Field(None, description="Name of the release. Default: the run's, or the file's.")
    trigger: Annotated[str | None, Flag(metavar="WORD")] = Field(
        None, description="Word that means the subject. Default: the run's, or the one that the file names."
    )
    base_name: Annotated[str | None, Flag(metavar="FILE")] = Field(
        None, description="The base model's name in the drawing program. Default: the base's file name."
    )
    strength: float | None = Field(
        None,
        ge=-2,
        le=2,
        description="Strength in workflow, prompts, sidecars and preview. Default: the chosen one's, else 1.",
    )
    workflow: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None,
        description="Your own ComfyUI workflow in API format, with slots ({{lora_name}}, {{prompt_text}}…), in place of ours.",
    )
    controlnet: Annotated[str | None, Flag(metavar="FILE")] = Field(
        None,
        description="Also write a workflow that takes a pose over by this ControlNet, named as in ComfyUI.",
    )
    pose: Annotated[Path | None, Flag(metavar="PICTURE")] = Field(
        None, description="Picture of the pose, as the ControlNet reads it."
    )
    create: bool = Field(False, description="Make the folders where no such program is.")
    dry_run: bool = Field(
        False,
        description="Say what would be written and where, which of it is there already or yours, and write nothing.",
    )
    compare: bool = Field(
        True, description="Draw a server's picture here too and say how far apart they are."
    )

"""What regularization pictures are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from maquette.project.fields import Flag, Options
from maquette.project.settings import Device, Precision, SamplerName, StatedPrediction


class DrawingOptions(Options):
    """How they are drawn; pictures taken from a folder heed none of it."""

    prompts: Annotated[tuple[str, ...], Flag("--prompt")] = Field(
        (),
        description="Template in place of the built-in ones: {a|b} is dealt out evenly, {class} the class word.",
    )
    negative: str = Field("", description="What the pictures should not show.")
    seed: int = Field(1, ge=0, description="Seed of the first picture; the next takes the next.")
    steps: int = Field(25, ge=1, description="Denoising steps.")
    guidance: float | None = Field(None, ge=0, description="Guidance scale. Default: the family's.")
    sampler: SamplerName | None = Field(None, description="Sampler. Default: the family's.")
    clip_skip: int | None = Field(
        None,
        ge=1,
        le=12,
        description="Text layer counted from the end; 1 is the last. Default: the family's.",
    )
    prediction: StatedPrediction = Field(
        "auto",
        description="What the base predicts: epsilon (the noise) or v. auto: what its file says, else epsilon.",
    )
    zero_terminal_snr: bool | None = Field(
        None,
        description="Noise schedule whose last timestep is pure noise. Default: what the base's file says.",
    )
    batch: int | None = Field(
        None,
        ge=1,
        description="Pictures drawn together. Default: by their size, and by what a card has unused.",
    )
    device: Device = Field("auto", description="auto, cpu, cuda, cuda:1 or mps.")
    precision: Precision = Field("auto", description="Arithmetic of the base.")


class RegularizeOptions(DrawingOptions):
    """What the pictures are of, how many, and where they go."""

    out: Path = Field(description="Folder for the pictures.")
    class_word: str = Field(
        "", description="The ordinary word: man, dog, anime character. Default: the profile's."
    )
    count: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Pictures. Default: as many as the dataset of --for needs, else 100.",
    )
    dataset: Annotated[Path | None, Flag("--for")] = Field(
        None,
        description="The dataset that they balance: a project, a folder of pictures, a kohya folder or TOML.",
    )
    source: Annotated[Path | None, Flag("--from", "DIR")] = Field(
        None, description="Copy the class pictures of this folder in place of drawing any."
    )
    profile: Annotated[Path | None, Flag(metavar="FILE")] = Field(
        None,
        description="The subject's profile.toml: its class word, and triggers that no prompt may hold. Default: the one by "
        "--for, else by --out.",
    )
    size_px: Annotated[int | None, Flag("--size", "PX")] = Field(
        None,
        ge=8,
        description="Edge of a picture; with --from the shorter side that pictures must have. Default: the family's.",
    )

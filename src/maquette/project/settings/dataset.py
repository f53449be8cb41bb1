"""`[dataset]`: the pictures, their captions and how both are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from maquette.project.fields import Section
from maquette.project.values import parse_resolution

Resolution = Annotated[tuple[int, int], BeforeValidator(parse_resolution)]


class DatasetSettings(Section):
    """`[dataset]`: the pictures and how they are shown."""

    images: Path = Field(
        Path("images"),
        description="Folder of pictures with captions beside them, kohya folder (10_name/), or kohya dataset TOML.",
    )
    regularization: Path | None = Field(
        None, description="Folder of class pictures that keep the class from drifting."
    )
    repeats: int = Field(
        1,
        ge=1,
        description="How often an epoch shows each picture of a flat folder; N_name/ folders carry their own.",
    )
    resolution: Resolution = Field(
        (512, 512), description='Training size in pixels: 512, "512,768" (width, height) or [512, 768].'
    )
    bucketing: bool | None = Field(
        None,
        description="Group pictures by aspect ratio, do not crop all to one shape. Default: on; for a kohya TOML as it says.",
    )
    min_bucket_px: int | None = Field(
        None, ge=8, description="Shortest bucket side. Default: 256, or half the resolution if smaller."
    )
    max_bucket_px: int | None = Field(
        None, ge=8, description="Longest bucket side. Default: 1024, or twice the resolution if larger."
    )
    bucket_step_px: int = Field(64, ge=8, multiple_of=8, description="Bucket sides are multiples of this.")
    bucket_no_upscale: bool = Field(False, description="Never enlarge a picture to fill its bucket.")
    caption_extension: str = Field(
        ".txt",
        pattern=r"^\.\w+$",
        json_schema_extra={"form": "a dot and letters or digits, like .txt"},
        description="Ending of caption files.",
    )
    caption_fallback: str = Field(
        "",
        description="Caption of pictures that have none. Default: none, and missing captions are an error.",
    )
    shuffle_caption: bool = Field(
        False, description="Shuffle the comma-separated parts of a caption each time it is shown."
    )
    keep_tokens: int = Field(
        0, ge=0, description="Leading caption parts that shuffling leaves in place; 1 protects the trigger."
    )
    max_token_length: Literal[75, 150, 225] = Field(
        75, description="Caption tokens that are read; the rest is cut off."
    )
    cache_latents: bool = Field(
        True, description="Encode each picture once before training instead of at every step."
    )
    cache_folder: Path | None = Field(
        None, description="Keep encoded pictures here between runs. Default: in memory only."
    )

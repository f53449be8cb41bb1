"""`[dataset]`: the pictures, their captions and how both are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from maquette.project.fields import Flag, Section
from maquette.project.values import parse_range, parse_resolution

Resolution = Annotated[tuple[int, int], BeforeValidator(parse_resolution)]
Share = Annotated[float, Field(ge=0, le=1)]
Interpolation = Literal["lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area", "box"]


class DatasetSettings(Section):
    """`[dataset]`: the pictures and how they are shown."""

    images: Path = Field(
        Path("images"),
        description="Folder of pictures with captions beside them, kohya folder (10_name/), or kohya dataset TOML.",
    )
    regularization: Path | None = Field(
        None, description="Folder of class pictures that keep the class from drifting."
    )
    metadata_file: Path | None = Field(
        None,
        description="JSON, JSONL or CSV that lists pictures with their captions; relative paths count from images. "
        "Default: a metadata.jsonl or metadata.csv in a folder without caption files.",
    )
    repeats: int = Field(
        1,
        ge=1,
        description="How often an epoch shows each picture of a flat folder; N_name/ folders carry their own.",
    )
    resolution: Resolution = Field(
        (512, 512), description='Training size in pixels: 512, "512,768" (width, height) or [512, 768].'
    )
    more_resolutions: tuple[Resolution, ...] = Field(
        (),
        description="Show every picture at these sizes too, each an item of its own in every epoch.",
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
    caption_separator: str = Field(
        ",",
        pattern=r"\S",
        json_schema_extra={"form": "a text that is not blank"},
        description="What separates a caption's parts.",
    )
    keep_tokens_separator: str = Field(
        "",
        description="Text in captions, like |||, that ends the parts which stay in front; a second one begins an ending that "
        "stays. Overrules keep_tokens.",
    )
    secondary_separator: str = Field(
        "", description="Joins parts that must stay together; becomes caption_separator after shuffling."
    )
    enable_wildcard: bool = Field(
        False,
        description="Choose one of a caption file's lines and one word of each {a|b} each time it is shown.",
    )
    caption_prefix: str = Field("", description="Put before every caption, with a space.")
    caption_suffix: str = Field("", description="Put after every caption, with a space.")
    caption_dropout_rate: Share = Field(
        0.0, description="Share of showings with an empty caption; teaches what needs no words."
    )
    caption_dropout_every_n_epochs: int = Field(
        0, ge=0, description="Every n-th epoch has empty captions. 0: none."
    )
    caption_tag_dropout_rate: Share = Field(
        0.0, description="Share of a caption's parts left out each time it is shown; keep_tokens stay."
    )
    token_warmup_step: float = Field(
        0.0,
        ge=0,
        description="Show few of a caption's parts at first and all from this step on; below 1: that share of all steps.",
    )
    token_warmup_min: int = Field(
        1, ge=0, description="Parts that token_warmup_step begins with, beside those that keep_tokens holds."
    )
    flip_aug: bool = Field(
        False, description="Mirror half of the showings. Wrong for a subject whose left and right differ."
    )
    random_crop: bool = Field(
        False,
        description="Crop anywhere, not around the centre. Such pictures are encoded at every step, which takes time and "
        "keeps the VAE in memory.",
    )
    color_aug: bool = Field(
        False,
        description="Shift hue or gamma a little in a third of the showings. Such pictures are encoded at every step.",
    )
    face_crop_aug_range: Annotated[
        tuple[float, float] | None, BeforeValidator(parse_range), Flag(metavar="X,X")
    ] = Field(
        None,
        description='Without buckets, crop pictures named name_x_y_w_h around that face: "2.0,4.0" crops to sides 2 to 4 times '
        "the face's.",
    )
    background: str | None = Field(
        None,
        pattern=r"^(white|black|gray|#[0-9a-fA-F]{6})$",
        json_schema_extra={"form": "white, black, gray or #rrggbb"},
        description="Colour that transparent parts of pictures are laid on. Default: the colour stored behind them, as in "
        "sd-scripts.",
    )
    resize_interpolation: Interpolation | None = Field(
        None,
        description="How pictures are resized. Default: area where they shrink, Lanczos where they grow; nearest: pixel art.",
    )
    max_token_length: Literal[75, 150, 225] = Field(
        75, description="Caption tokens that are read; the rest is cut off."
    )
    weighted_captions: bool = Field(
        False,
        description="Read (word:1.2), (word) and [word] in captions as emphasis, \\( as a bracket; brackets are letters else.",
    )
    cache_latents: bool = Field(
        True, description="Encode each picture once before training instead of at every step."
    )
    cache_text_encoder_outputs: bool = Field(
        True,
        description="While no text encoder trains, encode each caption once before training; the text encoders then leave the "
        "device unless samples need them.",
    )
    cache_folder: Path | None = Field(
        None,
        description="Keep encoded pictures and captions here between runs. Default: in memory only.",
    )
    cache_limit_gb: float | None = Field(
        None,
        gt=0,
        description="Most that cache_folder may hold: what was longest not used goes first, never what a running training "
        "needs. Default: no limit.",
    )
    skip_cache_check: bool = Field(
        False,
        description="Believe the files in cache_folder by their names at the start; each is still checked when it is shown.",
    )
    vae_batch_size: int = Field(
        1,
        ge=1,
        description="Pictures of one size that are encoded together before training. Above 1 the last bits of a latent may "
        "depend on its company.",
    )

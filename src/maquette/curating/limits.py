"""The limits of quality: what is clearly unusable, and what a person should look at. Every limit can be set."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from maquette.dataset.measures import NEAR_BITS, NEAR_MAX, NEAR_MEAN
from maquette.project.fields import Flag, Options


class Limits(Options):
    """Where quality ends: beyond a limit to review, beyond the second one rejected."""

    sharpness: float = Field(
        60.0,
        ge=0,
        description="Variance of the Laplacian at 512 px: below it to review, below half of it rejected. 0 turns it off.",
    )
    edge_width_px: float = Field(
        2.5,
        ge=0,
        description="Pixels over which the strongest edges rise, at 512 px: up to here no picture counts as blurred.",
    )
    resolution_px: Annotated[int | None, Flag("--resolution", "PX")] = Field(
        None,
        ge=0,
        description="The side that you will train at: a shorter side below it is enlarged (review), below half of it rejected.",
    )
    aspect: float = Field(
        2.5, ge=0, description="Longer over shorter side: above it to review, above twice it rejected."
    )
    blank_contrast: float = Field(
        0.02,
        ge=0,
        description="Deviation of grey values (0 to 1) below which a frame holds nothing: rejected.",
    )
    dark_brightness: float = Field(
        0.06, ge=0, description="Mean grey value (0 to 1): below it to review, below half of it rejected."
    )
    bright_brightness: float = Field(
        0.985, ge=0, description="Mean grey value (0 to 1) above which a picture is to be looked at."
    )
    noise: float = Field(
        25.0,
        ge=0,
        description="Estimated noise in grey values 0 to 255 above which a picture is to be looked at; not asked of pixel art.",
    )
    detail_scale: float = Field(
        0.45,
        ge=0,
        description="Share of the size that holds real detail: below it to review, below half of it rejected.",
    )
    subject_share: float = Field(
        0.01, ge=0, description="Share of the picture that is not its border's colours: below it to review."
    )
    duplicate_bits: int = Field(
        NEAR_BITS,
        ge=0,
        description="Perceptual hashes of 64 bits this far apart, or nearer, may be the same picture …",
    )
    duplicate_mean: float = Field(
        NEAR_MEAN,
        ge=0,
        description="… and are when their thumbnails differ by no more on average, of 255 (0: duplicates are not looked for) …",
    )
    duplicate_max: int = Field(
        NEAR_MAX, ge=0, description="… and nowhere by more than this: a changed pose or accessory does."
    )
    alike: float = Field(
        0.0,
        ge=0,
        description="Likeness of embeddings from which two pictures count as duplicates too (crops, colours); "
        "0.97 is usual, 0: not asked.",
    )
    small_share: float = Field(
        0.5,
        ge=0,
        description="A picture smaller than this share of the folder's usual shorter side is to be looked at.",
    )
    review_band: float | None = Field(
        None,
        ge=0,
        description="How far below the identity threshold a picture still goes to review instead of being rejected. "
        "Default: the encoder's own, narrower where the references are much alike.",
    )

"""The limits of quality: what is clearly unusable, and what a person should look at. Every limit can be set."""

from __future__ import annotations

from dataclasses import dataclass, fields

from maquette.dataset.hashes import NEAR_BITS, NEAR_MAX, NEAR_MEAN
from maquette.errors import ConfigError, Problem


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where quality ends. A value beyond the limit goes to review, beyond the second one it is rejected."""

    sharpness: float = 60.0
    """Variance of the Laplacian at 512 px: below it to review, below half of it rejected. 0 turns it off."""
    edge_width_px: float = 2.5
    """Pixels over which the strongest edges rise, at 512 px: up to here no picture counts as blurred."""
    resolution_px: int | None = None
    """The side that training will use: a shorter side below it is enlarged (review), below half of it rejected."""
    aspect: float = 2.5
    """Longer over shorter side: above it to review, above twice it rejected."""
    blank_contrast: float = 0.02
    """Standard deviation of grey values below which a frame holds nothing (rejected)."""
    dark_brightness: float = 0.06
    """Mean grey value below which a picture is to be looked at; below half of it rejected."""
    bright_brightness: float = 0.985
    """Mean grey value above which a picture is to be looked at."""
    noise: float = 25.0
    """Estimated noise in grey values 0–255 above which a picture is to be looked at; not asked of pixel art."""
    detail_scale: float = 0.45
    """Share of the size that holds real detail: below it to review, below half of it rejected."""
    subject_share: float = 0.01
    """Share of the picture that is not its border's colours: below it to review."""
    duplicate_bits: int = NEAR_BITS
    """Perceptual hashes (64 bits) this far apart, or nearer, may be the same picture …"""
    duplicate_mean: float = NEAR_MEAN
    """… and are when their thumbnails differ by no more on average, of 255. 0: duplicates are not looked for …"""
    duplicate_max: int = NEAR_MAX
    """… and nowhere by more than this: a changed pose or accessory does."""
    alike: float = 0.0
    """Similarity of embeddings from which two pictures count as duplicates too (crops, colours). 0: not asked."""
    small_share: float = 0.5
    """A picture smaller than this share of the folder's usual shorter side is to be looked at."""
    review_band: float = 0.03
    """How far below the identity threshold a picture still goes to review instead of being rejected."""

    def __post_init__(self) -> None:
        problems = [
            Problem(
                field.name.replace("_", "-"),
                str(getattr(self, field.name)),
                "a number not below 0",
                "Give 0 to turn a limit off.",
            )
            for field in fields(self)
            if getattr(self, field.name) is not None and getattr(self, field.name) < 0
        ]
        if problems:
            raise ConfigError(problems)

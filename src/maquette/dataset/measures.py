"""What one look at a picture tells, the more the longer it looks: its size, whether it is sound, how good it is.

Rules and curation read the same measures; `dataset.measuring` takes them, once for each content.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maquette.errors import Problem

NEAR_BITS = 10
"""Of 64 bits of the perceptual hash. Copies saved smaller, larger or as JPEG of quality 60 differ by 0 to 6."""
NEAR_MEAN = 8.0
"""Mean difference of the thumbnails' pixels, of 255, in the channel that differs most."""
NEAR_MAX = 40
"""Largest difference of one thumbnail pixel: a changed accessory or pose exceeds it, a saved copy stays below 20."""


@dataclass(frozen=True, kw_only=True)
class PictureSize:
    """What a picture's header says."""

    width_px: int
    height_px: int

    @property
    def size_wh(self) -> tuple[int, int]:
        return self.width_px, self.height_px


@dataclass(frozen=True, kw_only=True)
class PictureFacts(PictureSize):
    """What a picture is that was decoded to its last pixel."""

    sha256: str
    """Of the file's bytes."""
    is_rotated: bool
    """EXIF data ask viewers to turn or mirror it; training takes pixels as stored."""
    is_transparent: bool
    """Some pixels are not opaque; training takes the colour stored behind."""


@dataclass(frozen=True, kw_only=True)
class Measures(PictureFacts):
    """One decodable picture. Values are of what a viewer shows, upright and transparent parts on white; width and height are
    as stored, which is what training takes.
    """

    format: str
    """PNG, JPEG, WEBP, BMP, MPO."""
    mode: str
    """Pillow's name of its channels: RGB, RGBA, P, L, CMYK."""
    sharpness: float
    """Variance of the Laplacian of its grey values (0–255), shrunk to 512 px along the longer side (never enlarged).
    It falls with blur and rises with busy contents: compare pictures of one subject, or see `edge_width_px`."""
    edge_width_px: float
    """Pixels over which its strongest edges rise, at 512 px along the longer side: 1 to 2 sharp, above about 4
    blurred; 0 where there is no edge at all. Unlike sharpness it does not depend on how busy the picture is."""
    brightness: float
    """Mean grey value, 0 black to 1 white."""
    contrast: float
    """Standard deviation of grey values, 0 to 0.5; a black or white frame has nearly none."""
    clipped_dark: float
    """Share of pixels darker than 4/255."""
    clipped_bright: float
    """Share of pixels brighter than 251/255."""
    noise: float
    """Estimated standard deviation of noise in grey values 0–255 in its smoothest parts (Immerkær 1996 by blocks),
    at 512 px along the longer side."""
    detail_scale: float
    """Share of its size at which nothing is lost: 1 sharp to the last pixel, 0.5 was enlarged twofold."""
    grid_px: float
    """Edge of one enlarged pixel when it is pixel art enlarged without smoothing, e.g. 21.33 for 24 cells on 512 px;
    1 when it is none."""
    grid_error: float
    """How far it is off that grid: share of colour steps that do not lie on it; 0 is exact."""
    num_colours: int
    """Distinct colours, counted up to 4096; exact up to 64, above that on 512×512 pixels of larger pictures."""
    difference_hash: str
    """64-bit difference hash, hex."""
    perceptual_hash: str
    """64-bit DCT hash, hex."""
    mirrored_hash: str
    """The perceptual hash of its mirror image, hex."""
    thumbnail: bytes
    """16 rows of 16 RGB pixels, 768 bytes: settles whether two pictures of like hashes are alike."""
    colour_profile: str
    """Name of its embedded ICC profile; empty for none or sRGB."""
    subject_share: float
    """Share of the picture that stands out from its border colours, 0 to 1: a rough size of the subject."""
    edge_contact: float
    """Share of the border that the subject touches, 0 to 1: how much of it the frame cuts."""
    edge_contacts: tuple[float, float, float, float]
    """The same for the top, right, bottom and left edge alone."""
    plain_border: float
    """Share of the border that has its main colour, 0 to 1: above 0.6 the two values before can be relied on."""
    bars: tuple[float, float, float, float]
    """Shares of its height or width that black bars take at the top, right, bottom and left; 0 where there is none."""
    palette: tuple[str, ...]
    """Its most frequent colours as `#rrggbb`, at most 32, most frequent first."""

    @property
    def has_plain_border(self) -> bool:
        """Whether the background is plain enough to tell the subject from it."""
        return self.plain_border >= 0.6


Look = PictureSize | Problem
"""A picture file as far as it was looked at (PictureSize, PictureFacts or Measures), or what is wrong with it."""


@dataclass(frozen=True)
class Measured:
    """A picture file and what is known of it: measures, or the problem that keeps it from being read."""

    path: Path
    result: Measures | Problem

    @property
    def measures(self) -> Measures:
        """The measures of a picture that could be read."""
        assert isinstance(self.result, Measures), f"{self.path} could not be read"
        return self.result

    @property
    def is_sound(self) -> bool:
        return isinstance(self.result, Measures)

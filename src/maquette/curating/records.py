"""What curation decides about a picture, why, and on which values: the records that every step reads and adds to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["kept", "rejected", "review"]
Weight = Literal["reject", "review", "note"]
"""What a reason does: reject the picture, ask a person to look, or only say something about it."""

STATES: tuple[State, ...] = ("kept", "rejected", "review")
Decider = Literal["maquette", "you"]
"""Who decided: reasons alone, or a person."""
MAQUETTE: Decider = "maquette"
YOU: Decider = "you"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a picture is rejected or to be looked at, with the value that decided."""

    code: str
    """One of CODES."""
    weight: Weight
    text: str
    """`sharpness 21 below 60`: what a person reads."""
    value: float | None = None
    limit: float | None = None
    other: str = ""
    """The picture it was compared with, by name."""


CODES: Mapping[str, str] = {
    "unreadable": "Cannot be read",
    "blank": "Blank frame",
    "blurred": "Blurred",
    "dark": "Too dark",
    "bright": "Washed out",
    "small": "Small",
    "shape": "Extreme shape",
    "noisy": "Noisy",
    "enlarged": "Enlarged",
    "subject": "Subject too small",
    "duplicate": "Duplicate",
    "identity": "Somebody else",
    "uncompared": "Not compared with the references",
    "face": "Faces",
    "mirrored": "Mirror image",
    "reference": "Same as a reference",
    "target": "More of the same",
}
"""Every reason's code with the title of its contact sheet, in the order in which they are looked for."""


@dataclass(slots=True)
class Look:
    """One picture on its way to a decision. Steps add reasons and values; nothing is taken away."""

    name: str
    """Path below the folder, with `/`."""
    sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    perceptual: int = 0
    """64-bit perceptual hash."""
    mirrored: int = 0
    """64-bit perceptual hash of the mirror image."""
    thumbnail: bytes = b""
    """16 × 16 RGB values, row by row."""
    measures: dict[str, float] = field(default_factory=dict)
    """The measures that decisions use, by their names in dataset.measures."""
    quality: float = 0.0
    """0 to 1, for choosing among likes: sharpness, exposure and size together."""
    similarity: float | None = None
    """To the references, as the encoder measures it; None when it was not measured."""
    nearest_reference: str = ""
    faces: int | None = None
    face_similarity: float | None = None
    cluster: int | None = None
    """Number of its group of view and pose, 0 the largest."""
    reasons: list[Reason] = field(default_factory=list)
    yours: State | None = None
    """The person's own decision; it stands above every reason."""

    @property
    def automatic(self) -> State:
        """What the reasons alone amount to."""
        weights = {reason.weight for reason in self.reasons}
        if "reject" in weights:
            return "rejected"
        return "review" if "review" in weights else "kept"

    @property
    def state(self) -> State:
        return self.yours or self.automatic

    @property
    def is_open(self) -> bool:
        """Whether later steps should still look at it: nothing has rejected it, or the person keeps it."""
        return self.state != "rejected"

    def add(
        self,
        code: str,
        weight: Weight,
        text: str,
        *,
        value: float | None = None,
        limit: float | None = None,
        other: str = "",
    ) -> None:
        """Note a reason."""
        assert code in CODES, code
        self.reasons.append(Reason(code, weight, text, value, limit, other))


@dataclass(frozen=True, kw_only=True)
class CurateResult:
    """How a folder of pictures was sorted. Paths are the folder's own, joined with the pictures' names."""

    directory: Path
    decisions: Path
    """The curation.json that holds every decision."""
    kept: tuple[Path, ...]
    rejected: Mapping[Path, tuple[str, ...]]
    """Path → its reasons, the decisive ones first."""
    review: Mapping[Path, tuple[str, ...]]
    references: tuple[Path, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    """Pictures, and how many in each state."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """How many pictures each reason rejected or sent to review, by code."""
    encoder: str = ""
    threshold: float | None = None
    identity: Mapping[str, Any] | None = None
    """Calibration, histogram and pass rates; None without references."""
    clusters: int = 0
    target: int | None = None
    sheets: tuple[Path, ...] = ()
    chart: Path | None = None
    frames: int = 0
    """Frames taken from videos in this run."""
    applied: Path | None = None
    copied: int = 0
    warnings: tuple[str, ...] = ()
    measured_now: int = 0
    """Pictures that had to be decoded in this run: new or changed ones."""
    embedded_now: int = 0

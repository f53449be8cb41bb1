"""Who is in the pictures, as curating found by comparing them with the references: what two picture rules read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class IdentityFacts:
    """Scores of pictures against the subject's references.

    Pictures that a person has decided to keep, and pictures that changed since they were compared, are left out.
    """

    scores: Mapping[Path, float]
    """Picture → likeness to the references, 1 the same."""
    threshold: float
    """Likeness from which a picture is taken for the subject."""
    encoder: str
    """What compared them, e.g. `dinov2`."""
    faces: Mapping[Path, int] | None = None
    """Picture → number of faces found; None where nothing looked for faces."""

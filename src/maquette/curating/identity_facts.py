"""Who is in the pictures, as curation found by comparing them with the references: what picture rules read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from maquette.curating.decisions import DECISIONS_NAME, Decision, Decisions, read_decisions
from maquette.curating.records import YOU
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.measures import Measured

LEVELS_ABOVE = 3
"""How far above a picture a curation.json may lie: curation may have begun at the folder of the folders."""


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


def identity_facts(dataset: DatasetFacts) -> IdentityFacts | None:
    """Return what curation found out about these pictures, or None where it has not compared them with anything.

    Raises DatasetError for a damaged curation.json.
    """
    known: dict[Path, Decisions | None] = {}
    scores: dict[Path, float] = {}
    faces: dict[Path, int] = {}
    said: Decisions | None = None
    for picture in dataset.pictures:
        found = _decided(picture, known)
        if found is None:
            continue
        decisions, decision = found
        if decision.similarity is not None and decisions.threshold is not None:
            scores[picture.path], said = decision.similarity, decisions
        if decision.faces is not None:
            faces[picture.path], said = decision.faces, decisions
    if said is None:
        return None
    return IdentityFacts(
        scores=scores, threshold=said.threshold or 0.0, encoder=said.encoder, faces=faces or None
    )


def _decided(picture: Measured, known: dict[Path, Decisions | None]) -> tuple[Decisions, Decision] | None:
    """Return the decision about a picture that is still the same and that no person has settled."""
    for folder in _folders(picture.path):
        if folder not in known:
            known[folder] = read_decisions(folder) if (folder / DECISIONS_NAME).is_file() else None
        decisions = known[folder]
        if decisions is None:
            continue
        decision = decisions.pictures.get(picture.path.absolute().relative_to(folder).as_posix())
        if decision is None or decision.decided_by == YOU:
            return None
        same = picture.is_sound and picture.measures.sha256 == decision.sha256
        return (decisions, decision) if same else None
    return None


def _folders(path: Path) -> Iterable[Path]:
    return path.absolute().parents[: LEVELS_ABOVE + 1]

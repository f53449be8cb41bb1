"""What the faces on a picture say of it: how many, and whether they are the references' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maquette.curating.records import Look, Weight
from maquette.encoders import cosine
from maquette.encoders.faces import BAND, SAME_FACE, Faces, FaceStore


def judge_faces(
    looks: Sequence[Look],
    store: FaceStore,
    references: Sequence[Faces],
    *,
    mode: str,
    expected: bool,
) -> list[str]:
    """Add to each open look what its faces say; return sentences about the references.

    expected: whether a picture of the subject shows a face (a person); a cartoon's back view has none, and its
    front view may not be recognised as one.
    """
    rows = [faces.features_FD for faces in references if len(faces.features_FD)]
    known = np.concatenate(rows) if rows else np.zeros((0, 1), np.float16)
    for look in looks:
        if not look.is_open or look.sha256 not in store:
            continue
        faces = store[look.sha256]
        look.faces = faces.count
        if faces.count > 1:
            look.add(
                "face", "review", f"{faces.count} faces: somebody else in it?", value=faces.count, limit=1
            )
        if faces.count == 0:
            text = "no face found: a back view, or too small?"
            look.add("face", "review" if expected else "note", text, value=0, limit=1)
        elif mode == "match" and len(known):
            _match(look, faces, known)
    if mode == "match" and not len(known):
        return ["No face was found on any reference: faces were counted, not compared."]
    return []


def _match(look: Look, faces: Faces, known: NDArray[Any]) -> None:
    look.face_similarity = float(cosine(faces.features_FD, known).max())
    if look.face_similarity < SAME_FACE:
        weight: Weight = "review" if look.face_similarity >= SAME_FACE - BAND else "reject"
        text = f"face {look.face_similarity:.2f} below {SAME_FACE:.2f}: another person"
        look.add("face", weight, text, value=look.face_similarity, limit=SAME_FACE)

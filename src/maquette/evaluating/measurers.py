"""Who measures an evaluation's pictures: what can be measured here, and what cannot and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.opening import picture_rgb
from maquette.encoders import Encoder
from maquette.measuring.copying import CopyingMeasurer
from maquette.measuring.drift import DriftMeasurer
from maquette.measuring.embedder import Embedder
from maquette.measuring.identity import IdentityMeasurer
from maquette.measuring.looks import FirstLook
from maquette.measuring.protocol import Measurer
from maquette.measuring.references import References
from maquette.measuring.technical import TechnicalMeasurer
from maquette.measuring.variety import VarietyMeasurer

_SOUND = 64
"""Pictures of the subject that say what a sound one is, at most."""


@dataclass(frozen=True, kw_only=True)
class Measuring:
    """The measurers of one evaluation, and what its reader must know of them."""

    measurers: tuple[Measurer, ...]
    notes: tuple[str, ...] = ()
    copying: CopyingMeasurer | None = None


def measuring_of(
    look: FirstLook, references: References | None, training: Sequence[Path], *, encoder: str = ""
) -> Measuring:
    """Return who measures `look`. `encoder` names one; else it is the one that suits the references."""
    notes = (
        list(references.notes)
        if references
        else ["No pictures say who the subject is: name some with --references."]
    )
    measurers: list[Measurer] = []
    sees, seen = _encoder(encoder, references)
    notes += seen
    if references is not None and sees is not None and sees.name == "world":
        measurers.append(_world(references))
        notes = []  # the judge reads features off a drawing; it compares with no picture
    else:
        sound = (
            references.pictures if references is not None else [path for path in training if path.is_file()]
        )
        measurers.append(TechnicalMeasurer([picture_rgb(path) for path in sound[:_SOUND]]))
    if sees is not None and references is not None:
        embedder = Embedder(sees)
        seeds = len({entry.seed for entry in look.looks})
        rows = embedder.of_files(references.pictures)
        if sees.name != "world":
            measurers.append(IdentityMeasurer(embedder, rows))
        measurers += [VarietyMeasurer(embedder, rows, seeds), DriftMeasurer(embedder, look)]
    there = [path for path in training if path.is_file()]
    copying = CopyingMeasurer(there) if there else None
    if copying is not None:
        measurers.append(copying)
    return Measuring(measurers=tuple(measurers), notes=tuple(notes), copying=copying)


def _encoder(name: str, references: References | None) -> tuple[Encoder | None, list[str]]:
    """Return the encoder that was named, or the one that suits the references as far as it is here; and what to know of it.

    Raises ModelError for a named one that is not to be had.
    """
    from maquette.encoders import load_encoder
    from maquette.encoders.choosing import DRAWINGS, encoder_for

    if name or references is None:
        return (load_encoder(name) if name else None), []
    suits, why = encoder_for(references.pictures)
    if suits == DRAWINGS and not _is_here(suits):
        return None, [_NOBODY_LOOKED]
    sees = load_encoder(suits)
    if sees.name == "world":
        return sees, []
    said = f"{sees.name} compared the pictures with the references, since {why}. It cannot tell: {sees.blind_to}."
    return sees, [said]


_NOBODY_LOOKED = (
    "Identity and variety were not measured: the references are drawings, and no encoder for drawings is on this machine. "
    "Name one: --encoder clip, dinov2 or ccip (fetched once)."
)


def _is_here(name: str) -> bool:
    from maquette.encoders.transformers_vision import is_here

    return is_here(name)


def _world(references: References) -> Measurer:
    from maquette.measuring.world import WorldMeasurer, character_of
    from maquette.world.pack import load_judge

    judge = load_judge()
    return WorldMeasurer(judge, character_of(judge, references.pictures))

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
    sees = _encoder(encoder, references)
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
        measurers += [
            VarietyMeasurer(embedder, embedder.of_files(references.pictures), seeds),
            DriftMeasurer(embedder, look),
        ]
    there = [path for path in training if path.is_file()]
    copying = CopyingMeasurer(there) if there else None
    if copying is not None:
        measurers.append(copying)
    return Measuring(measurers=tuple(measurers), notes=tuple(notes), copying=copying)


def _encoder(name: str, references: References | None) -> Encoder | None:
    from maquette.encoders import load_encoder
    from maquette.encoders.world import shows_the_small_world

    if name:
        return load_encoder(name)
    if references is not None and shows_the_small_world(references.pictures):
        return load_encoder("world")
    return None


def _world(references: References) -> Measurer:
    from maquette.measuring.world import WorldMeasurer, character_of
    from maquette.world.pack import load_judge

    judge = load_judge()
    return WorldMeasurer(judge, character_of(judge, references.pictures))

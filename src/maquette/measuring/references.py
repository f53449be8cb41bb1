"""Which pictures say who or what a LoRA should draw, and how much they can be believed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maquette.curating.listing import list_references
from maquette.curating.references import FOLDER, references_in
from maquette.files import sha256_file
from maquette.project.profile import Profile

ENOUGH = 5
"""References from which means of likeness are worth their interval."""
Origin = Literal["named", "project", "profile", "held out", "training"]


@dataclass(frozen=True, kw_only=True)
class References:
    """Pictures of the subject. Those that were trained on reward a LoRA that copies them: `notes` say so."""

    pictures: tuple[Path, ...]
    origin: Origin
    notes: tuple[str, ...] = ()

    @property
    def were_trained_on(self) -> bool:
        """Whether the LoRA saw these very pictures."""
        return self.origin == "training"


def references_of(
    *,
    named: Sequence[Path] = (),
    project: Path | None = None,
    profile: Profile | None = None,
    held_out: Sequence[Path] = (),
    training: Sequence[Path] = (),
    trained_sha256: Collection[str] = (),
) -> References | None:
    """Return the references: those that were named, the project's folder, the profile's, what a run held out, else the
    training pictures; None where there is no picture at all. Raises DatasetError for named places without pictures.

    A picture whose content was also trained on is no reference: it is left out, and said.
    """
    places: tuple[tuple[Origin, Sequence[Path]], ...] = (
        ("named", named),
        ("project", (project / FOLDER,) if project and references_in(project) else ()),
        ("profile", profile.references if profile else ()),
    )
    for origin, given in places:
        if not given:
            continue
        found = list_references(given)
        kept = tuple(path for path in found if sha256_file(path) not in trained_sha256)
        notes = _overlap(len(found) - len(kept), len(found))
        if kept:
            return References(pictures=kept, origin=origin, notes=(*notes, *_few(kept)))
    if held_out:
        pictures = tuple(held_out)
        return References(pictures=pictures, origin="held out", notes=_few(pictures))
    if training:
        return References(pictures=tuple(training), origin="training", notes=(_TRAINED_ON,))
    return None


_TRAINED_ON = (
    "There are no references but the training pictures: likeness to them rewards a LoRA that copies them. Hold some back, or put "
    "five or more others into references/ of the project, and train again."
)


def _few(pictures: Sequence[Path]) -> tuple[str, ...]:
    if len(pictures) >= ENOUGH:
        return ()
    number = "1 reference" if len(pictures) == 1 else f"{len(pictures)} references"
    return (
        f"{number} only: likeness to so few says as much of them as of the LoRA. {ENOUGH} or more are better.",
    )


def _overlap(lost: int, all_of_them: int) -> tuple[str, ...]:
    if not lost:
        return ()
    return (f"{lost} of {all_of_them} references were trained on and do not count.",)

"""The subject's name as far as anybody says it: trigger and class word, and where they come from.

A profile says much more of a subject. Rules about the trigger need no more than this, and it is known without a profile
too: from the settings, from a flag, or from what folders and captions show (`dataset/subject_guess.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maquette.project.profile import Kind, Profile
from maquette.project.request import TrainingRequest

Origin = Literal["profile", "settings", "flag", "guess"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Which words mean the subject."""

    triggers: tuple[str, ...]
    """Its own first, then those of its forms; never empty."""
    class_word: str = ""
    kind: Kind | None = None
    """None where nobody says."""
    style: tuple[str, ...] = ()
    """Words that may stand before the trigger of a style."""
    has_forms: bool = False
    """Whether its captions have several triggers to choose from."""
    origin: Origin
    source: Path | None = None
    """The file that says so; None for a flag and for a guess."""
    place: str = "trigger"
    """Where in it."""
    evidence: str = ""
    """What a guess rests on, as the end of a sentence: `the first word of 6 of 8 captions`."""

    @property
    def trigger(self) -> str:
        return self.triggers[0]

    @property
    def is_guess(self) -> bool:
        return self.origin == "guess"


def subject_said(
    profile: Profile | None = None, request: TrainingRequest | None = None, flag: str | None = None
) -> Subject | None:
    """Return the subject as flag, profile or settings name it, the first that does; None where none does."""
    if flag:
        class_word = profile.class_word if profile is not None else ""
        return Subject(triggers=(flag,), class_word=class_word, origin="flag", place="--trigger")
    if profile is not None and profile.triggers:
        return Subject(
            triggers=profile.triggers,
            class_word=profile.class_word,
            kind=profile.kind,
            style=profile.style,
            has_forms=bool(profile.forms),
            origin="profile",
            source=profile.source,
        )
    if request is not None and request.trigger:
        return Subject(
            triggers=(request.trigger,),
            class_word=request.class_word or "",
            kind=profile.kind if profile is not None else None,
            style=profile.style if profile is not None else (),
            origin="settings",
            source=request.file,
            place=request.said("trigger"),
        )
    return None

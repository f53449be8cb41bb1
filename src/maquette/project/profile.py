"""The subject's profile: who or what the LoRA learns, as `profile.toml` writes it down.

Captioning leaves out what `appearance` names, so that the trigger carries it; rules and curation read the same record.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["character", "person", "object", "style"]
Side = Literal["left", "right"]
View = Literal["front", "three quarter", "side", "back"]

PROFILE_NAME = "profile.toml"
KINDS: tuple[Kind, ...] = ("character", "person", "object", "style")
SIDES: tuple[Side, ...] = ("left", "right")
VIEWS: tuple[View, ...] = ("front", "three quarter", "side", "back")
"""From where a picture shows its subject."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """Something that the subject has on one side only. Sides are the subject's own, as it would say them."""

    name: str
    """As captions write it: `red fingerless glove`."""
    side: Side
    part: str = ""
    """What it sits on: arm, knee, ear."""
    views: tuple[str, ...] = ()
    """Views in which it shows: front, three quarter, side, back. Empty: all."""

    @property
    def phrase(self) -> str:
        """Return it as a caption says it: `right arm red fingerless glove`."""
        return " ".join(word for word in (self.side, self.part, self.name) if word)


@dataclass(frozen=True, kw_only=True)
class Form:
    """Another shape of the same subject with its own trigger: a sea monster on land, a hero out of costume.

    A caption with a form's trigger is about that form: its appearance is the subject's and the form's together, its
    details are the form's alone.
    """

    name: str
    trigger: str
    appearance: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is known of the subject."""

    kind: Kind
    trigger: str
    class_word: str = ""
    """The ordinary word for it: man, dog, anime character."""
    appearance: tuple[str, ...] = ()
    """What always belongs to it and the trigger should carry: `ginger hair`, `green eyes`."""
    details: tuple[Detail, ...] = ()
    references: tuple[Path, ...] = ()
    """Pictures (or folders of them) that show who it is; absolute."""
    palette: tuple[str, ...] = ()
    """Its colours as `#rrggbb`, lower case; empty: unknown."""
    varies: tuple[str, ...] = ()
    """What changes from picture to picture and captions should say: pose, expression, outfit, background."""
    style: tuple[str, ...] = ()
    """Words that every caption of a style begins with: `pixel art`, `24x24`."""
    forms: tuple[Form, ...] = ()
    source: Path | None = None
    """The file it was read from."""
    notes: tuple[str, ...] = ()
    """What of another program's character file was not understood, or understood as something: whole sentences."""

    @property
    def is_asymmetric(self) -> bool:
        return bool(self.details) or any(form.details for form in self.forms)

    @property
    def has_face(self) -> bool:
        """Whether its pictures are expected to show a face."""
        return self.kind in ("character", "person")

    @property
    def opening(self) -> str:
        """What prompts begin with: the trigger; for a style without one, its words."""
        return self.trigger or ", ".join(self.style)

    @property
    def triggers(self) -> tuple[str, ...]:
        """Its own trigger and those of its forms."""
        return tuple(word for word in (self.trigger, *(form.trigger for form in self.forms)) if word)

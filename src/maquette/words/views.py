"""From where and how close a caption says its picture is taken, in the words of prose and of booru tags."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from maquette.project.profile import VIEWS, Detail, View
from maquette.words.text import REMEMBERED, parts_of, plain, stem, word_set

Framing = Literal["close-up", "portrait", "upper body", "cowboy shot", "full body", "other part"]
FRAMINGS: tuple[Framing, ...] = (
    "close-up",
    "portrait",
    "upper body",
    "cowboy shot",
    "full body",
    "other part",
)
"""How much of the subject a picture holds: the face, head and shoulders, to the waist, to the thighs, all of it; or
one part close by that is not the face."""

SEVERAL_VIEWS = re.compile(
    r"\b(multiple (views|angles)|(character|reference|model) sheet|turn ?around|split (screen|view)|collage|from multiple)\b"
)
LESS_THAN_A_VIEW = re.compile(
    r"\b(three|3/4|3 4) ?(quarters?)? (back|rear)( view)?\b|\b(back|rear) (three quarters?|3/4)\b|rear view mirror|"
    r"profile picture|\b(mirror|reflection)\b|\bfrom behind (an?|the|his|her|its|their)\b|"
    r"\b(light(ing)?|lit|glow(ing)?|illuminated|emerging|peeking|peering|appearing|coming|attack(ed|ing)?|hug(ged|ging)?|"
    r"grabbed) from (the )?(behind|back|side|front)\b"
)
"""Between two views, or about something else: says nothing sure."""

VIEW_PATTERNS: dict[View, re.Pattern[str]] = {
    "three quarter": re.compile(
        r"\b(three quarters?|3/4|3 4|3quarter)( front)?( (view|angle|profile|pose|shot|turn))?\b|\bquarter (view|angle)\b"
    ),
    "back": re.compile(
        r"\b((back|rear|backside) (view|angle|shot)|(view |seen |shot |viewed )?from (the )?(back|behind|rear)|"
        r"facing away|turned away from (the )?(viewer|camera)|back (turned )?to (the )?(viewer|camera)|back turned)\b|"
        r"^back$"
    ),
    "side": re.compile(
        r"\b(side ?(view|profile|angle|shot)|(seen |shot |viewed |view )?from (the |one |his |her )?(left |right )?side|"
        r"in profile|(left|right|side|face) profile|profile (view|shot)|(left|right) side view|facing sideways)\b|"
        r"^(profile|side)$"
    ),
    "front": re.compile(
        r"\b(front(al)? ?(view|angle|shot)|(view |seen |shot |viewed )?from (the )?front|"
        r"facing (the )?(viewer|camera|front)|front facing|en face)\b|^(front(al)?|straight on)$"
    ),
}

CLOSE = re.compile(r"\b(extreme )?(close ?up|closeup|macro shot|face focus|face only)\b")
OF_THE_HEAD = re.compile(r"\b(face|head|facial|eyes?|portrait|mouth|smile|expression|neck|ears?|hair)\b")
OF_ANOTHER_PART = re.compile(
    r"\b(hands?|arms?|feet|foot|legs?|boots?|shoes?|knees?|gloves?|fingers?|back|chest|belt|sword|weapon|clothing|torso|paws?)\b"
)
FRAMING_PATTERNS: dict[Framing, re.Pattern[str]] = {
    "portrait": re.compile(
        r"\b(portrait(?! (orientation|format|mode|on|hanging))|head ?shot|bust( shot)?|head and shoulders|shoulders up)\b"
    ),
    "upper body": re.compile(
        r"\b(upper ?body|half body|waist up|medium shot|mid shot|chest up|torso shot|half length)\b"
    ),
    "cowboy shot": re.compile(
        r"\b(cowboy shot|knees? up|thighs? up|american shot|three quarter length|medium full shot)\b"
    ),
    "full body": re.compile(
        r"\b(full ?body|whole body|full length|full shot|full figure|head to toe|entire body|wide shot|long shot|far shot)\b"
    ),
}

HEAD_PARTS = word_set("ear eye eyebrow brow cheek temple horn hair face forehead head lip jaw chin")
UPPER_PARTS = word_set("arm forearm hand wrist elbow shoulder chest wing sleeve breast neck finger")
LOWER_PARTS = word_set("hip waist thigh")
FEET_PARTS = word_set("knee shin calf leg ankle foot boot shoe")
SHOWN_PARTS: dict[Framing, frozenset[str]] = {
    "close-up": HEAD_PARTS,
    "portrait": HEAD_PARTS | {"shoulder", "neck"},
    "upper body": HEAD_PARTS | UPPER_PARTS,
    "cowboy shot": HEAD_PARTS | UPPER_PARTS | LOWER_PARTS,
    "full body": HEAD_PARTS | UPPER_PARTS | LOWER_PARTS | FEET_PARTS,
}
ALL_PARTS = SHOWN_PARTS["full body"]


def views_named(caption: str | Sequence[str]) -> tuple[View, ...]:
    """Return every view that a caption names, each once, in the order front, three quarter, side, back."""
    text = [plain(part) for part in parts_of(caption)]
    if any(SEVERAL_VIEWS.search(part) for part in text):
        return ()
    found = {view for part in text for view in _views_of_part(part)}
    return tuple(view for view in VIEWS if view in found)


def view_of(caption: str | Sequence[str]) -> View | None:
    """Return the view that a caption names; None when it names none or several."""
    found = views_named(caption)
    return found[0] if len(found) == 1 else None


def framings_named(caption: str | Sequence[str]) -> tuple[Framing, ...]:
    """Return every framing that a caption names, from the closest on."""
    found = {framing for part in parts_of(caption) for framing in _framings_of_part(plain(part))}
    return tuple(framing for framing in FRAMINGS if framing in found)


def framing_of(caption: str | Sequence[str]) -> Framing | None:
    """Return how much of the subject a caption says its picture holds; None when it does not say.

    Of several the closest counts: a `portrait, upper body` surely shows no knees.
    """
    found = framings_named(caption)
    return found[0] if found else None


def part_of(detail: Detail) -> str:
    """Return the part of the body that a detail sits on, in one plain word; empty when it does not say."""
    words = [stem(word) for word in plain(f"{detail.name} {detail.part}").split()]
    return next((word for word in reversed(words) if word in ALL_PARTS), "")


def shows(detail: Detail, view: str | None, framing: Framing | None) -> bool | None:
    """Say whether a picture of this view and framing shows `detail`; None when that cannot be known."""
    if view is not None and detail.views and view not in detail.views:
        return False
    part = part_of(detail)
    if framing is None or framing == "other part":
        return None
    if part and part not in SHOWN_PARTS[framing]:
        return False
    if not part and framing != "full body":
        return None
    return True if view is not None or not detail.views else None


@lru_cache(maxsize=REMEMBERED)
def _views_of_part(part: str) -> tuple[View, ...]:
    if LESS_THAN_A_VIEW.search(part):
        return ()
    found = tuple(view for view, pattern in VIEW_PATTERNS.items() if pattern.search(part))
    # `three quarter front view` and `three quarter profile` are one view.
    return found[:1] if "three quarter" in found else found


@lru_cache(maxsize=REMEMBERED)
def _framings_of_part(part: str) -> tuple[Framing, ...]:
    if CLOSE.search(part):
        another = OF_ANOTHER_PART.search(part) and not OF_THE_HEAD.search(part)
        return ("other part",) if another else ("close-up",)
    return tuple(framing for framing, pattern in FRAMING_PATTERNS.items() if pattern.search(part))

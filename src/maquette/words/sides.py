"""Left and right in captions, held against the profile: wrong sides, details where they cannot be seen, faces from behind.

Sides in a profile and in captions are the subject's own. What is ambiguous is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from maquette.project.profile import Detail, Profile, Side
from maquette.words.appearance import adjectives_of, details_of, head_of
from maquette.words.text import REMEMBERED_CAPTIONS, alike, colours_in, plain, stem, words_of
from maquette.words.views import ALL_PARTS, Framing, framing_of, part_of, shows, view_of

MistakeKind = Literal["wrong side", "no side", "not in view", "missing", "face from behind"]

NOT_A_SIDE = re.compile(
    r"\b(facing|looking|looks|turned|turning|pointing|walking|running|moving|leaning|heading|glancing|gazing|aiming|tilted|"
    r"gaze|seen|view|shot|viewed|lit|light|lighting|shadow)( \w+ly)?( (slightly|to|toward|towards|from|on|at|the|his|her|its))* "
    r"(left|right)\b|"
    r"\b(viewer|camera|picture|image|screen|frame|stage)('s|s)? (left|right)\b|"
    r"\b(left|right) (side )?of (the |this )?(picture|image|frame|screen|shot|composition|viewer|camera)\b|"
    r"\b(on|at|to|in) the (far )?(left|right)( corner| edge)?$|"
    r"\b(left|right) (view|profile|angle|edge|corner|background|foreground)\b|"
    r"\bright (now|behind|above|below|next|at|in|up|there|before|after)\b|\bright angle\b|"
    r"\b(left|right) side (view|profile)\b|\bfrom (the )?(left|right)( side)?\b|\bleft (alone|behind|over)\b",
    re.IGNORECASE,
)
"""`left` and `right` that say where in the picture, where to, or no side at all."""
CLAUSE_END = re.compile(
    r"[,;.\n]|\b(?:and|while|with|wearing|holding|but|plus|also|his other|her other|the other)\b",
    re.IGNORECASE,
)
SIDE = re.compile(r"(?<![-\w])(left|right)(?:-hand(?:ed)?)?\b", re.IGNORECASE)

FACE = re.compile(
    r"\b((\w+ ){0,2}expression|face|smil(e|es|ing)|smirk(s|ing)?|grin(s|ning)?|frown(s|ing)?|scowl(s|ing)?|"
    r"(open|closed) mouth|mouth|teeth|lips|nose|eyebrows?|(looking|staring|gazing) at (the )?(viewer|camera)|"
    r"(\w+ )?eyes?|wink(s|ing)?|tears|crying|blush(ing)?|freckles)\b"
)
FACE_IS_TURNED = re.compile(
    r"\b(look(s|ing)? (back|over|behind|to the side)|over (the |his |her |their )?(left |right )?shoulder|head turned|"
    r"turning (his |her )?head|mirror|reflection|glanc(es|ing) back|face in profile|from behind (a|the) \w+)\b"
)
NOT_A_FACE = re.compile(
    r"\b(no face|face (not visible|hidden|unseen|away)|facing|clock face|faceless|eyes? ?patch|without (a )?face)\b"
)


@dataclass(frozen=True)
class SideMistake:
    """One thing that a caption says about sides or views that the profile contradicts."""

    kind: MistakeKind
    found: str
    """The caption's words; for `missing`, the view as the caption names it."""
    start: int
    """First character in the caption; 0 for `missing`."""
    detail: Detail | None = None
    """None for `face from behind`."""
    said: Side | None = None
    """The side the caption gives, for `wrong side`."""


@dataclass(frozen=True)
class Mention:
    """A place in a caption that names an asymmetric detail."""

    detail: Detail
    side: Side | None
    """None when no side is said, or which one is unclear."""
    is_unclear: bool
    """Sides are said, but not surely of this detail."""
    text: str
    start: int


def asymmetric_phrases(
    profile: Profile, view: str | None, framing: Framing | None = None, caption: str = ""
) -> tuple[str, ...]:
    """Return what a caption of this view should say of the asymmetric details: those that can be seen, with their side.

    A framing that is not known counts as full body; a view that is not known gives the details that show in every view.
    `caption` tells which of the subject's forms it is about.
    """
    chosen = framing or "full body"
    return tuple(each.phrase for each in details_of(caption, profile) if shows(each, view, chosen) is True)


def side_mistakes(caption: str, profile: Profile) -> list[SideMistake]:
    """Return what a caption says of sides against the profile, in the order of the text, missing details last."""
    return list(_side_mistakes(caption, profile))


@lru_cache(maxsize=REMEMBERED_CAPTIONS)
def _side_mistakes(caption: str, profile: Profile) -> tuple[SideMistake, ...]:
    """Kept, since four rules ask the same of every caption."""
    found = mentions(caption, profile)
    view, framing = view_of(caption), framing_of(caption)
    mistakes = [mistake for mention in found for mistake in _judge(mention, view, framing)]
    if profile.kind in ("character", "person"):
        mistakes += face_from_behind(caption)
    mistakes.sort(key=lambda each: each.start)
    named = {mention.detail for mention in found}
    missing = [
        SideMistake("missing", view, 0, detail)
        for detail in details_of(caption, profile)
        if view is not None and detail not in named and shows(detail, view, framing) is True
    ]
    return (*mistakes, *missing)


def mentions(caption: str, profile: Profile) -> list[Mention]:
    """Return where a caption names the subject's asymmetric details, with the side it gives them."""
    return list(_mentions_in(caption, profile))


@lru_cache(maxsize=REMEMBERED_CAPTIONS)
def _mentions_in(caption: str, profile: Profile) -> tuple[Mention, ...]:
    """Kept, since more than one rule asks the same of every caption."""
    details = details_of(caption, profile)
    if not details:
        return ()
    found: list[Mention] = []
    for text, start in _clauses(caption):
        named = [(detail, word) for detail, word in _named(text, start, details)]
        sides = _sides(text)
        for detail, (first, last) in named:
            side = (
                sides[0] if len(set(sides)) == 1 and len(named) == 1 else _nearest(text, first, start, sides)
            )
            found.append(
                Mention(
                    detail, side, side is None and SIDE.search(text) is not None, caption[first:last], first
                )
            )
    return tuple(found)


def face_from_behind(caption: str) -> list[SideMistake]:
    """Return where the caption of a back view describes a face, which cannot be seen from there."""
    if view_of(caption) != "back" or FACE_IS_TURNED.search(plain(caption)):
        return []
    found = []
    for text, start in _clauses(caption):
        match = FACE.search(text.lower())
        if match and not NOT_A_FACE.search(plain(text)):
            place = start + match.start()
            found.append(SideMistake("face from behind", match[0].strip(), place))
    return found


def _judge(mention: Mention, view: str | None, framing: Framing | None) -> Iterator[SideMistake]:
    detail = mention.detail
    if mention.side is not None and mention.side != detail.side:
        yield SideMistake("wrong side", mention.text, mention.start, detail, mention.side)
    elif mention.side is None and not mention.is_unclear:
        yield SideMistake("no side", mention.text, mention.start, detail)
    if shows(detail, view, framing) is False:
        yield SideMistake("not in view", mention.text, mention.start, detail)


def _clauses(caption: str) -> Iterator[tuple[str, int]]:
    """Yield pieces that say one thing each: between commas, `and`, `with`, `wearing`."""
    start = 0
    for match in CLAUSE_END.finditer(caption):
        yield caption[start : match.start()], start
        start = match.end()
    yield caption[start:], start


def _named(text: str, start: int, details: tuple[Detail, ...]) -> Iterator[tuple[Detail, tuple[int, int]]]:
    """Yield each detail that a clause names, with the place of its words in the caption."""
    words = words_of(text, start)
    heads = [(detail, head_of(detail.name)) for detail in details]
    for index, word in enumerate(words):
        fitting = [detail for detail, head in heads if alike(word.stem, head)]
        if not fitting:
            continue
        stems = [each.stem for each in words[max(0, index - 4) : index]]
        chosen = _which(fitting, stems)
        if chosen is not None and not _on_another_part(chosen, [each.stem for each in words]):
            adjectives = adjectives_of(chosen.name)
            first = index
            while first > 0 and any(alike(words[first - 1].stem, each) for each in adjectives):
                first -= 1
            yield chosen, (words[first].start, word.end)


def _which(details: list[Detail], before: list[str]) -> Detail | None:
    """Return the one detail that the adjectives fit best; None when another colour is said, or two fit alike."""
    scores = []
    for detail in details:
        adjectives = adjectives_of(detail.name)
        ours, theirs = colours_in(adjectives), colours_in(before[-3:])
        if ours and theirs and not any(alike(a, b) for a in ours for b in theirs):
            continue
        scores.append((sum(any(alike(a, b) for b in before) for a in adjectives), detail))
    scores.sort(key=lambda pair: -pair[0])
    if not scores or (len(scores) > 1 and scores[0][0] == scores[1][0]):
        return None
    return scores[0][1]


def _on_another_part(detail: Detail, stems: list[str]) -> bool:
    """`left shoulder pauldron` says nothing about a knee's pauldron."""
    ours = part_of(detail)
    theirs = [word for word in stems if word in ALL_PARTS and word != head_of(detail.name)]
    return bool(ours and theirs) and not any(_limb(ours) == _limb(word) for word in theirs)


LIMBS = {
    **dict.fromkeys(("arm", "forearm", "hand", "wrist", "elbow", "sleeve", "finger"), "arm"),
    **dict.fromkeys(("leg", "knee", "thigh", "shin", "calf", "ankle", "foot", "boot", "shoe"), "leg"),
    **dict.fromkeys(("eye", "eyebrow", "brow", "cheek", "face", "temple", "forehead", "lip", "head"), "face"),
}


def _limb(part: str) -> str:
    return LIMBS.get(stem(part), part)


def _masked(text: str) -> str:
    return NOT_A_SIDE.sub(lambda match: " " * len(match[0]), text)


def _sides(text: str) -> list[Side]:
    return ["left" if side.lower() == "left" else "right" for side in SIDE.findall(_masked(text))]


def _nearest(text: str, place: int, start: int, sides: list[Side]) -> Side | None:
    """Return the last side said before a detail when only one detail and side pair up so; otherwise it is unclear."""
    before = _sides(text[: place - start])
    return before[-1] if before and len(set(sides)) > 1 and len(before) == 1 else None

"""From what a source said to the caption under a strategy: appearance out, details in, everything in its order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from maquette.captioning.strategies import Strategy
from maquette.project.profile import Detail, Profile
from maquette.words.phrases import VARYING, Slot, looks_slot, slot_of, split_parts, unique_parts
from maquette.words.reading import (
    appearance_in,
    appearance_of,
    asymmetric_phrases,
    details_of,
    form_of,
    framing_of,
    has_word,
    mentions,
    shows,
    view_of,
)
from maquette.words.text import plain, same_part, without_word

LEAD = re.compile(
    r"(?:^|\s)(?:(?:and|with|wearing|has|having|in|of|plus)\s+)*(?:(?:a|an|the|his|her|its|their)\s+)?$",
    re.IGNORECASE,
)
DANGLING = re.compile(
    r"^(?:and|with|wearing|has|having|is|are|of|plus|,)\s+|\s+(?:and|with|wearing|has|having|is|are|of|plus)$"
)
LINKING = frozenset(["a", "an", "the", "his", "her", "its", "on", "at", "over", "of", "with", "wearing"])
FACE_WORDS = re.compile(
    r"\b(eyes?|face|mouth|lips?|nose|brows?|eyebrows?|beard|moustache|freckles?|cheeks?|scar)\b"
)


def arrange(
    said: str, strategy: Strategy, profile: Profile, *, about: str = "", fill_in: bool = False
) -> str:
    """Return the caption that `strategy` makes of a source's words.

    `about` is the picture's present caption, which may name the form of a subject that has several. `fill_in` adds
    the profile's appearance where everything is to be described and no source has looked at the picture.
    The result is a fixed point: arranged again, it stays as it is.
    """
    text = _without_appearance(said, profile) if strategy.hides_appearance else said
    form = form_of(f"{said}, {about}", profile)
    trigger = form.trigger if form else profile.trigger
    parts = list(_own_parts(split_parts(text), profile, strategy))
    placed: list[tuple[Slot, str]] = [(_slot(part, strategy), part) for part in parts]
    varying = _varying(profile)
    placed = [(slot, part) for slot, part in placed if slot not in strategy.leaves_out - varying]
    if fill_in and strategy.name == "detailed":
        placed += [(_slot(phrase, strategy), phrase) for phrase in _missing_looks(parts, trigger, profile)]
    placed += [("detail", phrase) for phrase in _details(said, trigger, profile)]
    placed += [("style", word) for word in profile.style] if strategy.name == "style" else []
    if "class" in strategy.order and profile.class_word and "class" not in strategy.leaves_out:
        placed.append(("class", profile.class_word))
    if trigger and not (strategy.name == "style" and has_word(", ".join((*parts, *profile.style)), trigger)):
        placed.append(("trigger", trigger))
    rank = {slot: place for place, slot in enumerate(strategy.order)}
    placed.sort(key=lambda pair: rank.get(pair[0], rank["other"]))
    return ", ".join(unique_parts(part for _, part in placed))


def subject_parts(caption: str, strategy: Strategy, profile: Profile) -> list[str]:
    """Return what a caption says besides trigger, class and style words, and asymmetric details."""
    parts = split_parts(caption)
    given = {same_part(word) for word in (*profile.triggers, profile.class_word, *profile.style)}
    details = {same_part(detail.phrase) for detail in _all_details(profile)}
    return [part for part in parts if same_part(part) not in given | details]


def _slot(part: str, strategy: Strategy) -> Slot:
    slot = slot_of(part)
    return slot if slot in strategy.order or slot in strategy.leaves_out else "other"


def _varying(profile: Profile) -> frozenset[Slot]:
    """Return the kinds of looks that the profile says change, so that captions name them."""
    said = {word for entry in profile.varies for word in plain(entry).split()}
    kinds: dict[Slot, frozenset[str]] = {"clothes": VARYING["clothes"], "looks": VARYING["looks"]}
    return frozenset(slot for slot, words in kinds.items() if said & words)


def _without_appearance(text: str, profile: Profile) -> str:
    """Return the text with the profile's appearance cut out, and the words that led up to it."""
    for _ in range(4):  # cutting may bring words together that name appearance again
        hits = appearance_in(text, profile)
        if not hits:
            break
        written = set(split_parts(text))
        for hit in reversed(hits):
            before = LEAD.sub("", text[: hit.start])
            text = f"{before} {text[hit.end :]}"
        parts = (part if part in written else _tidy(part) for part in split_parts(text))
        text = ", ".join(part for part in parts if part)
    return text


def _tidy(part: str) -> str:
    part = " ".join(part.split())
    while True:
        cut = DANGLING.sub("", part).strip()
        if cut == part or not cut:
            return "" if cut in ("and", "with", "wearing", "of", "is", "are") else cut
        part = cut


def _own_parts(parts: Sequence[str], profile: Profile, strategy: Strategy) -> Iterator[str]:
    """Yield the parts that are neither trigger nor class word, style word, or a mention of a detail."""
    fixed = [profile.class_word] if "class" in strategy.order or strategy.name == "character" else []
    fixed += list(profile.style) if strategy.name == "style" else []
    known = {same_part(word) for word in fixed if word}
    triggers = {same_part(word) for word in profile.triggers if word}
    for part in parts:
        if strategy.name == "style":
            if same_part(part) not in known:
                yield part
            continue
        bare = part
        for trigger in profile.triggers:
            bare = without_word(bare, trigger)
        bare = part if bare == part else _tidy(bare)
        if not bare or same_part(bare) in known | triggers:
            continue
        found = mentions(bare, profile)
        if found and (
            looks_slot(bare) is not None or any(_says_no_more(bare, each.detail) for each in found)
        ):
            continue
        yield bare


def _says_no_more(part: str, detail: Detail) -> bool:
    """Whether a part is the detail in other words: `red glove on right hand` for `right hand red glove`."""
    return set(plain(part).split()) <= {*plain(detail.phrase).split(), *LINKING}


def _details(said: str, trigger: str, profile: Profile) -> Iterator[str]:
    """Yield the asymmetric details that show: by the view, and those the text names that its view does not hide."""
    view, framing = view_of(said), framing_of(said)
    about = f"{trigger}, {said}"
    visible = set(asymmetric_phrases(profile, view, framing, about)) if view else set()
    named = {mention.detail.phrase for mention in mentions(about, profile)}
    for detail in details_of(about, profile):
        if detail.phrase in visible or (detail.phrase in named and shows(detail, view, framing) is not False):
            yield detail.phrase


def _missing_looks(parts: Iterable[str], trigger: str, profile: Profile) -> Iterator[str]:
    """Yield the appearance that the parts do not name; nothing of a face seen from behind."""
    text = ", ".join(parts)
    named = {hit.phrase for hit in appearance_in(text, profile)}
    from_behind = view_of(text) == "back"
    close = framing_of(text) in ("close-up", "portrait", "other part")
    for phrase in appearance_of(f"{trigger}, {text}", profile):
        worn_below = close and looks_slot(phrase) != "looks"
        if phrase not in named and not worn_below and not (from_behind and FACE_WORDS.search(plain(phrase))):
            yield phrase


def _all_details(profile: Profile) -> Iterator[Detail]:
    yield from profile.details
    for form in profile.forms:
        yield from form.details

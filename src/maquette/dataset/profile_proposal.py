"""A profile proposed from captions and pictures, for a person to correct: guesses are said, never hidden.

A kind from the class word and from words that all captions begin with; appearance from what most captions say; details
from `left` and `right`, with the views in which captions name them; a palette where the whole set has few colours.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from maquette.dataset.facts import CaptionFact
from maquette.dataset.measures import Measured, Measures
from maquette.project.profile import SIDES, VIEWS, Detail, Kind, Profile
from maquette.project.profile_import import detail_from_text
from maquette.words.appearance import head_of
from maquette.words.sides import NOT_A_SIDE
from maquette.words.text import (
    BODY_WORDS,
    STATES,
    has_word,
    parts_of,
    plain,
    same_part,
    stem,
    word_set,
)
from maquette.words.views import framings_named, view_of, views_named

STYLE_WORDS = re.compile(
    r"\b(art|style|painting|painted|drawing|sketch|illustration|render|watercolou?r|oil|ink|line ?art|comic|manga|pixel|"
    r"photo(graph|graphy)?|voxel|low poly|cel shaded|woodcut|engraving|poster|\d+ ?x ?\d+)\b"
)
PERSON_WORDS = word_set(
    "man woman boy girl person child lady guy actor actress model kid teenager teen baby human"
)
CHARACTER_WORDS = word_set(
    "character anime cartoon hero heroine creature monster robot elf fairy mascot 1boy 1girl fantasy toon chibi villain"
)
WORN = word_set(
    "cloak cape mantle bandana headband hat cap hood hoodie shirt tshirt top pant trouser jean short skirt dress coat jacket",
    "vest sweater jumper uniform kimono robe armor armour boot shoe sandal sock glove scarf tie belt mask helmet crown",
    "tiara glasse sunglasse goggle earring necklace collar bracelet ring watch backpack sword staff shield bow apron suit",
    "cardigan overall freckle scar tattoo beard moustache mustache horn wing tail fang mane stripe spot beak paw feather braid",
    "ponytail curl",
)
"""Stems of what somebody may always wear or have."""
OFTEN = 0.5
"""Share of captions from which a part counts as constant."""
NEARLY_ALL = 0.95
FEW_COLOURS = 32
"""Colours of a whole set up to which they are its palette."""
VARIES: dict[Kind, tuple[str, ...]] = {
    "character": ("pose", "view", "expression", "background"),
    "person": ("pose", "view", "expression", "outfit", "background"),
    "object": ("view", "background", "lighting"),
    "style": ("subject", "composition", "colours"),
}


def propose_profile(
    captions: Sequence[CaptionFact | str],
    *,
    trigger: str,
    class_word: str = "",
    pictures: Iterable[Measured] = (),
    kind: Kind | None = None,
) -> Profile:
    """Return a profile for a person to correct; its notes say what was guessed from what.

    kind: where a person says it. `pictures` are looked at one by one, up to the first with more colours than a palette.
    """
    texts = [each if isinstance(each, str) else each.text for each in captions]
    texts = [text for text in texts if text.strip()]
    parts = [[part for part in parts_of(text) if not _is_name(part, trigger, class_word)] for text in texts]
    leading = _leading(parts)
    guessed, why = _kind(class_word, leading)
    notes = [f"Kind '{guessed}': {why}. Correct it if that is wrong."] if kind is None else []
    kind = kind or guessed
    appearance: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()
    if kind != "style":
        appearance, said = _appearance(parts)
        details, disputed = _details(texts)
        notes += [*said, *disputed]
        if not appearance:
            source = "The captions name no looks" if texts else "There are no captions to tell the looks"
            notes.append(f"{source} that always belong to the subject: fill in `appearance` yourself.")
    palette = _palette(pictures)
    if palette:
        notes.append(f"All pictures together have {len(palette)} colours: `palette` lists them.")
    return Profile(
        kind=kind,
        trigger=trigger,
        class_word=class_word,
        appearance=appearance,
        details=details,
        palette=palette,
        varies=VARIES[kind],
        style=leading if kind == "style" else (),
        notes=tuple(notes),
    )


def _is_name(part: str, trigger: str, class_word: str) -> bool:
    """Say whether a part is the trigger or the class word and nothing else."""
    rest = (
        plain(part.lower().replace(trigger.lower(), " ", 1))
        if trigger and has_word(part, trigger)
        else plain(part)
    )
    return not rest or rest in (plain(class_word), f"a {plain(class_word)}")


def _leading(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the parts with which nearly all captions, three at least, begin: a style's words, if they are words of style."""
    if len(parts) < 3:
        return ()
    shared: list[str] = []
    for place in range(min(6, max((len(each) for each in parts), default=0))):
        counts = Counter(same_part(each[place]) for each in parts if len(each) > place)
        if not counts:
            break
        part, count = counts.most_common(1)[0]
        if count < NEARLY_ALL * len(parts) or views_named([part]) or framings_named([part]):
            break
        shared.append(
            next(each[place] for each in parts if len(each) > place and same_part(each[place]) == part)
        )
    return tuple(shared) if any(STYLE_WORDS.search(plain(part)) for part in shared) else ()


def _kind(class_word: str, leading: tuple[str, ...]) -> tuple[Kind, str]:
    words = {stem(word) for word in plain(class_word).split()}
    if leading and not words & (PERSON_WORDS | CHARACTER_WORDS):
        return "style", f"nearly all captions begin with '{', '.join(leading)}'"
    if "style" in words:
        return "style", f"the class word is '{class_word}'"
    if words & CHARACTER_WORDS:
        return "character", f"the class word is '{class_word}'"
    if words & PERSON_WORDS:
        return "person", f"the class word is '{class_word}'"
    if words:
        return "object", f"the class word '{class_word}' is neither a person nor a character"
    return "character", "nothing says otherwise"


def _appearance(parts: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], list[str]]:
    """Return what at least half of the captions say of looks, and a note about what follows from it."""
    counts = Counter(part for each in parts for part in dict.fromkeys(same_part(piece) for piece in each))
    often = [
        part
        for part, count in counts.most_common()
        if count >= max(2, OFTEN * len(parts)) and _is_looks(part)
    ]
    if not often:
        return (), []
    note = (
        "`appearance` lists what at least half of the captions say of looks. The trigger should carry it: take these words "
        "out of the captions, or the trigger alone will draw a stranger."
    )
    return tuple(often), [note]


def _is_looks(part: str) -> bool:
    """Say whether a part describes hair, eyes, clothes: a noun of these with an adjective, without a side or an action."""
    words = [stem(word) for word in part.split()]
    head = head_of(part)
    if not words or len(words) > 6 or set(words) & {*SIDES, "background"} or set(words) & STATES:
        return False
    if views_named([part]) or framings_named([part]):
        return False
    return (head in WORN) or (head in BODY_WORDS and len(words) > 1)


@dataclass
class _Seen:
    """What captions say of one thing with a side."""

    detail: Detail
    sides: Counter[str]
    views: set[str]


def _details(texts: Iterable[str]) -> tuple[tuple[Detail, ...], list[str]]:
    """Return what captions place on one side, with the views they name it in, and notes about sides that disagree."""
    seen: dict[tuple[str, str], _Seen] = {}
    mentions: dict[tuple[str, str], int] = defaultdict(int)
    for text in texts:
        view = view_of(text)
        for part in parts_of(text):
            detail = None if NOT_A_SIDE.search(part) or views_named([part]) else detail_from_text(part)
            if detail is None or not _is_thing(detail):
                continue
            key = (detail.part, same_part(detail.name))
            entry = seen.setdefault(key, _Seen(detail, Counter(), set()))
            entry.sides[detail.side] += 1
            entry.views |= {view} if view else set()
            mentions[key] += 1
    kept, notes = [], []
    for key, entry in seen.items():
        if mentions[key] < 2:
            continue
        side, count = entry.sides.most_common(1)[0]
        views = tuple(view for view in VIEWS if view in entry.views)
        detail = entry.detail
        kept.append(
            Detail(
                name=detail.name,
                side="left" if side == "left" else "right",
                part=detail.part,
                views=views if len(views) < len(VIEWS) else (),
            )
        )
        if len(entry.sides) > 1:
            other = mentions[key] - count
            notes.append(
                f"'{detail.name}' is on the {side} in {count} captions and on the other side in {other}: look at the pictures."
            )
    return tuple(kept), notes


def _is_thing(detail: Detail) -> bool:
    """`left hand raised` names a side, and nothing that is there only once."""
    words = [stem(word) for word in plain(detail.name).split()]
    return (
        bool(words)
        and not set(words) & STATES
        and not words[0].endswith("ing")
        and head_of(detail.name) not in BODY_WORDS
    )


def _palette(pictures: Iterable[Measured]) -> tuple[str, ...]:
    """Return every colour of the pictures, most frequent first, when all together have few."""
    counts: Counter[str] = Counter()
    for each in pictures:
        if isinstance(each.result, Measures):
            if each.result.num_colours > FEW_COLOURS:
                return ()
            for place, colour in enumerate(each.result.palette):
                counts[colour] += FEW_COLOURS - place
            if len(counts) > FEW_COLOURS:
                return ()
    return tuple(colour for colour, _ in counts.most_common())

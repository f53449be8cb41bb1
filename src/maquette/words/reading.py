"""What a caption says, read without a model: views, framing, appearance, sides, contradictions, tokens.

The one door to these: rules and captioning ask the same questions. Functions over text (and a profile), no files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from maquette.words.appearance import (
    AppearanceHit,
    appearance_in,
    appearance_of,
    details_of,
    form_of,
)
from maquette.words.sides import (
    Mention,
    SideMistake,
    asymmetric_phrases,
    face_from_behind,
    mentions,
    side_mistakes,
)
from maquette.words.text import HEX_COLOUR, REMEMBERED, has_word, parts_of, same_part
from maquette.words.views import (
    FRAMINGS,
    Framing,
    framing_of,
    framings_named,
    shows,
    view_of,
    views_named,
)

__all__ = [
    "FRAMINGS",
    "HEX_COLOUR",
    "AppearanceHit",
    "Contradiction",
    "Framing",
    "Mention",
    "SideMistake",
    "TokenCounter",
    "appearance_in",
    "appearance_of",
    "asymmetric_phrases",
    "contradictions",
    "details_of",
    "duplicates",
    "face_from_behind",
    "form_of",
    "framing_of",
    "framings_named",
    "has_word",
    "mentions",
    "parts_of",
    "preamble_in",
    "refusal_in",
    "shows",
    "side_mistakes",
    "view_of",
    "views_named",
    "without_duplicates",
]


@dataclass(frozen=True)
class TokenCounter:
    """How a base model's tokenizer sees text; a fact that rules may ask for."""

    count: Callable[[str], int]
    """How many tokens a text has, begin and end not counted."""
    pieces: Callable[[str], list[str]]
    """The tokens of a text, each as text; one that ends a word without a mark of its own."""
    name: str = "CLIP"
    limits: tuple[int, ...] = (75, 150, 225)
    """How many tokens of a caption can be read, by choice; the first where nothing is said."""


@dataclass(frozen=True)
class Contradiction:
    """Two parts of one caption that cannot both be true."""

    about: str
    """What they disagree on: view, framing, posture…"""
    one: str
    other: str


HAPPY = r"happy|cheerful|joyful|smile|smiling|grin|grinning|laughing"
UNHAPPY = r"angry|furious|enraged|sad|sorrowful|depressed"
EXCLUSIVE: dict[str, tuple[str, ...]] = {
    "posture": (
        r"stand(ing|s)?( (up|upright|still|neutral|pose|straight))?",
        r"(sit(ting|s)?|seated)( down)?",
        r"(lying|laying|lies)( (down|on (his|her|its) (back|side|stomach)|prone))?",
    ),
    "time of day": (r"(at )?night( time)?|nighttime|night sky", r"(in )?day( ?light| ?time)?|daytime|day sky|noon"),
    "place": (r"indoors?|inside", r"outdoors?|outside"),
    "mouth": (r"open mouth|mouth open", r"closed mouth|mouth closed"),
    "eyes": (r"open eyes|eyes open|wide eyes", r"closed eyes|eyes closed|both eyes closed"),
    "expression": (
        r"(neutral|expressionless|blank)( (expression|face))?",
        rf"({HAPPY}|{UNHAPPY}|shocked|surprised|pained|in pain)( (expression|face))?",
    ),
    "mood": (rf"({HAPPY})( (expression|face))?", rf"({UNHAPPY})( (expression|face))?"),
    "hair length": (r"(very )?long hair", r"(very )?short hair", r"bald|no hair|shaved head"),
    "colour": (r"monochrome|grayscale|greyscale|black and white", r"colou?rful|vibrant colou?rs|full colou?r"),
    "number of people": (
        r"solo|alone|1 ?(person|character)",
        r"[2-6]\+? ?(boys|girls|people|characters|persons)|multiple (boys|girls|people)|couple",
    ),
}  # fmt: skip
"""Whole parts of a caption of which at most one of each line's alternatives can be true of one picture of one subject."""
COUNTS = re.compile(r"(\d)\+? ?(boys?|girls?|others?)")
SEVERAL = re.compile(r"[2-9]\+? ?(boys|girls|people)|multiple |two |three |group|crowd|couple|collage|sheet")
BACKGROUND = re.compile(
    r"(?:(?:plain|simple|solid|flat|pure) )?(white|black|gr[ae]y|red|green|blue|yellow|orange|purple|pink|brown|beige|teal) "
    r"background"
)
MIXED_BACKGROUND = re.compile(
    r"(split|gradient|checker\w*|striped|two tone|two toned|patterned|multicolou?red)"
)

REFUSALS = re.compile(
    r"\b(i['’]?m sorry|i am sorry|i apologi[sz]e|sorry, (but )?i|i (cannot|can['’]?t|am unable to|won['’]?t) "
    r"(help|assist|provide|identify|describe|see|view|fulfil|comply|do|answer|create|generate)|i['’]m unable to|as an ai\b|"
    r"as a (large )?language model|i don['’]?t have the ability|unable to (process|view|see) (the|this) image|"
    r"no image (was )?(provided|attached)|please (provide|upload|share) (the|an) image|lorem ipsum)|"
    r"\[(insert|add|your|enter) [^\]]*\]|<(image|caption|trigger|description|name)>|<\|\w+\|>|\{(trigger|caption|name)\}",
    re.IGNORECASE,
)
PREAMBLES = re.compile(
    r"^\s*[\"“]?(the|this) (image|picture|photo|photograph|illustration)( \w+){0,2}? "
    r"(shows?|depicts?|features?|displays?|presents?|contains?|captures?|portrays?|is of|appears)\b|"
    r"^\s*in (the|this) (image|picture|photo|photograph|illustration)\b|"
    r"^\s*(here('s| is) (a|the|your)|sure[,!]|certainly[,!]|of course[,!]|(caption|description|tags|assistant|output):)",
    re.IGNORECASE,
)


def refusal_in(caption: str) -> str:
    """Return the words with which a language model refused or left a blank to fill in; empty when there are none."""
    match = REFUSALS.search(caption)
    return match[0].strip() if match else ""


def preamble_in(caption: str) -> str:
    """Return the words with which a language model introduced its answer; empty when there are none."""
    match = PREAMBLES.search(caption)
    return match[0].strip() if match else ""


def contradictions(caption: str | Sequence[str]) -> list[Contradiction]:
    """Return the parts of a caption that cannot both be true of one picture; duplicates are `duplicates`' matter."""
    parts = parts_of(caption)
    said = [same_part(part) for part in parts]
    if any(SEVERAL.match(part) for part in said):
        of_any_picture = ("time of day", "place", "colour", "number of people")
        return [*_exclusive(parts, said, of_any_picture), *_people(parts, said)]
    return [
        *_named_twice("view", views_named, parts),
        *_framings(parts),
        *_exclusive(parts, said, tuple(EXCLUSIVE)),
        *_people(parts, said),
        *_backgrounds(parts, said),
    ]


def duplicates(caption: str | Sequence[str], separator: str = ",") -> list[str]:
    """Return the parts that a caption says more than once, each as it is first written."""
    parts = parts_of(caption, separator)
    said = [same_part(part) for part in parts]
    times = Counter(each for each in said if each)
    first = dict(zip(reversed(said), reversed(parts), strict=True))
    return [first[each] for each in times if times[each] > 1]


def without_duplicates(caption: str, separator: str = ",") -> str:
    """Return a caption without the repetitions of a part; the rest stays as it is written."""
    seen: set[str] = set()
    kept = []
    for piece in caption.split(separator):
        said = same_part(piece)
        if said and said in seen:
            continue
        seen.add(said)
        kept.append(piece)
    return separator.join(kept)


def _named_twice(
    about: str, find: Callable[[Sequence[str]], Sequence[str]], parts: Sequence[str]
) -> Iterator[Contradiction]:
    if len(find(parts)) < 2:
        return
    first: dict[str, str] = {}
    for part in parts:
        for value in find([part]):
            first.setdefault(value, part)
    one, other, *_ = first.values()
    if one != other:
        yield Contradiction(about, one, other)


def _framings(parts: Sequence[str]) -> Iterator[Contradiction]:
    """Only the far ends exclude each other: `portrait, upper body` is one picture in two words."""
    first: dict[str, str] = {}
    for part in parts:
        for framing in framings_named([part]):
            first.setdefault(framing, part)
    near = first.get("close-up") or first.get("portrait")
    far = first.get("full body")
    if near and far and near != far:
        yield Contradiction("framing", near, far)


def _exclusive(parts: Sequence[str], said: Sequence[str], groups: Sequence[str]) -> Iterator[Contradiction]:
    for about in groups:
        first: dict[int, str] = {}
        for part, text in zip(parts, said, strict=True):
            index = _alternatives(text).get(about)
            if index is not None:
                first.setdefault(index, part)
        if len(first) > 1:
            one, other, *_ = first.values()
            yield Contradiction(about, one, other)


@lru_cache(maxsize=REMEMBERED)
def _alternatives(text: str) -> dict[str, int]:
    """Return which of the alternatives of EXCLUSIVE a part is, by what it is about."""
    found: dict[str, int] = {}
    for about, patterns in EXCLUSIVE.items():
        index = next((index for index, each in enumerate(patterns) if re.fullmatch(each, text)), None)
        if index is not None:
            found[about] = index
    return found


def _people(parts: Sequence[str], said: Sequence[str]) -> Iterator[Contradiction]:
    """`solo, 1boy, 1girl` and `1girl, 2girls`; a boy and a girl without `solo` may well be two people."""
    counted = [(part, COUNTS.fullmatch(text)) for part, text in zip(parts, said, strict=True)]
    first: dict[tuple[int, str], str] = {}
    for part, match in counted:
        if match:
            first.setdefault((int(match[1]), match[2].rstrip("s")), part)
    is_solo = "solo" in said
    for (number, who), part in first.items():
        for (other_number, other_who), other in first.items():
            alone = is_solo and who != other_who
            if alone or (who == other_who and number != other_number):
                yield Contradiction("number of people", part, other)
                return


def _backgrounds(parts: Sequence[str], said: Sequence[str]) -> Iterator[Contradiction]:
    if any(MIXED_BACKGROUND.search(text) for text in said):
        return
    first: dict[str, str] = {}
    for part, text in zip(parts, said, strict=True):
        match = BACKGROUND.fullmatch(text)
        if match:
            first.setdefault(match[1].replace("grey", "gray"), part)
    if len(first) > 1:
        one, other, *_ = first.values()
        yield Contradiction("background", one, other)

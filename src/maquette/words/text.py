"""A caption taken apart: comma-separated parts, words without regard to spelling, and tables of like words.

Captions are compared in a plain form: lower case, hyphens and underscores as spaces, plurals without their ending.
Nothing here knows a subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache


def word_set(*texts: str) -> frozenset[str]:
    """Return the words of some texts."""
    return frozenset(word for text in texts for word in text.split())


WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
REMEMBERED = 1 << 15
"""Short texts whose reading is kept: the captions of a set say the same things again and again."""
REMEMBERED_CAPTIONS = 1 << 17
"""Captions whose reading is kept, since several rules ask the same of each in turn: fewer than a set has helps nothing."""
HEX_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")

COLOURS: tuple[frozenset[str], ...] = tuple(
    word_set(words)
    for words in (
        "red crimson scarlet",
        "maroon burgundy",
        "orange",
        "yellow",
        "gold golden",
        "green emerald",
        "blue azure",
        "cyan turquoise teal aqua",
        "purple violet lavender",
        "pink magenta rose",
        "brown",
        "black",
        "white",
        "grey gray",
        "silver",
        "beige cream tan",
        "ginger auburn copper",
        "blonde blond",
        "brunette",
        "hazel amber",
    )
)
"""Colour words in groups that mean the same wherever they stand."""

HAIR_COLOURS: tuple[frozenset[str], ...] = tuple(
    word_set(words)
    for words in (
        "ginger auburn copper red orange crimson scarlet",
        "blonde blond golden gold yellow",
        "brown brunette chestnut",
        "grey gray silver white",
    )
)
"""Colour words that captioners use for the same hair."""

THINGS: tuple[frozenset[str], ...] = tuple(
    word_set(words)
    for words in (
        "cloak cape mantle",
        "pant trouser",
        "bandana bandanna headband",
        "glasse spectacle eyeglasse",
        "jumper sweater pullover",
        "glove gauntlet",
        "bracer vambrace armguard",
        "boot shoe",
        "hat cap",
        "shirt tshirt",
        "scarf",
        "beard stubble",
        "hair curl lock tress",
    )
)
"""Stems of things that captioners confuse; near enough to bind the look to another word than the trigger."""

BODY_WORDS = word_set(
    "hair eye skin face body head arm hand leg foot feet nose mouth lip ear cheek eyebrow brow neck fur tail build curl lock",
    "shoulder chest finger tooth teeth knee",
)
"""Stems of what everybody has: without an adjective they say nothing about this subject."""

STATES = word_set(
    "raised lifted drawn swinging swung holding held gripping gripped wielding lowered pointing pointed sheathed unsheathed ",
    "resting flowing blowing billowing fluttering closed open opened half shut narrowed widened wide winking squinting looking ",
    "glancing staring rolling rolled torn wet dirty covered crossed outstretched spread clenched extended stretched hanging ",
    "removed off ready thrown falling waving bent up down back forward aloft hand",
)
"""Words that tell what happens with a thing, which is pose and belongs into captions."""

BREAKERS = word_set(
    "of with wearing in on at holding the a an his her its their and or from to by under over behind near while as has have ",
    "is are was were having",
)
"""Words that end a run of adjectives."""

STEM_OF = {
    "haired": "hair",
    "eyed": "eye",
    "skinned": "skin",
    "bearded": "beard",
    "freckled": "freckle",
    "hooded": "hood",
    "scarred": "scar",
    "horned": "horn",
    "feet": "foot",
    "teeth": "tooth",
    "coloured": "colour",
    "colored": "colour",
    "grey": "gray",
}


@dataclass(frozen=True)
class Word:
    """One word of a caption: as it stands, its plain form, and where it stands (characters of the whole caption)."""

    text: str
    stem: str
    start: int
    end: int


def parts_of(caption: str | Sequence[str], separator: str = ",") -> tuple[str, ...]:
    """Return a caption's parts, stripped, empty ones left out; a sequence of parts is taken as it is."""
    pieces = caption.split(separator) if isinstance(caption, str) else caption
    return tuple(piece.strip() for piece in pieces if piece.strip())


@lru_cache(maxsize=REMEMBERED)
def plain(text: str) -> str:
    """Return `text` in lower case, hyphens and underscores as spaces, spaces collapsed."""
    return " ".join(re.sub(r"[-_‐-―]", " ", text.lower()).split())


@lru_cache(maxsize=REMEMBERED)
def same_part(text: str) -> str:
    """Return what two spellings of one tag have in common: plain, brackets and weights of prompts left out."""
    return " ".join(re.sub(r"[\\()\[\]{}]|:\d+(\.\d+)?$", " ", plain(text)).split()).rstrip(". ")


@lru_cache(maxsize=REMEMBERED)
def stem(word: str) -> str:
    """Return a word in lower case without a plural ending: `gloves` → `glove`, `dress` stays."""
    word = word.lower().replace("’", "'").removesuffix("'s")
    if word in STEM_OF:
        return STEM_OF[word]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        return word[:-1]
    return word


def words_of(text: str, start: int = 0) -> list[Word]:
    """Return the words of `text`, whose first character is character `start` of the caption. Hyphens part words."""
    return [
        Word(match[0], stem(match[0]), start + match.start(), start + match.end())
        for match in WORD.finditer(text)
    ]


def clauses_of(caption: str) -> Iterator[tuple[str, int]]:
    """Yield the pieces of a caption between commas, semicolons, full stops and newlines, with their places."""
    for match in re.finditer(r"[^,;\n.]+(?:\.\d[^,;\n.]*)*", caption):
        if match[0].strip():
            yield match[0], match.start()


def hidden(text: str, phrases: Iterable[str]) -> str:
    """Return `text` with every occurrence of each phrase (as words, whatever its spelling) blanked, length unchanged."""
    pattern = _spelled(tuple(phrases))
    return pattern.sub(lambda match: " " * len(match[0]), text) if pattern else text


@lru_cache(maxsize=256)
def _spelled(phrases: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern of phrases, longest first, with any hyphens, underscores and spaces between their words."""
    split = [[re.escape(word) for word in re.split(r"[\s_-]+", phrase) if word] for phrase in phrases]
    spelled = sorted((r"[\s_-]+".join(words) for words in split if words), key=len, reverse=True)
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(spelled)})(?![^\W_])", re.IGNORECASE) if spelled else None


def without_word(text: str, word: str) -> str:
    """Return `text` with a trigger blanked where it stands as a word of its own, length unchanged.

    Only the exact spelling counts (case aside): `ginger_hair_boy` is not `ginger hair boy`.
    """
    if not word:
        return text
    return re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", lambda m: " " * len(m[0]), text, flags=re.IGNORECASE)


def has_word(text: str, word: str) -> bool:
    """Say whether `word` (a trigger: several words too) stands in `text` as it is spelled, case aside."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def colours_in(stems: Iterable[str]) -> set[str]:
    """Return the colour words among plain words."""
    return set(COLOUR_WORDS.intersection(stems))


def alike(one: str, other: str, *, hair: bool = False) -> bool:
    """Say whether two plain words mean the same: one colour, one thing, or the same word."""
    if one == other:
        return True
    kin = _KIN_OF_HAIR if hair else _KIN
    return other in kin.get(one, ())


def _kin(*groups: frozenset[str]) -> dict[str, frozenset[str]]:
    """Return for each word all words that share a group with it."""
    words = {word for group in groups for word in group}
    return {word: frozenset().union(*(group for group in groups if word in group)) for word in words}


COLOUR_WORDS = frozenset().union(*COLOURS, *HAIR_COLOURS)
_KIN = _kin(*COLOURS, *THINGS)
_KIN_OF_HAIR = _kin(*COLOURS, *THINGS, *HAIR_COLOURS)

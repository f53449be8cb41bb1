"""Words of a caption that describe what the trigger should carry, found whatever their order or spelling.

`ginger hair` in a profile is also found as `orange hair`, `ginger-haired`, `hair is ginger` and `redhead`;
`white sleeveless cloak` as `white cape` and `cloak`. `hair blowing in the wind` and `sword raised` are pose, and are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from maquette.project.profile import Detail, Form, Profile
from maquette.words.text import (
    BODY_WORDS,
    BREAKERS,
    REMEMBERED_CAPTIONS,
    STATES,
    Word,
    alike,
    clauses_of,
    colours_in,
    hidden,
    stem,
    without_word,
    word_set,
    words_of,
)

Match = Literal["same", "close", "other"]
REACH = 4
"""Adjectives before a noun that are looked at."""
HAIR_NOUNS = {
    "redhead": "ginger",
    "redheaded": "ginger",
    "brunette": "brown",
    "blonde": "blonde",
    "blond": "blonde",
}
"""Words that name a hair colour alone."""
SPLITTERS = word_set("on over across around at under above below of with in behind near")
PLACES = word_set("on in under at beside near by against behind")
COMPOUNDS = word_set(
    "clip pin band tie ribbon ornament accessory patch shadow liner contact fight stance hilt rack stand shop line style bun"
)
"""Nouns that make the word before them an adjective: an `eye patch` is no eye."""
VERBS_TOO = word_set("stand fight shop line style contact rack")
"""Of those, the ones that with an s are what somebody does: `a man with green eyes stands`."""


SOMEBODY_ELSE = re.compile(
    r"\b(?:next to|beside|behind|near|facing|with|and|at|to|by|against|between|over|of|holding|hugging|kissing|fighting|watching|"
    r"carrying|meeting)\s+(?:an?|another|the other|two|three|some|his|her|their)\s+(?:[\w-]+\s+){0,3}?"
    r"(?:wom[ae]n|m[ae]n|girls?|boys?|persons?|people|child|children|lady|guy|friends?|crowd|dogs?|cats?|fox(?:es)?|horses?|"
    r"mother|father|brother|sister|monster|animal|creature|character|figure|stranger|enemy|doll|statue)\b[^,;.]*",
    re.IGNORECASE,
)
"""Somebody beside the subject, and all that is said of them up to the next comma."""
WEARS = word_set("wearing having being")


@dataclass(frozen=True)
class AppearanceHit:
    """A place in a caption that describes the subject's constant looks."""

    phrase: str
    """The profile's words."""
    found: str
    """The caption's words."""
    match: Match
    """`same` words, `close` ones, or `other` ones that contradict the profile (`brown hair` for `ginger hair`)."""
    start: int
    """First character in the caption."""
    end: int
    is_own_part: bool
    """Nothing else stands between the commas around it, so that it can be taken out alone."""


def form_of(caption: str, profile: Profile) -> Form | None:
    """Return the form whose trigger a caption contains; None for the subject itself."""
    return next((form for form in profile.forms if without_word(caption, form.trigger) != caption), None)


def appearance_of(caption: str, profile: Profile) -> tuple[str, ...]:
    """Return what always belongs to the subject of a caption: the subject's appearance, and its form's."""
    form = form_of(caption, profile)
    return tuple(dict.fromkeys((*profile.appearance, *(form.appearance if form else ()))))


def details_of(caption: str, profile: Profile) -> tuple[Detail, ...]:
    """Return the asymmetric details of the subject of a caption: its form's, or its own."""
    form = form_of(caption, profile)
    return form.details if form else profile.details


def appearance_in(caption: str, profile: Profile) -> list[AppearanceHit]:
    """Return where a caption describes what the profile says always belongs to the subject, in the order of the text.

    The trigger, the class word, the words of asymmetric details and other people beside the subject do not count.
    """
    return list(_appearance_in(caption, profile))


@lru_cache(maxsize=REMEMBERED_CAPTIONS)
def _appearance_in(caption: str, profile: Profile) -> tuple[AppearanceHit, ...]:
    """Kept, since two rules ask the same of every caption."""
    text = caption
    for trigger in profile.triggers:
        text = without_word(text, trigger)
    text = SOMEBODY_ELSE.sub(lambda match: " " * len(match[0]), text)
    text = hidden(text, [profile.class_word, *_detail_words(details_of(caption, profile))])
    clauses = [words_of(clause, start) for clause, start in clauses_of(text)]
    phrases = appearance_of(caption, profile)
    hits = [hit for phrase in phrases for words in clauses for hit in _hits(phrase, words, caption)]
    return tuple(_best(hits))


def _detail_words(details: Sequence[Detail]) -> Iterator[str]:
    for detail in details:
        yield detail.phrase
        yield detail.name


def _hits(phrase: str, words: list[Word], caption: str) -> Iterator[AppearanceHit]:
    head, modifiers = _split(phrase)
    if not head:
        return
    for index, word in enumerate(words):
        if word.stem in HAIR_NOUNS and head == "hair" and not _before(words, index, "hair"):
            ours = colours_in(modifiers)
            if ours and not any(each.stem == "hair" for each in words[index + 1 : index + 3]):
                fits = any(alike(HAIR_NOUNS[word.stem], colour, hair=True) for colour in ours)
                yield _hit(phrase, [word], "close" if fits else "other", caption)
        if alike(word.stem, head) and not _is_part_of_compound(words, index):
            found = _around(words, index)
            match = _judge(head, modifiers, word, found, words, index)
            if match:
                yield _hit(phrase, _shown(words, index, found), match, caption)


@lru_cache(maxsize=1024)
def _split(phrase: str) -> tuple[str, frozenset[str]]:
    """Return the noun of a phrase and its adjectives: `scar over left eye` is a scar."""
    stems = [word.stem for word in words_of(phrase)]
    cut = next((place for place, word in enumerate(stems) if word in SPLITTERS and place > 0), len(stems))
    stems = [word for word in stems[:cut] if word not in BREAKERS]
    return (stems[-1], frozenset(stems[:-1])) if stems else ("", frozenset())


def _around(words: list[Word], index: int) -> list[Word]:
    """Return the adjectives of the noun at `index`: those before it, and those after `is` or `are`."""
    before: list[Word] = []
    first = max(0, index - REACH)
    for place in range(index - 1, first - 1, -1):
        word = words[place]
        joins = word.stem == "and" and place > 0 and bool(colours_in([words[place - 1].stem]))
        if word.stem in BREAKERS and not joins:
            break
        before.append(word)
    after: list[Word] = []
    following = words[index + 1 : index + 4]
    if following and following[0].text.lower() in ("is", "are"):
        for word in following[1:]:
            if word.stem in BREAKERS:
                break
            after.append(word)
    return [*reversed(before), *after]


def _judge(
    head: str, modifiers: frozenset[str], word: Word, found: list[Word], words: list[Word], index: int
) -> Match | None:
    """Return how the noun with the adjectives around it compares with the profile's phrase."""
    hair = head in ("hair", "beard", "eyebrow", "fur", "curl", "braid")
    stems = {each.stem for each in found}
    matched = {ours for ours in modifiers if any(alike(ours, theirs, hair=hair) for theirs in stems)}
    ours, theirs = colours_in(modifiers), colours_in(stems)
    if ours and theirs and not any(alike(a, b, hair=hair) for a in ours for b in theirs):
        return "other"
    if modifiers and matched == modifiers and modifiers <= stems and word.stem == head:
        return "same"
    if matched:
        return "close"
    in_action = _in_action(words, index)
    if modifiers:
        return None if {head, word.stem} & BODY_WORDS or in_action or theirs else "close"
    if in_action or head in BODY_WORDS:
        return None
    return "same" if word.stem == head else "close"


def _in_action(words: list[Word], index: int) -> bool:
    """Say whether the words beside a noun tell what is done with it or where it lies: `sword raised`, `holding a sword`."""
    before = [word.text.lower() for word in words[max(0, index - 3) : index]]
    after = [word.text.lower() for word in words[index + 1 : index + 4]]
    if any(word in STATES for word in (*before, *after)):
        return True
    verb = next(
        (word for word in reversed(before) if word not in ("a", "an", "the", "his", "her", "its", "their")),
        "",
    )
    if (verb.endswith("ing") and verb not in WEARS) or (after and after[0].endswith("ing")):
        return True
    return len(after) > 1 and after[0] in PLACES and after[1] in ("a", "an", "the")


def _is_part_of_compound(words: list[Word], index: int) -> bool:
    """`hair clip`, `eye patch`, `sword fight`: the noun only qualifies the next one."""
    following = words[index + 1].stem if index + 1 < len(words) else ""
    touching = index + 1 < len(words) and words[index + 1].start - words[index].end == 1
    does = following in VERBS_TOO and words[index + 1].text.lower().endswith("s")
    return touching and following in COMPOUNDS and not does


def _before(words: list[Word], index: int, noun: str) -> bool:
    return any(word.stem == noun for word in words[max(0, index - 1) : index])


def _shown(words: list[Word], index: int, found: list[Word]) -> list[Word]:
    """Return the words from the first adjective to the last, without a leading `and`."""
    chosen = sorted([*found, words[index]], key=lambda word: word.start)
    while chosen and chosen[0].stem in BREAKERS:
        chosen = chosen[1:]
    return chosen


def _hit(phrase: str, words: list[Word], match: Match, caption: str) -> AppearanceHit:
    start, end = words[0].start, words[-1].end
    before, after = caption[:start].rpartition(",")[2], caption[end:].partition(",")[0]
    alone = not before.strip() and not after.strip(" .")
    return AppearanceHit(phrase, caption[start:end], match, start, end, alone)


def _best(hits: list[AppearanceHit]) -> list[AppearanceHit]:
    """Where one place matches several phrases, keep the best; a place never counts twice."""
    rank = {"same": 0, "close": 1, "other": 2}
    kept: list[AppearanceHit] = []
    for hit in sorted(hits, key=lambda each: (rank[each.match], -(each.end - each.start), each.start)):
        if all(hit.end <= other.start or hit.start >= other.end for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda each: each.start)


def head_of(phrase: str) -> str:
    """Return the plain noun of a phrase: `red fingerless glove` → `glove`."""
    head, _ = _split(phrase)
    return head or stem(phrase)


def adjectives_of(phrase: str) -> frozenset[str]:
    """Return the plain adjectives of a phrase: `red fingerless glove` → red, fingerless."""
    return _split(phrase)[1]

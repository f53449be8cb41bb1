"""Words that stand beside the trigger in most captions: what is learned may hang on them instead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from maquette.measuring.looks import FLOOR
from maquette.measuring.scorecards import Reading
from maquette.words.text import parts_of

MOST = 0.6
"""A word in this share of the captions shares the trigger's part."""
MOST_WORDS = 8
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_IDLE = frozenset(
    {
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "with",
        "and",
        "or",
        "to",
        "from",
        "by",
        "for",
        "his",
        "her",
        "its",
        "their",
    }
    | {
        "is",
        "are",
        "was",
        "be",
        "as",
        "this",
        "that",
        "there",
        "who",
        "which",
        "wearing",
        "has",
        "have",
        "having",
        "holding",
    }
    | {"shown", "standing", "looking", "picture", "photo", "image", "drawing", "illustration"}
)


@dataclass(frozen=True, kw_only=True)
class BesideWord:
    """A word, the share of the captions in which it stands with the trigger, and what prompts with it draw."""

    word: str
    share: float
    gain: float | None = None
    """By how much prompts with trigger and word exceed the base's identity; None where none was drawn."""


def words_beside(
    captions: Sequence[str],
    trigger: str,
    *,
    class_word: str = "",
    reading: Reading | None = None,
    column: int | None = None,
) -> tuple[BesideWord, ...]:
    """Return the words that stand with the trigger in most captions, those that prompts draw most with first."""
    own = {word for word, _ in _words(f"{trigger} {class_word}")}
    with_trigger = [caption for caption in captions if not trigger or trigger.lower() in caption.lower()]
    if len(with_trigger) < 2:
        return ()
    counted: Counter[str] = Counter()
    for caption in with_trigger:
        counted.update({word for word, _ in _words(caption)})
    found = [
        BesideWord(word=word, share=count / len(with_trigger), gain=_gain(word, trigger, reading, column))
        for word, count in counted.items()
        if count >= MOST * len(with_trigger) and word not in own and word not in _IDLE
    ]
    order = sorted(found, key=lambda each: (-(each.gain or 0.0), -each.share, each.word))
    return tuple(order[:MOST_WORDS])


def phrases_beside(
    captions: Sequence[str], trigger: str, *, class_word: str = "", most: int = MOST_WORDS
) -> tuple[tuple[str, float], ...]:
    """Return what stands with the trigger in most captions, each with its share, the most frequent first: parts between commas
    as they are, and the words that no such part has.
    """
    own = {word for word, _ in _words(f"{trigger} {class_word}")}
    with_trigger = [caption for caption in captions if not trigger or trigger.lower() in caption.lower()]
    if len(with_trigger) < 2:
        return ()
    counted: Counter[str] = Counter()
    for caption in with_trigger:
        counted.update({part.lower() for part in parts_of(caption)})
    found = [
        (part, count / len(with_trigger))
        for part, count in counted.items()
        if count >= MOST * len(with_trigger) and not {word for word, _ in _words(part)} <= own | _IDLE
    ]
    said = {word for part, _ in found for word, _ in _words(part)}
    alone = words_beside(captions, trigger, class_word=class_word)
    found += [(each.word, each.share) for each in alone if each.word not in said]
    return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0]))[:most])


def _words(text: str) -> list[tuple[str, int]]:
    return [(match[0].lower(), match.start()) for match in _WORD.finditer(text)]


def _gain(word: str, trigger: str, reading: Reading | None, column: int | None) -> float | None:
    """Return the mean identity of drawn prompts with trigger and word, less the base's there."""
    if reading is None or column is None or "identity" not in reading.table.scores:
        return None
    table = reading.table
    scores_CNS = table.scores["identity"]
    floor = table.columns.index(FLOOR) if FLOOR in table.columns else None
    gains = []
    for place, prompt in enumerate(table.prompts):
        said = {found for found, _ in _words(prompt)}
        if floor is None or word not in said or trigger.lower() not in prompt.lower():
            continue
        change_S = scores_CNS[column, place] - scores_CNS[floor, place]
        gains += [float(value) for value in change_S if value == value]
    return fmean(gains) if gains else None

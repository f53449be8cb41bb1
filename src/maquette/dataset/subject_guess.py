"""The trigger that nobody names, read off what is there: the name of an N_name folder, an invented word in most captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from maquette.dataset.facts import CaptionFact, DatasetFacts
from maquette.dataset.folders import prefix_of
from maquette.project.profile import Profile
from maquette.project.request import TrainingRequest
from maquette.project.subject import Subject, subject_said
from maquette.words.reading import TokenCounter
from maquette.words.text import has_word

FEWEST_CAPTIONS = 4
"""Below these a word that most begin with is chance."""
MOST = 0.6
"""Share of the captions that have a guessed trigger, or nobody would have meant it as one."""
RARE_TOKENS = frozenset({"sks", "ohwx"})
"""Words that people take for a trigger because the tokenizer knows them and nobody uses them."""
TAG_WORDS = re.compile(
    r"\d+\+?(girls?|boys?|others?|people)|score_\d\w*|(rating|source|style|artist|character|copyright|meta)_\w+|anthro|feral"
    r"|(high|low|absurd|max)res|uhd|hdr|bokeh|lineart|\w*quality|closeup|cgi|img|dsc|nsfw|sfw|photo\w*"
)
"""Words of tag sites and of picture quality that a tokenizer breaks into pieces as it breaks an invented word."""
LONGEST_INVENTED = 8
"""Letters of a word without digit or underscore: longer ones that fall into pieces are mostly real."""
WORD = re.compile(r"[^\W\d][\w-]*|\d+\w+")


def subject_of(
    profile: Profile | None,
    request: TrainingRequest | None,
    facts: DatasetFacts | None,
    tokens: TokenCounter | None,
    flag: str | None = None,
) -> Subject | None:
    """Return the subject as it is named, else as folders and captions show it; a style without trigger needs none."""
    said = subject_said(profile, request, flag)
    if said is not None or profile is not None or facts is None or tokens is None:
        return said
    return guess_subject(facts, tokens)


def guess_subject(facts: DatasetFacts, tokens: TokenCounter) -> Subject | None:
    """Return the subject whose trigger folders and captions show, or None.

    The name of the pictures' folder counts where it is invented or where most captions have it; else an invented word in
    the first part of most captions.
    """
    captions = [
        each for each in facts.captions if each.picture is not None and each.text and not each.problem
    ]
    if not captions:
        return None
    return _by_folder(facts, captions, tokens) or _by_captions(captions, tokens)


def is_invented(word: str, tokens: TokenCounter) -> bool:
    """Return whether a word means nothing: letters with digits, or letters that the tokenizer only knows in crumbs."""
    word = word.lower()
    letters = re.findall(r"[a-z]+", word)
    if word in RARE_TOKENS:
        return True
    if (
        TAG_WORDS.fullmatch(word)
        or not word.isascii()
        or sum(map(len, letters)) < 2
        or len(word) < 3
        or word[0].isdigit()
    ):
        return False
    if re.search(r"[a-z]{2,}\d|\d[a-z]{2,}", word):
        return True
    is_joined = len(letters) > 1
    return any(
        (is_joined or len(group) <= LONGEST_INVENTED) and _is_crumbled(tokens.pieces(group))
        for group in letters
        if len(group) > 1
    )


def _is_crumbled(pieces: Sequence[str]) -> bool:
    """Return whether a word's pieces are crumbs: `mk|vi`, `z|kw`; not `photo|realistic`."""
    return len(pieces) > 1 and min(len(piece) for piece in pieces) <= 2


def _by_folder(facts: DatasetFacts, captions: Sequence[CaptionFact], tokens: TokenCounter) -> Subject | None:
    """Return the subject that the folder is named after, when its captions or the word itself bear it out."""
    if facts.is_toml:
        return None
    for folder in facts.used_folders:
        named = prefix_of(folder.path.name)
        if folder.is_regularization or named is None:
            continue
        found = _best(named[1], captions, tokens)
        if found is not None:
            word, having = found
            said = f"the name of {folder.path.name}" + (f", which {having} captions have" if having else "")
            return Subject(triggers=(word,), origin="guess", evidence=said)
    return None


def _best(name: str, captions: Sequence[CaptionFact], tokens: TokenCounter) -> tuple[str, int] | None:
    """Return the reading of a folder's name that most captions have, or the invented word in it that most have of all."""
    invented: list[tuple[str, int]] = []
    for word in _names_in(name):
        having = sum(has_word(each.lines[0], word) for each in captions)
        is_word = " " not in word and is_invented(word, tokens)
        if having >= MOST * len(captions) and (is_word or re.search("[ _]", word)):
            return word, having
        invented += [(word, having)] if is_word else []
    return max(invented, key=lambda pair: pair[1], default=None)


def _names_in(tokens: str) -> Iterator[str]:
    """Yield what of a folder's name may be the trigger: its first word, that word's first part, the whole of it."""
    whole = tokens.strip()
    words = [*whole.split(" ")[:1], *re.split(r"[ _]", whole)[:1], whole, whole.replace("_", " ")]
    yield from (word for word in dict.fromkeys(words) if len(word) > 2)


def _by_captions(captions: Sequence[CaptionFact], tokens: TokenCounter) -> Subject | None:
    """Return the subject that an invented word in the first part of most captions means."""
    counts: Counter[str] = Counter()
    spelled: dict[str, str] = {}
    if len(captions) < FEWEST_CAPTIONS:
        return None
    for caption in captions:
        words = WORD.findall(caption.tags[0] if caption.tags else "")
        for word in dict.fromkeys(words):
            counts[word.lower()] += 1
            spelled.setdefault(word.lower(), word)
    for word, count in counts.most_common():
        if count < MOST * len(captions):
            break
        if is_invented(word, tokens):
            said = f"an invented word in the first part of {count} of {len(captions)} captions"
            return Subject(triggers=(spelled[word],), origin="guess", evidence=said)
    return None

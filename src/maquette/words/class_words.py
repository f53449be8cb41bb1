"""The class word in a caption: the ordinary word for the subject, in the place of its trigger.

"tovaki character, standing"      "a character, standing"
"photo of a tovaki dog"           "photo of a dog"
"tovaki, 1girl, standing"         "1girl, standing"
"""

from __future__ import annotations

import re
from functools import lru_cache

from maquette.words.text import has_word

_ARTICLES = ("a", "an", "the")


def with_article(class_word: str) -> str:
    """Return `an anime character` for `anime character`; a word with an article, or a list of tags, stays."""
    first = class_word.split(" ")[0].lower()
    if first in _ARTICLES or re.match(r"\d", class_word) or "," in class_word:
        return class_word
    return f"{'an' if first[:1] in 'aeiou' else 'a'} {class_word}"


@lru_cache(maxsize=1 << 15)
def class_caption(caption: str, trigger: str, class_word: str) -> str | None:
    """Return `caption` with the class word where the trigger stands; None where it does not stand there.

    Only the trigger's exact spelling counts, case aside. Where the class word is in the caption already, the trigger goes.
    """
    if not trigger or not class_word or not has_word(caption, trigger):
        return None
    article = rf"(?:(?P<article>{'|'.join(_ARTICLES)})\s+)?"
    own = re.compile(
        rf"(?<!\w){article}{re.escape(trigger)}(?!\w)(?:\s+(?P<class>{re.escape(class_word)})(?!\w))?",
        re.IGNORECASE,
    )
    elsewhere = has_word(own.sub(" ", caption), class_word)

    def replaced(found: re.Match[str]) -> str:
        if elsewhere and not found["class"]:
            return found["article"] or ""
        if found["article"] and found["article"].lower() == "the":
            return f"{found['article']} {class_word}"
        return with_article(class_word)

    return _tidy(own.sub(replaced, caption))


def _tidy(text: str) -> str:
    """Return `text` without the separators and blanks that a word leaves behind."""
    text = re.sub(r"[ \t]{2,}", " ", text)
    text = re.sub(r"\s+([,;.])", r"\1", text)
    text = re.sub(r"([,;])(?:\s*[,;])+", r"\1", text)
    return text.strip().strip(",;").strip()

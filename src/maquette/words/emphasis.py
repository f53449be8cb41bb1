"""Emphasis in captions as sd-scripts reads it with --weighted_captions: `(word)`, `(word:1.2)`, `[word]`.

(a)      a weighs 1.1 times as much        \\( \\) \\[ \\] \\\\   the sign itself
(a:1.3)  a weighs 1.3 times as much        (a, [b     open to the end
[a]      a weighs 1 / 1.1 as much
"""

from __future__ import annotations

import re

ROUND, SQUARE = 1.1, 1 / 1.1
_SIGNS = re.compile(r"\\[()\[\]\\]?|[(\[]|:([+-]?[.\d]+)\)|[)\]]|:|[^\\()\[\]:]+")


def emphasised(text: str) -> list[tuple[str, float]]:
    """Return the text in pieces with their weights, signs of emphasis taken out; neighbours of one weight in one piece."""
    pieces: list[tuple[str, float]] = []
    begun: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, weight: float) -> None:
        start = begun[bracket].pop()
        pieces[start:] = [(words, own * weight) for words, own in pieces[start:]]

    for found in _SIGNS.finditer(text):
        sign, weight = found[0], _number(found[1])
        if sign in begun:
            begun[sign].append(len(pieces))
        elif weight is not None and begun["("]:
            close("(", weight)
        elif sign == ")" and begun["("]:
            close("(", ROUND)
        elif sign == "]" and begun["["]:
            close("[", SQUARE)
        else:
            pieces.append((sign[1:] if sign.startswith("\\") else sign, 1.0))
    for bracket, weight in (("(", ROUND), ("[", SQUARE)):
        for start in list(begun[bracket]):
            pieces[start:] = [(words, own * weight) for words, own in pieces[start:]]
    return _joined(pieces) or [("", 1.0)]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:  # 1.2.3, where sd-scripts stops
        return None


def _joined(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    joined: list[tuple[str, float]] = []
    for words, weight in pieces:
        if joined and joined[-1][1] == weight:
            joined[-1] = joined[-1][0] + words, weight
        else:
            joined.append((words, weight))
    return joined

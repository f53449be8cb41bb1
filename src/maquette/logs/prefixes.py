"""What stands before a log line's own words: times, levels, ranks, the names of containers."""

from __future__ import annotations

import re

_PREFIX = re.compile(
    r"""
    \[rank\d{1,4}\]:?[ ]?
    | \[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?Z?\]?(?:[ ]?[-|:])?[ ]?
    | \d\d/\d\d/\d{4}[ ]\d\d:\d\d:\d\d[ ]?-?[ ]?
    | \d\d:\d\d:\d\d(?:[-.,]\d{1,6})?[ ]
    | \[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\][ ]?
    | (?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[ ]\|[ ](?:[\w./\\:-]{1,160}[ ]\|[ ])?
    | (?:DEBUG|INFO|WARNING|ERROR|CRITICAL)(?:[ ]-[ ](?:[\w.]{1,40}[ ]-[ ])?|:\w{1,40}:|[ ]{1,9})
    | [\w.-]{1,30}[ ]{1,9}\|[ ]
    | std(?:err|out):[ ]
    """,
    re.VERBOSE,
)
_RICH = re.compile(
    r"(?:\d{4}-\d\d-\d\d )?(?:\d\d:\d\d:\d\d(?:-\d{6})?)? {0,40}(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) "
)
_SOURCE = re.compile(r"\s\w{1,60}\.py:\d{1,6}$")
SOURCE_CHARACTERS = 80
_LEVEL = re.compile(r"\b(?:ERROR|CRITICAL)\b")
MOST_PREFIXES = 5
LEAST_MARGIN = 9
"""Spaces before the continuation of a message in rich's table: its margin is wider than any code's first indent."""


def plain(text: str) -> tuple[str, bool]:
    """Return the words of a line behind its prefixes, and whether these call it an error."""
    at = 0
    for _ in range(MOST_PREFIXES):
        found = _PREFIX.match(text, at)
        if found is None or found.end() == at:
            break
        at = found.end()
    return text[at:], bool(at and _LEVEL.search(text, 0, at))


class Unwrapper:
    """Joins messages that rich's table wrapped over several lines, with their source's name at the right margin."""

    def __init__(self) -> None:
        self._number, self._words = 0, ""

    def read(self, number: int, text: str) -> tuple[int, str] | None:
        """Return (first line, whole message so far) when `text` goes on with a message of the table."""
        words = text
        if ".py:" in text[-SOURCE_CHARACTERS:]:
            end = text[-SOURCE_CHARACTERS:]
            words = text.removesuffix(end) + _SOURCE.sub("", end).rstrip()
        if _RICH.match(text):
            start = _RICH.match(words)
            self._number, self._words = number, words[start.end() :].strip() if start else ""
            return None
        if self._words and text.startswith(" " * LEAST_MARGIN) and len(self._words) < 2000:
            self._words = f"{self._words} {words.strip()}"
            return self._number, self._words
        self._words = ""
        return None

"""Captions of the same pictures, word by word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from maquette.captioning.words_diff import Piece, word_pieces
from maquette.comparing.matching import Names, Pair


@dataclass(frozen=True, kw_only=True)
class CaptionDifference:
    """One picture's two captions."""

    name: str
    a: str
    b: str
    path: str = ""
    """Where the picture lay when `b` was recorded."""

    @property
    def pieces(self) -> list[Piece]:
        """The text in pieces: `same` and `gone` are the caption before, `same` and `new` the one after."""
        return list(word_pieces(self.a, self.b))

    @property
    def gone(self) -> list[str]:
        """What was taken out."""
        return _words(self.pieces, "gone")

    @property
    def come(self) -> list[str]:
        """What was put in."""
        return _words(self.pieces, "new")


@dataclass(frozen=True, kw_only=True)
class WordChange:
    """A part of captions that went from some, or came to some."""

    words: str
    """A part between commas."""
    gone: int
    come: int


def caption_differences(pairs: Iterable[Pair], names: Names) -> Iterator[CaptionDifference]:
    """Yield the captions that differ of pictures that both sides have."""
    for pair in pairs:
        if pair.a is not None and pair.b is not None and pair.a.caption != pair.b.caption:
            yield CaptionDifference(name=names(pair.b), a=pair.a.caption, b=pair.b.caption, path=pair.b.path)


def word_changes(differences: Sequence[CaptionDifference]) -> list[WordChange]:
    """Return how many captions each changed part left or entered, the most frequent first."""
    gone, come = Counter[str](), Counter[str]()
    for each in differences:
        before, after = set(_parts(each.a)), set(_parts(each.b))
        gone.update(before - after)
        come.update(after - before)
    found = [WordChange(words=words, gone=gone[words], come=come[words]) for words in {**gone, **come}]
    return sorted(found, key=lambda each: (-max(each.gone, each.come), each.words))


def _words(pieces: Iterable[Piece], kind: str) -> list[str]:
    """Return the words in the pieces of one kind, as they stood together."""
    return [part for which, text in pieces if which == kind for part in _parts(text)]


def _parts(text: str) -> list[str]:
    """Return what stands between commas."""
    return [part for each in text.split(",") if (part := each.strip())]

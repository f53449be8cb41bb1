"""CLIP's byte-pair tokenizer, from the merge list that ships with the package: no network, one behaviour.

Text is cleaned by ftfy, whitespace is collapsed, everything is lower case: the definition of OpenAI's CLIP,
and what the reference trainer runs. Transformers' current tokenizer leaves ftfy out: curly quotes and
full-width letters get other ids there. https://arxiv.org/abs/2103.00020, section 2.4.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from heapq import heapify, heappop, heappush
from importlib import resources
from itertools import pairwise
from typing import Any

from maquette.errors import ConfigError, ModelError, Problem
from maquette.reading import parse_json
from maquette.words.emphasis import emphasised

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
CLIP_VOCABULARY = 49408
CLIP_MERGES = CLIP_VOCABULARY - 256 * 2 - 2
WORD_END = "</w>"
CHUNK = 75
"""Tokens of text in one pass of the text encoder; begin and end make it 77."""
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class ClipTokenizer:
    """Text to token ids."""

    def __init__(
        self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], *, pad_id: int | None = None
    ):
        import regex

        self.vocabulary = dict(vocabulary)
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.begin_id, self.end_id = self.vocabulary[BEGIN], self.vocabulary[END]
        self.pad_id = self.end_id if pad_id is None else pad_id
        self._words = regex.compile(WORD_PATTERN, regex.IGNORECASE)
        self._symbols = byte_symbols()
        self._word_ids = lru_cache(maxsize=65536)(self._encode_word)

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text` alone: no begin, no end, no padding, any length."""
        return [number for word in self._words.findall(clean(text)) for number in self._word_ids(word)]

    def pieces(self, text: str) -> list[str]:
        """Return the tokens of `text` as text, without the mark that ends a word."""
        return [
            symbols.removesuffix(WORD_END)
            for word in self._words.findall(clean(text))
            for symbols in self._word_symbols(word)
        ]

    def padded(self, text: str, *, max_tokens: int = CHUNK, chunk: int = CHUNK) -> tuple[list[int], int]:
        """Return (ids in chunks of `chunk` + 2, how many tokens were cut off).

        `max_tokens` must be a multiple of `chunk`. A longer text becomes chunks, each with a begin and
        an end token, as the reference trainer makes them with max_token_length 150 or 225.
        """
        return self._laid_out(self.encode(text), max_tokens, chunk)

    def weighted(
        self, text: str, *, max_tokens: int = CHUNK, chunk: int = CHUNK
    ) -> tuple[list[int], int, list[float]]:
        """Return the same of a text with emphasis, each piece of one weight tokenized by itself, and a weight for each id.

        Begin, end and padding weigh 1.
        """
        pieces = [(self.encode(words), weight) for words, weight in emphasised(text)]
        ids, dropped = self._laid_out([number for words, _ in pieces for number in words], max_tokens, chunk)
        weights = [weight for words, weight in pieces for _ in words][:max_tokens]
        weights += [1.0] * (max_tokens - len(weights))
        rows = (weights[start : start + chunk] for start in range(0, max_tokens, chunk))
        return ids, dropped, [weight for row in rows for weight in (1.0, *row, 1.0)]

    def _laid_out(self, words: list[int], max_tokens: int, chunk: int) -> tuple[list[int], int]:
        """Return ids in chunks with begin, end and padding, and how many did not fit."""
        if max_tokens < chunk or max_tokens % chunk:
            raise ConfigError(
                Problem(
                    "max_token_length",
                    str(max_tokens),
                    f"a multiple of {chunk}",
                    f"Use {chunk}, {2 * chunk} or {3 * chunk}.",
                )
            )
        dropped = max(0, len(words) - max_tokens)
        body = [*words[:max_tokens], self.end_id]
        body += [self.pad_id] * (max_tokens + 1 - len(body))
        ids: list[int] = []
        for start in range(0, max_tokens, chunk):
            ids += self._chunk(body[start : start + chunk], body[-1], alone=max_tokens == chunk)
        return ids, dropped

    def _chunk(self, middle: list[int], last: int, *, alone: bool) -> list[int]:
        """Return begin + middle + last; one chunk of several is closed as the reference trainer does."""
        ids = [self.begin_id, *middle, last]
        if not alone and self.pad_id != self.end_id:
            if ids[-2] not in (self.end_id, self.pad_id):
                ids[-1] = self.end_id
            if ids[1] == self.pad_id:
                ids[1] = self.end_id
        return ids

    def with_pad(self, pad_id: int) -> ClipTokenizer:
        """Return the same tokenizer that pads with `pad_id`."""
        return ClipTokenizer(self.vocabulary, list(self.ranks), pad_id=pad_id)

    def _encode_word(self, word: str) -> tuple[int, ...]:
        return tuple(self.vocabulary.get(piece, self.end_id) for piece in self._word_symbols(word))

    def _word_symbols(self, word: str) -> list[str]:
        if word in (BEGIN, END):
            return [word]
        pieces = [self._symbols[byte] for byte in word.encode("utf-8")]
        pieces[-1] += WORD_END
        return self._merge(pieces)

    def _merge(self, pieces: list[str]) -> list[str]:
        """Join neighbours, all of the pair of lowest rank from left to right, until no pair is in the merge list.

        Pairs wait in a heap, so that a word of 40,000 letters takes n log n steps.
        """
        known = [*pieces, ""]  # an empty piece was joined to one before it; the last stands for the end
        after, before = list(range(1, len(known) + 1)), list(range(-1, len(known) - 1))
        waiting = [
            (self.ranks[pair], place) for place, pair in enumerate(pairwise(pieces)) if pair in self.ranks
        ]
        heapify(waiting)
        while waiting:
            rank = waiting[0][0]
            same = []
            while waiting and waiting[0][0] == rank:
                same.append(heappop(waiting)[1])
            for place in same:
                other = after[place]
                if self.ranks.get((known[place], known[other])) != rank:
                    continue  # one of the two was joined to another meanwhile
                known[place] += known[other]
                known[other] = ""
                after[place] = after[other]
                before[after[other]] = place
                for first, second in ((before[place], place), (place, after[place])):
                    new = self.ranks.get((known[first], known[second])) if first >= 0 else None
                    if new is not None:
                        heappush(waiting, (new, first))
        return [piece for piece in known if piece]


def clean(text: str) -> str:
    """Return `text` with broken characters repaired, whitespace collapsed, in lower case."""
    import ftfy

    return " ".join(ftfy.fix_text(text).split()).lower()


@cache
def byte_symbols() -> dict[int, str]:
    """Return a printable character for each byte: itself where printable, else one above U+00FF."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(0x100 + place) for place, byte in enumerate(others)
    }


@cache
def clip_tokenizer() -> ClipTokenizer:
    """Return OpenAI CLIP's tokenizer (49,408 tokens); OpenCLIP's models use the same."""
    packed = resources.files("maquette.families").joinpath("assets/bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode("utf-8").split("\n")[1 : CLIP_MERGES + 1]
    merges = [_pair(line) for line in lines]
    symbols = list(byte_symbols().values())
    tokens = [*symbols, *(symbol + WORD_END for symbol in symbols), *(a + b for a, b in merges), BEGIN, END]
    return ClipTokenizer({token: number for number, token in enumerate(tokens)}, merges)


def tokenizer_from(value: Any, where: str) -> ClipTokenizer:
    """Return the tokenizer that {"vocab": {token: id}, "merges": ["a b", …]} (or its JSON text) describes."""
    try:
        table = parse_json(value) if isinstance(value, str) else value
        return ClipTokenizer(
            {str(token): int(number) for token, number in table["vocab"].items()}, _pairs(table["merges"])
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            Problem(
                where,
                f"its own tokenizer cannot be read ({type(error).__name__}: {error})",
                f'JSON {{"vocab", "merges"}} with the tokens {BEGIN} and {END}',
                "Write the file again.",
            )
        ) from None


def _pairs(merges: Iterable[Any]) -> list[tuple[str, str]]:
    return [_pair(merge) if isinstance(merge, str) else (str(merge[0]), str(merge[1])) for merge in merges]


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split()
    return first, second


def count_clip_tokens(text: str) -> int:
    """Return how many tokens CLIP's text encoder sees, begin and end not counted."""
    return len(clip_tokenizer().encode(text))

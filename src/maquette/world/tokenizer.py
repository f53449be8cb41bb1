"""A small byte-pair vocabulary for the real CLIP tokenizer, learned from captions.

Like CLIP's own, it holds every byte twice (inside a word and, with `</w>`, at its end), then the merges,
then the two markers; so any text can be written with it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from maquette.world.attributes import random_character, random_scene
from maquette.world.captions import invented_name, training_caption

START = "<|startoftext|>"
END = "<|endoftext|>"
MAX_TOKENS = 77

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """What a CLIP tokenizer is made of."""

    vocab: dict[str, int]
    merges: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the form that a single-file checkpoint carries: merges as "first second" strings."""
        return {"vocab": self.vocab, "merges": [" ".join(pair) for pair in self.merges]}


def byte_symbols() -> list[str]:
    """Return the printable character that stands for each byte in CLIP's vocabulary, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def learn_vocabulary(texts: Iterable[str], num_merges: int) -> Vocabulary:
    """Return a vocabulary with up to `num_merges` merges of the most frequent pairs, ties in spelling order."""
    words = Counter(word for text in texts for word in re.findall(r"[a-z]+|[^\sa-z]+", text.lower()))
    spelled = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[Pair] = []
    while len(merges) < num_merges:
        pairs: Counter[Pair] = Counter()
        for word, parts in spelled.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = {word: _merged(parts, best) for word, parts in spelled.items()}
    symbols = byte_symbols()
    tokens = [
        *symbols,
        *(symbol + "</w>" for symbol in symbols),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    return Vocabulary(
        vocab={token: index for index, token in enumerate(dict.fromkeys(tokens))}, merges=tuple(merges)
    )


def _merged(parts: list[str], pair: Pair) -> list[str]:
    result: list[str] = []
    for part in parts:
        if result and (result[-1], part) == pair:
            result[-1] += part
        else:
            result.append(part)
    return result


@cache
def world_vocabulary(seed: int = 0, num_captions: int = 4000, num_merges: int = 320) -> Vocabulary:
    """Return the small world's vocabulary: whole words for its captions, syllables for invented names."""
    generator = random.Random(seed)
    texts = []
    for _ in range(num_captions):
        text, _ = training_caption(random_character(generator), random_scene(generator), generator)
        texts += [text, invented_name(generator)]
    return learn_vocabulary(texts, num_merges)


def build_tokenizer(vocabulary: Vocabulary) -> Any:
    """Return a transformers CLIPTokenizer over the vocabulary, padding with the end marker to 77 tokens."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer(
        vocab=vocabulary.vocab,
        merges=list(vocabulary.merges),
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        model_max_length=MAX_TOKENS,
    )

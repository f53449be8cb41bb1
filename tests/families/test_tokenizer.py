"""The tokenizer: CLIP's definition, chunks as the reference trainer makes them."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maquette.families.common.tokenizer import (
    BEGIN,
    END,
    ClipTokenizer,
    byte_symbols,
    clip_tokenizer,
    tokenizer_from,
)
from tests.families.models import transformers_tokenizer

BEGIN_ID, END_ID = 49406, 49407
TRANSFORMERS = transformers_tokenizer()
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)


def test_the_shipped_merges_give_clips_vocabulary() -> None:
    tokenizer = clip_tokenizer()
    assert len(tokenizer.vocabulary) == 49408
    assert (tokenizer.begin_id, tokenizer.end_id, tokenizer.pad_id) == (BEGIN_ID, END_ID, END_ID)
    assert tokenizer.vocabulary["a</w>"] == 320
    assert sorted(tokenizer.vocabulary.values()) == list(range(49408))


@settings(max_examples=300, deadline=None)
@given(text=ASCII)
def test_plain_text_gets_the_ids_that_transformers_gives(text: str) -> None:
    # ftfy unescapes HTML entities; transformers' tokenizer does not
    if "&" in text or "<|" in text:
        return
    theirs = TRANSFORMERS(text, truncation=False).input_ids
    assert [BEGIN_ID, *clip_tokenizer().encode(text), END_ID] == theirs


@given(text=st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_at_all_gives_ids(text: str) -> None:
    ids, dropped = clip_tokenizer().padded(text)
    assert len(ids) == 77
    assert ids[0] == BEGIN_ID
    assert END_ID in ids
    assert dropped >= 0


@pytest.mark.parametrize("count", [0, 1, 74, 75, 76, 149, 150, 151, 225, 300])
@pytest.mark.parametrize("max_tokens", [75, 150, 225])
def test_chunks_of_a_text_padded_with_its_end_token(count: int, max_tokens: int) -> None:
    """Every chunk is begin, 75 tokens, end; behind the text stand end tokens."""
    tokenizer = clip_tokenizer()
    words = tokenizer.encode("word " * count)
    assert len(words) == count
    ids, dropped = tokenizer.padded("word " * count, max_tokens=max_tokens)
    assert dropped == max(0, count - max_tokens)
    chunks = [ids[start : start + 77] for start in range(0, len(ids), 77)]
    assert [len(chunk) for chunk in chunks] == [77] * (max_tokens // 75)
    assert all(chunk[0] == BEGIN_ID and chunk[-1] == END_ID for chunk in chunks)
    body = [number for chunk in chunks for number in chunk[1:-1]]
    assert body == (words[:max_tokens] + [END_ID] * max_tokens)[:max_tokens]


@pytest.mark.parametrize(
    ("count", "max_tokens", "expected"),
    [
        (2, 75, ["B", 2, "E", 73 * "P", ""]),
        (75, 75, ["B", 75, "E", "", ""]),
        (2, 150, ["B", 2, "E", 73 * "P", "B", "E", 75 * "P"]),
        (75, 150, ["B", 75, "E", "", "B", "E", 75 * "P"]),
        (76, 150, ["B", 75, "E", "", "B", 1, "E", 74 * "P"]),
        (150, 150, ["B", 75, "E", "", "B", 75, "E", ""]),
    ],
)
def test_chunks_of_a_text_padded_with_another_token(
    count: int, max_tokens: int, expected: list[object]
) -> None:
    """The second encoder of SDXL pads with id 0; each chunk has one end token, an empty one at its start."""
    tokenizer = clip_tokenizer().with_pad(0)
    word = tokenizer.encode("word")
    marks = {"B": [BEGIN_ID], "E": [END_ID]}
    wanted: list[int] = []
    for item in expected:
        wanted += word * item if isinstance(item, int) else marks.get(str(item), [0] * str(item).count("P"))
    ids, _ = tokenizer.padded("word " * count, max_tokens=max_tokens)
    assert ids == wanted


def test_a_tokenizer_of_ones_own_works_like_clips() -> None:
    symbols = list(byte_symbols().values())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), "ca", "cat</w>", BEGIN, END]
    table = {"vocab": {token: number for number, token in enumerate(tokens)}, "merges": ["c a", "ca t</w>"]}
    for value in (table, json.dumps(table), {**table, "merges": [["c", "a"], ["ca", "t</w>"]]}):
        tokenizer = tokenizer_from(value, "test")
        cat, c, a, r = (table["vocab"][token] for token in ("cat</w>", "c", "ca", "r</w>"))
        assert tokenizer.encode("Cat  car") == [cat, a, r]
        assert c != a
        ids, dropped = tokenizer.padded("cat")
        assert (ids[:3], dropped, len(ids)) == ([514, cat, 515], 0, 77)


def test_an_unknown_piece_becomes_the_end_token_as_in_clip() -> None:
    tokenizer = ClipTokenizer({"a</w>": 0, BEGIN: 1, END: 2}, [])
    assert tokenizer.encode("a b") == [0, 2]


@pytest.mark.parametrize("letters", ["ab", "aeiou", "abcdefghijklmnopqrstuvwxyz"])
def test_a_word_of_thousands_of_letters_gets_the_same_ids_too(letters: str) -> None:
    text = "".join(random.Random(4).choices(letters, k=2000))
    assert [BEGIN_ID, *clip_tokenizer().encode(text), END_ID] == TRANSFORMERS(
        text, truncation=False
    ).input_ids

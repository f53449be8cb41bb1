"""Captions are trained as written unless asked otherwise, and what is asked is repeatable."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.dataset.captions import (
    WarmUp,
    caption_candidates,
    caption_rng,
    compose_caption,
    decode_caption,
    guess_encoding,
    item_caption,
    showing_caption,
    warm_up_of,
)
from maquette.dataset.config import SubsetOptions
from tests.dataset.making import fake_items

PARTS = st.lists(
    st.text(st.characters(exclude_characters=",\n\r", codec="utf-8"), max_size=8), min_size=1, max_size=8
)


@given(st.text())
def test_without_shuffling_the_text_is_untouched(text: str) -> None:
    assert compose_caption(text, keep_tokens=2, shuffle=False) == text


@given(PARTS, st.integers(0, 9), st.integers(0, 99))
def test_shuffling_keeps_the_leading_parts_and_loses_none(parts: list[str], keep: int, seed: int) -> None:
    stripped = [part.strip() for part in ",".join(parts).strip().split(",")]
    shuffled = compose_caption(",".join(parts), keep, True, rng=caption_rng(seed, 0, 0)).split(", ")
    assert shuffled[:keep] == stripped[:keep]
    assert sorted(shuffled) == sorted(stripped)


def test_shuffling_depends_on_seed_epoch_and_item() -> None:
    options = SubsetOptions(shuffle_caption=True)
    items = fake_items([(64, 64)] * 30, options)
    first = [item_caption(item, seed=1, epoch=0) for item in items]
    assert first == [item_caption(item, seed=1, epoch=0) for item in items]
    assert len(set(first)) > 5
    assert first != [item_caption(item, seed=1, epoch=1) for item in items]
    assert first != [item_caption(item, seed=2, epoch=0) for item in items]


def test_a_separator_marks_what_stays_in_front_and_at_the_end() -> None:
    text = "sks, dog ||| a, b, c ||| sharp, clear"
    seen = {
        compose_caption(text, 0, True, rng=caption_rng(seed, 0, 0), keep_tokens_separator="|||")
        for seed in range(40)
    }
    assert len(seen) == 6
    assert all(caption.startswith("sks, dog, ") and caption.endswith(", sharp, clear") for caption in seen)


def caption(text: str, epoch: int = 0, seed: int = 0, **options: object) -> str:
    return showing_caption(text, SubsetOptions(**options), epoch, caption_rng(seed, epoch, 0))  # type: ignore[arg-type]


def test_prefix_and_suffix_stand_around_the_caption() -> None:
    assert caption("a dog", caption_prefix="sks", caption_suffix="photo") == "sks a dog photo"


def test_only_the_first_line_is_trained() -> None:
    assert caption("first\nsecond") == "first"


def test_parts_joined_by_the_secondary_separator_stay_together() -> None:
    seen = {
        caption("a;b, c, d", seed=seed, shuffle_caption=True, secondary_separator=";") for seed in range(20)
    }
    assert len(seen) > 2
    assert all("a,b" in text for text in seen)


def test_dropout_is_by_share_and_by_epoch() -> None:
    dropped = [caption("a", seed=seed, caption_dropout_rate=0.25) == "" for seed in range(400)]
    assert 60 < sum(dropped) < 140
    by_epoch = [caption("a", epoch=epoch, caption_dropout_every_n_epochs=3) for epoch in range(6)]
    assert by_epoch == ["a", "a", "", "a", "a", ""]


def test_tags_are_dropped_except_the_kept() -> None:
    texts = [caption("k, a, b", seed=seed, keep_tokens=1, caption_tag_dropout_rate=0.5) for seed in range(60)]
    assert set(texts) == {"k", "k, a", "k, b", "k, a, b"}


def test_a_warm_up_shows_ever_more_parts_and_always_those_that_are_kept() -> None:
    options = SubsetOptions(keep_tokens=1, token_warmup_min=2, token_warmup_step=8)
    counts = []
    for step in range(12):
        text = showing_caption(
            "k, a, b, c, d, e", options, 0, caption_rng(0, 0, 0), warm_up_of(options, step, 20)
        )
        assert text == ", ".join(["k", "a", "b", "c", "d", "e"][: len(text.split(", "))])
        counts.append(len(text.split(", ")) - 1)
    assert counts == [math.floor(step * ((5 - 2) / 8)) + 2 for step in range(8)] + [5] * 4


def test_a_warm_up_below_one_is_a_share_of_all_steps() -> None:
    half = SubsetOptions(token_warmup_step=0.5)
    assert warm_up_of(half, 3, 21) == WarmUp(1, 10, 3)
    assert warm_up_of(SubsetOptions(), 3, 21) is None
    assert warm_up_of(SubsetOptions(token_warmup_step=0.01), 0, 21) is None


def test_a_prefix_goes_to_the_first_line_and_a_suffix_to_the_last_of_a_wildcard() -> None:
    seen = {
        caption("a\nb\nc", seed=seed, enable_wildcard=True, caption_prefix="P", caption_suffix="S")
        for seed in range(30)
    }
    assert seen == {"P a", "b", "c S"}, "as sd-scripts, which adds both before it chooses"


def test_a_dropped_caption_is_empty_whatever_stands_around_it() -> None:
    assert caption("a", caption_prefix="P", caption_suffix="S", caption_dropout_rate=1.0) == ""


def test_a_separator_in_the_prefix_holds_the_prefix_in_front() -> None:
    seen = {
        caption("a, b", seed=seed, caption_prefix="k |||", keep_tokens_separator="|||", shuffle_caption=True)
        for seed in range(20)
    }
    assert seen == {"k, a, b", "k, b, a"}


def test_wildcards_choose_a_line_and_a_word_and_leave_doubled_braces() -> None:
    seen = {caption("{red|blue} hat\n{{plain}}", seed=seed, enable_wildcard=True) for seed in range(40)}
    assert seen == {"red hat", "blue hat", "{plain}"}


@pytest.mark.parametrize(
    ("data", "text", "left_out"),
    [
        (b" a dog \n", "a dog", 0),
        (b"a\r\nb\rc\n", "a", 2),
        (b"\n\na", "", 1),
        (b"", "", 0),
        ("﻿caf\u00e9".encode(), "caf\u00e9", 0),
    ],
)
def test_a_caption_file_is_its_first_line(data: bytes, text: str, left_out: int) -> None:
    read = decode_caption(data)
    assert (read.text, read.lines_left_out) == (text, left_out)


def test_all_lines_are_read_for_wildcards() -> None:
    assert decode_caption(b"a\n\n b \n", all_lines=True).text == "a\nb"


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("a caf\u00e9, na\u00efve style", "cp1252", "Windows-1252"),
        (
            "\u8d64\u3044\u9aea\u306e\u5973\u306e\u5b50\u3001\u7acb\u3063\u3066\u3044\u308b",
            "cp932",
            "Shift JIS",
        ),
        ("\uac15\uc544\uc9c0 \uc0ac\uc9c4, \uc2e4\ub0b4", "euc_kr", "EUC-KR"),
        ("a dog", "utf-16", "UTF-16"),
        ("a dog", "utf-16-le", "UTF-16"),
    ],
)
def test_other_encodings_are_refused_and_named(text: str, codec: str, name: str) -> None:
    data = text.encode(codec)
    with pytest.raises(UnicodeDecodeError):
        decode_caption(data)
    assert guess_encoding(data) == name


def test_face_crops_may_share_their_pictures_caption() -> None:
    folder = Path("some_long_folder_name_here")
    assert caption_candidates(folder / "a_10_20_30_40.png", ".txt") == [
        folder / "a_10_20_30_40.txt",
        folder / "a.txt",
    ]
    assert caption_candidates(folder / "a_b.png", ".txt") == [folder / "a_b.txt"]


def test_repeats_of_one_picture_are_captioned_apart() -> None:
    item = fake_items([(64, 64)], SubsetOptions(shuffle_caption=True))[0]
    seen = {item_caption(replace(item, index=index, repeat=index), 0, 0) for index in range(20)}
    assert len(seen) > 1

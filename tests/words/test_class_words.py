"""The class word takes the trigger's place, and nothing else of the caption changes."""

from __future__ import annotations

import pytest

from maquette.words.class_words import class_caption, with_article


def test_the_article_fits_the_word() -> None:
    assert with_article("dog") == "a dog"
    assert with_article("anime character") == "an anime character"
    assert with_article("the old man") == "the old man"
    assert with_article("1girl, solo") == "1girl, solo"


@pytest.mark.parametrize(
    ("caption", "class_word", "expected"),
    [
        ("zkw", "dog", "a dog"),
        ("zkw dog", "dog", "a dog"),
        ("ZKW dog, on grass", "dog", "a dog, on grass"),
        ("zkw, on grass", "dog", "a dog, on grass"),
        ("photo of a zkw dog in the snow", "dog", "photo of a dog in the snow"),
        ("photo of zkw in the snow", "old man", "photo of an old man in the snow"),
        ("photo of a zkw", "old man", "photo of an old man"),
        ("the zkw dog sleeps", "dog", "the dog sleeps"),
        ("zkw, 1girl, standing", "1girl", "1girl, standing"),
        ("1girl, zkw, standing", "1girl", "1girl, standing"),
        ("standing, zkw", "dog", "standing, a dog"),
        ("zkw looks at zkw", "dog", "a dog looks at a dog"),
    ],
)
def test_the_class_word_takes_the_triggers_place(caption: str, class_word: str, expected: str) -> None:
    assert class_caption(caption, "zkw", class_word) == expected


@pytest.mark.parametrize("caption", ["a dog, on grass", "zkws dog", "zkw_fox, on grass", ""])
def test_a_caption_without_the_trigger_has_no_class_caption(caption: str) -> None:
    assert class_caption(caption, "zkw", "dog") is None


def test_without_trigger_or_class_word_there_is_none() -> None:
    assert class_caption("zkw dog", "", "dog") is None
    assert class_caption("zkw dog", "zkw", "") is None

"""Emphasis is read as sd-scripts reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.words.emphasis import ROUND, SQUARE, emphasised

TABLE = {
    "normal text": [("normal text", 1.0)],
    "": [("", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unbalanced": [("unbalanced", 1.1)],
    r"\(literal\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0),
        ("house", 1.5730000000000004),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641000000000006),
        (".", 1.1),
    ],
    "[less] more": [("less", SQUARE), (" more", 1.0)],
    "time 12:30) and (x:.5)": [("time 12:30) and ", 1.0), ("x", 0.5)],
    "(a:-1)": [("a", -1.0)],
    "closed] early)": [("closed] early)", 1.0)],
    "back\\slash": [("backslash", 1.0)],
    r"saber \(fate\)": [("saber (fate)", 1.0)],
}
"""What sd-scripts 48d368fa's parser says of these texts: its own examples, and cases of its signs."""


@pytest.mark.parametrize("text", TABLE, ids=range(len(TABLE)))
def test_a_text_has_the_weights_of_sd_scripts(text: str) -> None:
    assert [words for words, _ in emphasised(text)] == [words for words, _ in TABLE[text]]
    assert [weight for _, weight in emphasised(text)] == pytest.approx([w for _, w in TABLE[text]], rel=1e-15)


@given(
    st.text(st.characters(exclude_characters="()[]:\\"), max_size=30), st.integers(0, 4), st.integers(0, 4)
)
def test_brackets_multiply_and_take_no_letter(text: str, rounds: int, squares: int) -> None:
    wrapped = "(" * rounds + "[" * squares + text + "]" * squares + ")" * rounds
    ((words, weight),) = emphasised(wrapped)
    assert words == text
    assert not text or weight == pytest.approx(ROUND**rounds * SQUARE**squares)


@given(st.text("ab()[]:.\\1, ", max_size=40))
def test_any_text_is_read(text: str) -> None:
    read = "".join(words for words, _ in emphasised(text))
    assert [letter for letter in read if letter in "ab,"] == [letter for letter in text if letter in "ab,"]

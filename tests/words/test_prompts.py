"""Laws of brackets in prompts: what a drawing program is told means what our own text encoder reads."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.words.prompts import escaped, escaped_for_webui, literal

PROMPTS = st.text(alphabet="a ,:1\\()[]{}é", max_size=30)


def read_elsewhere(text: str, emphasis: str) -> str:
    """Return what a program reads of an escaped prompt; every plain bracket of `emphasis` would open or close one."""
    brackets = re.escape(emphasis)
    assert not re.search(rf"(?<!\\)[{brackets}]", text), f"{text!r} has a bracket that means emphasis"
    return re.sub(rf"\\([{brackets}])", r"\1", text)


@pytest.mark.parametrize(
    ("given", "told", "read"),
    [
        ("asuka_(evangelion)", r"asuka_\(evangelion\)", "asuka_(evangelion)"),
        (r"asuka_\(evangelion\), red", r"asuka_\(evangelion\), red", "asuka_(evangelion), red"),
        ("boots (red, gold and white)", r"boots \(red, gold and white\)", "boots (red, gold and white)"),
        (r"a (b) \(c\)", r"a \(b\) \(c\)", "a (b) (c)"),
        ("((x:1.2))", r"\(\(x:1.2\)\)", "((x:1.2))"),
        (":( smile", r":\( smile", ":( smile"),
        (r"\\\\(twice\\\\)", r"\(twice\)", "(twice)"),
        ("a [b]", "a [b]", "a [b]"),
        ("plain words", "plain words", "plain words"),
        (r"a\b", r"a\b", r"a\b"),
    ],
)
def test_brackets_stand_for_themselves(given: str, told: str, read: str) -> None:
    assert (escaped(given), literal(given)) == (told, read)


def test_square_brackets_are_emphasis_in_the_web_uis_alone() -> None:
    assert escaped_for_webui("a [b] (c)") == r"a \[b\] \(c\)"
    assert escaped(escaped_for_webui("a [b] (c)")) == r"a [b] \(c\)"


@given(PROMPTS)
def test_escaping_twice_is_escaping_once(text: str) -> None:
    assert escaped(escaped(text)) == escaped(text)
    assert escaped_for_webui(escaped_for_webui(text)) == escaped_for_webui(text)


@given(PROMPTS)
def test_a_drawing_program_reads_what_our_text_encoder_reads(text: str) -> None:
    assert read_elsewhere(escaped(text), "()") == literal(text)
    assert read_elsewhere(escaped_for_webui(text), "()[]") == literal(text)

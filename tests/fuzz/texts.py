"""Ways to damage a text of settings or records, drawn with a fixed seed: what the format allows and nobody expects."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests.fuzz.damage import damaged

DEEP = 5000
MORE_DIGITS_THAN_ARE_READ = 4400

PLAIN = (
    "null", "true", "false", "[]", "{}", "[[]]", "[{}]", '""', '" "', "0", "-1", "1.5", "[null]", "[1, \"a\", {}]",
    '{"a": 1}', '{"a": null}', '{"": ""}', '"abc"', "abc", "~", "''", '"null"', "[true]", '["", ""]', "[0]", "[-1, 0]",
)  # fmt: skip
"""Values of another shape than the one expected."""

NUMBERS = (
    "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "nan", "inf", "-inf", ".nan", "-.inf", '"1e999"', '"nan"', '"-inf"',
    "9" * MORE_DIGITS_THAN_ARE_READ, f'"{"9" * MORE_DIGITS_THAN_ARE_READ}"', f"0x{'f' * MORE_DIGITS_THAN_ARE_READ}",
    f"1.{'0' * MORE_DIGITS_THAN_ARE_READ}", f"1e{'9' * 40}", "18446744073709551616", "18446744073709551615",
    "9223372036854775808", "-9223372036854775809", "4294967296", "1e308", "-0.0", "5e-324", "[1e999]", "[9223372036854775808]",
    '"٣"', '"1_000"', "1_000", "0b1", "0o7", "1:30",
)  # fmt: skip

TEXTS = (
    r'"\ud800"', r'"\udfff and so on"', r'"\u0000"', r'"a\u0000b"', '"a\0b"', r'"\u001b]0;title\u0007\u001b[2J"',
    r'"\u202egnp.exe"', '"\x1b[2J"', '"../../../victim"', '"/victim"', r'"C:\\victim"', '"~/x"', '"."', '".."', '"/"',
    r'"line\nline"', r'"line\rline"', r'"\u2028"', '"' + "x" * 20_000 + '"', '"' + "ä" * 300 + '"', '"(((((((((("',
    '"(a+)+$"', '"%s%n{0}{x}"', '"\U0001f98a"', "2001-02-30", '"2001-02-30"', "2001-02-28", "2001-02-28T25:00:00", "10:99:99",
    '"con"', r'["\ud800"]', r'{"\ud800": 1}', r'{"a\u0000b": 1}',
)  # fmt: skip

DEPTHS = (
    "[" * DEEP + "]" * DEEP, "[" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, "{a=" * DEEP + "1" + "}" * DEEP, "- " * DEEP,
    "[{" * DEEP, "(" * DEEP, "$(" * DEEP, "`" * DEEP, '"' * DEEP, "&a " * 99, "${" * DEEP, "a." * DEEP + "b = 1", "*a", "<<: *a",
    "&a [*a, *a]", "!!python/object/apply:os.system ['true']", "!!binary x", "!!set {a, b}",
)  # fmt: skip

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine lines of YAML that mean 400 million texts."""

WHOLES: tuple[bytes, ...] = (
    b"", b"\n", b" ", b"\0", b"\xff", b"null", b"[]", b"{}", b"1", b'"text"', b"true", b"---\n", b"---\n---\n", b"[1]\n", b"[[1]]",
    b"\xef\xbb\xbf", b"\xff\xfe", b"{}\n{}\n", b"{", b"}", b"[", b"=", b"a =", b"a = 1\na = 2\n", b"[a]\n[a]\n", b"a: 1\na: 2\n",
    b'{"a": 1, "a": 2}', b"\x80\x04\x95", b"PK\x03\x04", b"MZ", b"<!doctype html><html>", b"version https://git-lfs.github.com",
    BOMB.encode(), *(text.encode() for text in DEPTHS), b"\t", b"a:\n\t- b", b"%YAML 9.9\n---\n", b"\\", b"\r", b"#", b"NaN",
)  # fmt: skip
"""Files that hold nothing of what belongs there."""

SNIPPETS = (PLAIN, PLAIN, NUMBERS, TEXTS, DEPTHS)
TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[\w./+-]+')
GROUP = re.compile(r"\[[^\[\]]*\]|\{[^{}]*\}")


def spoiled(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return `data` after damage to its bytes or to what they say."""
    if rng.random() < 0.1:
        return rng.choice(WHOLES)
    if rng.random() < 0.2:
        return damaged(data, others, rng)
    text = data.decode()
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(KINDS)(text, rng)
    return _encoded(text, rng)


def _value(text: str, rng: random.Random) -> str:
    """Put another value in the place of one."""
    return _replaced(text, TOKEN, rng)


def _group(text: str, rng: random.Random) -> str:
    """Put another value in the place of a list or table."""
    return _replaced(text, GROUP, rng)


def _replaced(text: str, what: re.Pattern[str], rng: random.Random) -> str:
    found = list(what.finditer(text))
    if not found:
        return text + rng.choice(rng.choice(SNIPPETS))
    at = rng.choice(found)
    return text[: at.start()] + rng.choice(rng.choice(SNIPPETS)) + text[at.end() :]


def _line_of_anything(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(rng.choice(SNIPPETS)))
    return "\n".join(lines)


def _line_twice(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    lines.insert(rng.randrange(len(lines) + 1), lines[at] + rng.choice(("", ",")))
    return "\n".join(lines)


def _without_a_line(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    del lines[rng.randrange(len(lines))]
    return "\n".join(lines)


def _without_a_piece(text: str, rng: random.Random) -> str:
    start = rng.randrange(len(text) + 1)
    return text[:start] + text[start + rng.randrange(1, 40) :]


KINDS: tuple[Callable[[str, random.Random], str], ...] = (
    _value, _value, _value, _value, _group, _group, _line_of_anything, _line_twice, _without_a_line, _without_a_piece,
)  # fmt: skip


def _encoded(text: str, rng: random.Random) -> bytes:
    how = rng.random()
    if how < 0.03:
        return text.encode("utf-16")
    if how < 0.06:
        return text.encode("utf-8-sig")
    return text.encode("latin-1", errors="replace") if how < 0.08 else text.encode()

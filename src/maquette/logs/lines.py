"""The lines of a log of any size, any encoding.

Progress bars return to the line's start (\\r) instead of ending it, so a line of the file may hold hundreds of steps;
line numbers count as editors and grep do, by \\n.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

LONGEST_LINE = 4096

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b\x0c\x0e-\x1f]")


def encoding_of(start: bytes) -> str:
    """Return the encoding that a file's first bytes speak for."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig" if start.startswith(b"\xef\xbb\xbf") else "utf-8"


def log_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of every piece between line ends and returns, without colour codes; empty ones left out."""
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4))
    with path.open(encoding=encoding, errors="replace", newline="") as file:
        number, rest = 1, ""
        for block in _blocks(file):
            *whole, rest = re.split(r"(\r\n|\n|\r)", rest + block)
            for text, end in zip(whole[::2], whole[1::2], strict=True):
                yield from _cleaned(number, text)
                number += end != "\r"
        yield from _cleaned(number, rest)


def _blocks(file: IO[str]) -> Iterator[str]:
    """Yield pieces of the text; none ends between \\r and \\n."""
    while block := file.read(1 << 20):
        while block.endswith("\r") and (more := file.read(1)):
            block += more
        yield block


def _cleaned(number: int, text: str) -> Iterator[tuple[int, str]]:
    clean = _ESCAPES.sub("", text[:LONGEST_LINE]).rstrip()
    if clean:
        yield number, clean

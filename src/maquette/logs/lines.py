"""The lines of a log of any size, any encoding, within bounds of time and memory.

Progress bars return to the line's start (\\r) instead of ending it, so a line of the file may hold hundreds of steps;
line numbers count as editors and grep do, by \\n. Of a log that is larger than the bounds its beginning and its end are
read: the settings stand in one, what ended the run in the other.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from maquette.errors import ConfigError, Problem

LONGEST_LINE = 16_384
HEAD_BYTES = 2 << 20
TAIL_BYTES = 8 << 20
MOST_HEAD_LINES = 20_000
MOST_TAIL_LINES = 60_000
MOST_BYTES = 4 << 30
"""Of a larger file not even the lines are counted."""
BLOCK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 16
MOST_CONTROLS = 0.02
"""Text holds hardly any control characters but line ends, tabs, backspaces and escapes."""

_ESCAPES = re.compile(
    r"\x1b\[[0-9;?]{0,40}[A-Za-z]|\x1b\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
_LINE_END = re.compile(r"(\r\n|\n|\r)")
_CONTROLS = bytes(set(range(32)) - {8, 9, 10, 12, 13, 27})


def encoding_of(start: bytes) -> str:
    """Return the encoding that a file's first bytes speak for; PowerShell's `>` writes UTF-16."""
    if start.startswith(b"\xff\xfe"):
        return "utf-16-le"
    if start.startswith(b"\xfe\xff"):
        return "utf-16-be"
    is_bare = len(start) >= 8 and not any(start[1:64:2]) and all(start[0:64:2])
    return "utf-16-le" if is_bare else "utf-8"


def is_binary(start: bytes) -> bool:
    """Tell whether a file that begins with `start` holds no text."""
    if encoding_of(start).startswith("utf-16"):
        return False
    controls = len(start) - len(start.translate(None, _CONTROLS))
    return controls > 4 and controls > MOST_CONTROLS * len(start)


class LogLines:
    """Yields (line number, text) of every piece between line ends and returns, without colour codes; empty ones left out.

    `skipped` says afterwards, in words, what lay beyond the bounds. Raises ConfigError for a file that is no text or
    too large.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped: list[str] = []
        self._cut_lines = 0

    def __iter__(self) -> Iterator[tuple[int, str]]:
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            encoding = self._accepted(file.read(SAMPLE_BYTES), size)
            tail_at, number = _tail_start(file, size, encoding), 1
            if tail_at:
                file.seek(0)
                head = _whole_lines(file.read(min(tail_at, HEAD_BYTES)), encoding)
                for number, text in self._pieces(head, encoding, 1):
                    yield from _cleaned(number, text)
                number = self._skip(file, len(head), tail_at, number, size)
            file.seek(tail_at)
            for at, text in self._pieces(file.read(TAIL_BYTES), encoding, number):
                yield from _cleaned(at, text)
        if self._cut_lines:
            self.skipped.append(
                f"what stands beyond character {LONGEST_LINE:,} of {self._cut_lines:,} very long line"
                + "s" * (self._cut_lines > 1)
            )

    def _skip(self, file: BinaryIO, start: int, end: int, number: int, size: int) -> int:
        """Count the lines from byte `start`, in line `number`, to byte `end`; return the number of the line there."""
        file.seek(start)
        count = 0
        for at in range(start, end, BLOCK_BYTES):
            count += file.read(min(BLOCK_BYTES, end - at)).count(b"\n")
        if start < end:
            lines = (
                f"lines {number:,} to {number + count - 1:,}" if count else f"the middle of line {number:,}"
            )
            self.skipped.append(f"{lines} ({(end - start) / 1e6:,.1f} MB of {size / 1e6:,.1f})")
        return number + count

    def _accepted(self, start: bytes, size: int) -> str:
        """Return the encoding of a file whose content is a log's; raise ConfigError for what is none."""
        where, required = str(self.path), "a training log: text"
        if is_binary(start):
            remedy = "Give the file that the trainer's messages were written to."
            raise ConfigError(Problem(where, "binary data, no text", required, remedy))
        if size > MOST_BYTES:
            remedy = f"Cut its end off and give that: tail -c 8000000 {self.path.name} > end.log"
            given = f"a file of {size / 2**30:,.0f} GiB"
            raise ConfigError(Problem(where, given, f"at most {MOST_BYTES >> 30} GiB", remedy))
        return encoding_of(start)

    def _pieces(self, data: bytes, encoding: str, number: int) -> Iterator[tuple[int, str]]:
        """Yield (number, text) of the pieces of `data`, the first counted as `number`."""
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        rest = ""
        for at in range(0, len(data), BLOCK_BYTES):
            is_last = at + BLOCK_BYTES >= len(data)
            block = decoder.decode(data[at : at + BLOCK_BYTES], final=is_last)
            # A return at a block's end may be the first half of a line's end.
            held = "\r" if block.endswith("\r") and not is_last else ""
            *whole, rest = _LINE_END.split(rest + block.removesuffix(held))
            for text, end in zip(whole[::2], whole[1::2], strict=True):
                yield number, self._cut(text)
                number += end != "\r"
            rest = rest[: LONGEST_LINE + 1] + held
        yield number, self._cut(rest)

    def _cut(self, text: str) -> str:
        self._cut_lines += len(text) > LONGEST_LINE
        return text[:LONGEST_LINE]


def _tail_start(file: BinaryIO, size: int, encoding: str) -> int:
    """Return where the end that is read begins: at a line's start where one is near, an even byte for UTF-16."""
    start = max(0, size - TAIL_BYTES)
    file.seek(start)
    tail = file.read(TAIL_BYTES)
    while tail.count(b"\n") + tail.count(b"\r") > MOST_TAIL_LINES:
        start += len(tail) // 2
        tail = tail[len(tail) // 2 :]
    if not start:
        return 0
    if encoding.startswith("utf-16"):
        return start + start % 2
    next_line = tail.find(b"\n") + 1
    return start + next_line if next_line < len(tail) else start


def _whole_lines(head: bytes, encoding: str) -> bytes:
    """Return the beginning of `head` that holds no more than the bound's lines and ends with a line's end, if it has one."""
    line_end = "\n".encode(encoding)
    most = len(head)
    while head[:most].count(b"\n") + head[:most].count(b"\r") > MOST_HEAD_LINES:
        most = most // 4 * 2
    end = head.rfind(line_end, 0, most) + len(line_end)
    return head[:end] if end >= len(line_end) else head[:most]


def _cleaned(number: int, text: str) -> Iterator[tuple[int, str]]:
    clean = _ESCAPES.sub("", text).removeprefix("\ufeff").rstrip()
    if clean:
        yield number, clean

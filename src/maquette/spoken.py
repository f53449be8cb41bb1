"""Numbers in the words of people: counts, sizes on disk, sizes of memory, durations; and texts that are safe to show."""

from __future__ import annotations

import re

GIB, MIB = 2**30, 2**20


def counted(number: int, noun: str) -> str:
    """Return `1 picture`, `1,200 pictures`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def disk_size(num_bytes: float) -> str:
    """Return bytes as disks count them, in powers of ten: `12 bytes`, `1.2 MB`, `151 MB`, `6.9 GB`."""
    amount = float(num_bytes)
    for unit in ("bytes", "KB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def memory_size(num_bytes: float) -> str:
    """Return bytes as memory is counted, in powers of two: a card sold with 16 GB has `16.0 GiB`."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= 0.95 * GIB else f"{num_bytes / MIB:.0f} MiB"


def duration(seconds: float) -> str:
    """Return `48 s`, `3 min 20 s` or `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # what terminals obey; line ends and tabs stay
    "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"  # turns or hides what stands beside it
    "\u2028\u2029\ud800-\udfff]"  # line ends in disguise, halves of characters
)


def printable(text: str) -> str:
    """Return `text` with every character escaped that a terminal obeys, that reorders a line or that nobody can print.

    Names, captions and metadata come from strangers: one could set the window's title, clear the screen or show another
    ending than the file has. A byte of a name that is not UTF-8 becomes `\\xff`.
    """
    return _UNSAFE.sub(_escaped, text)


_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@?#]*):[^\s'\"]*@", re.IGNORECASE)
_QUERIED = re.compile(r"([a-z][a-z0-9+.-]*://[^\s'\"]*[?&](?:ssl)?password=)[^\s'\"&]*", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """Return `text` with the passwords of the addresses in it left out: `postgresql://me@there/studies`."""
    return _QUERIED.sub(r"\1…", _PASSWORD.sub(r"\1@", text))


def has_password(url: str) -> bool:
    """Return whether an address says a password."""
    return without_passwords(url) != url


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte that was not UTF-8, as Python keeps it in a name
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

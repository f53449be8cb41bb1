"""Ways to damage a file, drawn with a fixed seed: what transport, disks and ill will do to bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

TELLING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
"""Values at which lengths, counts and signs turn over."""


def damaged(data: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """Return `data` after one to three kinds of damage; `others` lend pieces. Never longer than three times both."""
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(KINDS)(data, rng.choice(others), rng) if data else data
    return data


def _cut(data: bytes, _: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _without_beginning(data: bytes, _: bytes, rng: random.Random) -> bytes:
    return data[rng.randrange(min(64, len(data))) :]


def _bits(data: bytes, _: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 12)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _bytes(data: bytes, _: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] = rng.choice(TELLING)
    return bytes(changed)


def _number(data: bytes, _: bytes, rng: random.Random) -> bytes:
    """Put a telling number of two or four bytes somewhere near the beginning, where sizes stand."""
    width = rng.choice((2, 4))
    value = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)) & ((1 << 8 * width) - 1)
    at = rng.randrange(min(200, len(data)))
    return data[:at] + value.to_bytes(width, rng.choice(("big", "little"))) + data[at + width :]


def _zeros(data: bytes, _: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randint(1, 64))
    return data[:start] + bytes(stop - start) + data[stop:]


def _twice(data: bytes, _: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randint(1, 128)]
    return data[:start] + piece + data[start:]


def _piece_of_another(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at, start = rng.randrange(len(data)), rng.randrange(max(1, len(other)))
    return data[:at] + other[start : start + rng.randint(1, 128)] + data[at:]


def _end_of_another(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))] + other[rng.randrange(max(1, len(other))) :]


KINDS: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    _cut,
    _without_beginning,
    _bits,
    _bits,
    _bytes,
    _bytes,
    _number,
    _number,
    _zeros,
    _twice,
    _piece_of_another,
    _end_of_another,
)

"""Perceptual hashes of pictures, and finding the pictures that are alike, or mirrored, among very many.

The two hashes are imagehash's `dhash` and `phash` of an area-averaged picture: changes of size, compression and
brightness leave them nearly alone. As hex strings of 64 bits, 16 digits. A hash only proposes a pair: flat drawings
share hashes though they differ, so a 16×16 thumbnail decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maquette.dataset.measures import NEAR_BITS, NEAR_MAX, NEAR_MEAN, Measures

Pixels = NDArray[np.uint8]
Hashes = NDArray[np.uint64]

HASHED_PX = 128
DCT_PX = 32
LOW_PX = 8
BLOCK = 4_000_000
"""Comparisons at once: 32 MB."""

MIRROR_MEAN, MIRROR_MAX = 4.0, 30
"""Stricter for mirror images, so that a left and a right view drawn with their details right are none."""
MIRROR_GAIN = 0.5
"""Mirroring must halve the difference at least: symmetrical pictures are like their mirror images anyway."""
MIRROR_MIN = 0.8


def _dct_rows() -> NDArray[np.float64]:
    """Return the first eight rows of the 32-point DCT-II, as scipy and imagehash scale it (factor 2)."""
    k, n = np.arange(LOW_PX)[:, None], np.arange(DCT_PX)[None, :]
    return np.asarray(2 * np.cos(np.pi * k * (2 * n + 1) / (2 * DCT_PX)))


DCT_ROWS = _dct_rows()
TURNS = np.where(np.arange(LOW_PX) % 2, -1.0, 1.0)  # mirroring turns the sign of the odd waves


@dataclass(frozen=True)
class Pair:
    """Two pictures by their index, first < second, and how far their thumbnails differ (0 to 255)."""

    first: int
    second: int
    difference: float


def hashed(grey_HW: Pixels) -> Pixels:
    """Return a grey picture at 128×128, from which both hashes are made; one of that size as it is."""
    if grey_HW.shape == (HASHED_PX, HASHED_PX):
        return grey_HW
    shrinks = min(grey_HW.shape) >= HASHED_PX
    filter_ = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey_HW, (HASHED_PX, HASHED_PX), interpolation=filter_), np.uint8)


def difference_hash(grey_HW: Pixels) -> str:
    """Return the 64-bit difference hash of a grey picture, best one that is `hashed` already."""
    small = cv2.resize(hashed(grey_HW), (LOW_PX + 1, LOW_PX), interpolation=cv2.INTER_AREA)
    return _hex(small[:, 1:] > small[:, :-1])


def perceptual_hashes(grey_HW: Pixels) -> tuple[str, str]:
    """Return the 64-bit DCT hash of a grey picture, best one that is `hashed` already, and that of its mirror image."""
    small = cv2.resize(hashed(grey_HW), (DCT_PX, DCT_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
    low = np.round(DCT_ROWS @ small @ DCT_ROWS.T, 6)  # waves that are absent are 0, not the last bit's chance
    mirrored = low * TURNS
    return _hex(low > np.median(low)), _hex(mirrored > np.median(mirrored))


def _hex(bits: NDArray[np.bool_]) -> str:
    return np.packbits(bits.ravel()).tobytes().hex()


def hamming(first: str, second: str) -> int:
    """Return in how many bits two hashes differ, 0 to 64."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def near_pairs(hashes: Sequence[str], max_distance: int) -> Iterator[tuple[int, int, int]]:
    """Yield (i, j, bits) with i < j for hashes that differ in at most `max_distance` bits, ordered by i, then j.

    Compares all pairs, four million at a time: 100,000 hashes take some seconds and 100 MB at the most.
    """
    values = _numbers(hashes)
    yield from _close(values, values, max_distance)


def mirrored_pairs(
    hashes: Sequence[str], mirrored: Sequence[str], max_distance: int
) -> Iterator[tuple[int, int, int]]:
    """Yield the same for hashes that are near the mirrored hash of another; `mirrored[i]` belongs to `hashes[i]`."""
    yield from _close(_numbers(mirrored), _numbers(hashes), max_distance)


def near_duplicates(measures: Sequence[Measures], *, max_bits: int = NEAR_BITS) -> Iterator[Pair]:
    """Yield the pairs that show the same but for size, compression, a slight crop or tone; byte-equal ones too."""
    for first, second, _ in near_pairs([one.perceptual_hash for one in measures], max_bits):
        mean, largest = _difference(_pixels(measures[first]), _pixels(measures[second]))
        if mean <= NEAR_MEAN and largest <= NEAR_MAX:
            yield Pair(first, second, mean)


def mirror_images(measures: Sequence[Measures], *, max_bits: int = NEAR_BITS) -> Iterator[Pair]:
    """Yield the pairs of which one shows the other mirrored; not pictures that look the same either way."""
    hashes, mirrored = [one.perceptual_hash for one in measures], [one.mirrored_hash for one in measures]
    for first, second, _ in mirrored_pairs(hashes, mirrored, max_bits):
        one, other = _pixels(measures[first]), _pixels(measures[second])
        mean, largest = _difference(one[:, ::-1], other)
        plain, _ = _difference(one, other)
        if (
            mean <= MIRROR_MEAN
            and largest <= MIRROR_MAX
            and plain >= MIRROR_MIN
            and mean <= MIRROR_GAIN * plain
        ):
            yield Pair(first, second, mean)


def groups_of(pairs: Iterator[Pair] | Sequence[Pair], count: int) -> list[tuple[int, ...]]:
    """Return the connected groups of two or more of `count` pictures, each ascending, in order of their first."""
    parent = list(range(count))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for pair in pairs:
        one, other = sorted((root(pair.first), root(pair.second)))
        parent[other] = one
    found: dict[int, list[int]] = {}
    for index in range(count):
        found.setdefault(root(index), []).append(index)
    return [tuple(members) for members in found.values() if len(members) > 1]


def _numbers(hashes: Sequence[str]) -> Hashes:
    return np.array([int(text, 16) for text in hashes], np.uint64)


def _close(first: Hashes, second: Hashes, max_distance: int) -> Iterator[tuple[int, int, int]]:
    rows = max(1, BLOCK // max(1, len(second)))
    for start in range(0, len(first), rows):
        distance = _popcount(first[start : start + rows, None] ^ second[None, start:])
        for row, column in zip(*np.nonzero(distance <= max_distance), strict=True):
            if row < column:
                yield start + int(row), start + int(column), int(distance[row, column])


def _popcount(bits: Hashes) -> NDArray[np.uint8]:
    """Return how many bits are set (numpy before 2.0 has no function for it)."""
    if hasattr(np, "bitwise_count"):
        return np.asarray(np.bitwise_count(bits), np.uint8)
    table = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)
    return np.asarray(table[bits[..., None].view(np.uint8)].sum(-1, dtype=np.uint8))


def _pixels(one: Measures) -> NDArray[np.int16]:
    return np.frombuffer(one.thumbnail, np.uint8).reshape(16, 16, 3).astype(np.int16)


def _difference(first: NDArray[np.int16], second: NDArray[np.int16]) -> tuple[float, int]:
    differs = np.abs(first - second).max(2)
    return float(differs.mean()), int(differs.max())

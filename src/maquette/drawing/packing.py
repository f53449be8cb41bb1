"""Which pictures are drawn together: rows of one batch, grouped by trial."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pack:
    """One batch. `rows` are indices of requests in equal groups by trial; fillers have `wanted` False."""

    rows: tuple[int, ...]
    wanted: tuple[bool, ...]


MOST = 24
PIXELS, OF_ROOM = 1024 * 1024, 8 << 30
"""So many pixels are drawn at once for so many bytes that a card has unused."""


def batch_for(width_px: int, height_px: int, unused_bytes: int = 0) -> int:
    """Return how many pictures are drawn together: four at 512 px, up to 24 small ones, one at 1024 px, and as many times
    more as a card has 8 GiB unused.
    """
    pixels = PIXELS * max(1, unused_bytes // OF_ROOM)
    return int(min(MOST, max(1, pixels // (width_px * height_px))))


def batch_on(device: torch.device, width_px: int, height_px: int) -> int:
    """Return how many pictures a device draws together. A processor draws more at once no faster."""
    from maquette.devices import unused_memory_bytes

    unused_bytes = unused_memory_bytes(device) if device.type == "cuda" else 0
    return batch_for(width_px, height_px, unused_bytes)


def pack_rows(
    keys: Sequence[Hashable], trials: Sequence[int], *, num_trials: int, batch: int
) -> Iterator[Pack]:
    """Yield batches in which every request is wanted exactly once.

    Requests share a batch when their `keys` agree. Rows are `num_trials` contiguous groups of equal size, at
    most `batch` rows in all unless that is less than one a trial. A trial with fewer pictures is filled with
    repeats.
    """
    for key in dict.fromkeys(keys):
        group = [index for index, own in enumerate(keys) if own == key]
        queues = [[index for index in group if trials[index] == trial] for trial in range(num_trials)]
        longest = max(len(queue) for queue in queues)
        most = max(1, batch // num_trials)
        size = ceil(longest / ceil(longest / most))
        for start in range(0, longest, size):
            yield _pack([queue[start : start + size] for queue in queues], min(size, longest - start))


def _pack(parts: Sequence[Sequence[int]], size: int) -> Pack:
    rows: list[int] = []
    wanted: list[bool] = []
    anyone = next(part[0] for part in parts if part)
    for part in parts:
        fillers = [part[0] if part else anyone] * (size - len(part))
        rows += [*part, *fillers]
        wanted += [True] * len(part) + [False] * len(fillers)
    return Pack(tuple(rows), tuple(wanted))

"""Randomness without state: each draw is a pure function of a seed and a position.

A resumed run therefore needs no saved generator, trials trained together draw what they would draw alone, and a CPU
generator gives every device the same noise.
"""

from __future__ import annotations

import hashlib

import torch


def generator_at(seed: int, *position: int | str) -> torch.Generator:
    """Return a CPU generator that depends on `seed` and `position` alone."""
    digest = hashlib.blake2b(repr((seed, *position)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)

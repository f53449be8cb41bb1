"""How much memory a run is expected to need: a fact that planning provides and rules about the machine read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory of the device that trains."""

    bytes: int
    note: str = ""
    """How it was worked out and how far it may be off, as a sentence."""

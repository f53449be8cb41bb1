"""How much memory a run is expected to need: a fact that planning provides and rules about the machine read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory of the device that trains."""

    bytes: int
    note: str = ""
    """How it was worked out, as a sentence."""
    share_off: float = 0.0
    """How far the figure may be off, as a share of it."""

    @property
    def least_bytes(self) -> int:
        """What the run needs if the figure is as much too high as it may be."""
        return round(self.bytes * (1 - self.share_off))

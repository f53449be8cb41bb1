"""Which blocks to compute again so that a run fits, and no more: gradient checkpointing spent where it pays.

Blocks are taken in the order of what they free for each operation that they cost, the best first. So the first few give back
most of the memory for little time, and a run recomputes only what its device has no room to keep.
"""

from __future__ import annotations

from dataclasses import dataclass

from maquette.footprint.memory import MemoryRequest, estimate_memory
from maquette.footprint.workload import Block


@dataclass(frozen=True)
class Recomputed:
    """Blocks that are computed again, by name, out of `num_blocks`."""

    blocks: frozenset[str]
    num_blocks: int
    fits: bool
    """Whether the run's memory, its error included, is then within the budget."""

    @property
    def text(self) -> str:
        """Return it in words: 12 of 38 blocks."""
        return f"{len(self.blocks)} of {self.num_blocks} blocks"


def blocks_by_worth(request: MemoryRequest) -> tuple[str, ...]:
    """Return the names of all blocks that can be computed again, those that free the most for their price first."""
    work = request.changed(checkpointing=True).work()
    ranked = sorted(work.blocks, key=_worth, reverse=True)
    return tuple(name for block in ranked if _freed(block) > 0 for name in block.names)


def blocks_to_fit(request: MemoryRequest, budget_bytes: int) -> Recomputed:
    """Return the fewest blocks, the best first, with which the run of `request` needs at most `budget_bytes`.

    All that free anything where not even they suffice.
    """
    names = blocks_by_worth(request)

    def needed(count: int) -> int:
        return estimate_memory(request.changed(checkpointing=frozenset(names[:count]))).needed_bytes

    low, high = 0, len(names)
    while low < high:
        middle = (low + high) // 2
        if needed(middle) <= budget_bytes:
            high = middle
        else:
            low = middle + 1
    return Recomputed(frozenset(names[:low]), len(names), needed(low) <= budget_bytes)


def _freed(block: Block) -> float:
    """Return the values that are not kept once the block is computed again."""
    return sum((op.kept + op.kept_by_norms) * op.times for op in block.ops) - block.inputs


def _worth(block: Block) -> float:
    """Return the values freed for each operation that computing them again costs."""
    return _freed(block) / max(1.0, sum(op.flops * op.times for op in block.ops))

"""Two LoRAs beside each other: how alike their changes are, block by block and whole; what their metadata say differently.

cos(Δ₁, Δ₂) = ⟨Δ₁, Δ₂⟩ / ‖Δ₁‖ ‖Δ₂‖, sums over modules; of products by r × r matrices, nothing made whole
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from maquette.toolbox.blocks import blocks_of, in_order
from maquette.toolbox.changes import inner
from maquette.toolbox.metadata import HASHES
from maquette.toolbox.opening import OpenedLora, open_lora, require_base_for, require_same_model
from maquette.toolbox.options import CompareOptions
from maquette.toolbox.weights import base_weights


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """How alike two changes are."""

    norms: tuple[float, float]
    inner: float

    @property
    def cosine(self) -> float | None:
        """1: the same direction, 0: nothing in common, −1: opposite; None where one of them is nothing."""
        one, other = self.norms
        return max(min(self.inner / (one * other), 1.0), -1.0) if one and other else None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What two LoRAs have in common."""

    whole: Likeness
    blocks: Mapping[str, Likeness]
    """In the order in which the model computes."""
    common: int
    """Modules that both have."""
    only: tuple[tuple[str, ...], tuple[str, ...]]
    """Modules that only the first, only the second has."""
    ranks: tuple[tuple[int, ...], tuple[int, ...]]
    metadata: Mapping[str, tuple[str | None, str | None]]
    """Each entry that differs, with both values."""


@dataclass
class _Sums:
    one: float = 0.0
    other: float = 0.0
    both: float = 0.0

    def likeness(self) -> Likeness:
        return Likeness(norms=(math.sqrt(self.one), math.sqrt(self.other)), inner=self.both)


@dataclass
class _Table:
    blocks: dict[str, _Sums] = field(default_factory=dict)
    whole: _Sums = field(default_factory=_Sums)

    def add(self, block: str, one: float, other: float, both: float) -> None:
        for sums in (self.whole, self.blocks.setdefault(block, _Sums())):
            sums.one, sums.other, sums.both = sums.one + one, sums.other + other, sums.both + both


def compare(first: Path, second: Path, options: CompareOptions | None = None) -> Compared:
    """Return how the LoRA at `second` is like the one at `first`. Raises LoraError where they are for different models."""
    options = options or CompareOptions()
    base = base_weights(options.base) if options.base is not None else None
    loras = (open_lora(first, base), open_lora(second, base))
    family = require_same_model(loras)
    require_base_for(loras, base, "Name it: --base BASE")
    if base is not None:
        for lora in loras:
            base.require_fit(lora.path, lora.modules)
    keys = list(dict.fromkeys((*loras[0].modules, *loras[1].modules)))
    blocks = blocks_of(keys, {**loras[0].layers, **loras[1].layers}, family)
    table = _Table()
    for key in keys:
        changes = [
            lora.change(
                key, base.read(key) if base is not None and lora.modules[key].kind.needs_base else None
            )
            if key in lora.modules
            else None
            for lora in loras
        ]
        one, other = (change.squared if change is not None else 0.0 for change in changes)
        both = inner(changes[0], changes[1]) if changes[0] is not None and changes[1] is not None else 0.0
        table.add(blocks[key], one, other, both)
    return Compared(
        whole=table.whole.likeness(),
        blocks={name: table.blocks[name].likeness() for name in in_order(list(table.blocks), family)},
        common=sum(key in loras[0].modules and key in loras[1].modules for key in keys),
        only=(_only(loras[0], loras[1]), _only(loras[1], loras[0])),
        ranks=(loras[0].facts.ranks, loras[1].facts.ranks),
        metadata=_differences(loras[0].metadata, loras[1].metadata),
    )


def _only(one: OpenedLora, other: OpenedLora) -> tuple[str, ...]:
    return tuple(key for key in one.modules if key not in other.modules)


def _differences(
    one: Mapping[str, str], other: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    keys = sorted((one.keys() | other.keys()) - set(HASHES))
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}

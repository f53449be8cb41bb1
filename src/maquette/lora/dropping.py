"""Dropout of an adapter's values: which are dropped follows from (trial seed, the trial's own micro-step, key) alone.

So masks are the same when a checkpointed block is computed again, and whatever other trials share the pass.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.lora.kinds.protocol import AdapterKind, Sizes

if TYPE_CHECKING:
    from maquette.lora.layer import LayerTrial

LARGEST_SEED = 1 << 63


def stable_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on `parts` alone, the same in every process and on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Dropper:
    """Drops the values of one trial in one layer, in one training pass."""

    key: str
    kind: AdapterKind
    sizes: Sizes
    trial: LayerTrial
    micro_step: int
    own_rows: tuple[int, int, int] | None
    """Rows of a batch that other processes share: first, before which, of how many."""

    @property
    def leaves_out(self) -> bool:
        """Whether the whole module is left out of this pass."""
        return self._seed("module") < self.trial.module_dropout * LARGEST_SEED

    def drop(self, values: Tensor, rows: int | None) -> Tensor:
        """Return `values` [b, …] with values dropped at the trial's rates, the rest scaled up.

        `rows` is how many batch rows it has, where its values do not lie row by row.
        """
        width = self.kind.dropped_width(self.sizes, self.trial.rank)
        shape, axis = self._mask_shape(values, width)
        if self.trial.dropout:
            mask = self._mask("", self.trial.dropout, shape, values)
            values = values * _widened(mask, values.shape[axis], axis).reshape(values.shape)
        if self.trial.rank_dropout:
            # One choice of ranks for each row of the batch, the same at all of its positions.
            each = (values.shape[0] if rows is None else rows, width)
            mask = self._mask("rank", self.trial.rank_dropout, each, values)
            mask = mask.unsqueeze(-1 if axis == 1 else 1)
            if axis == -1:
                mask = mask.expand(-1, shape[0] // each[0], -1).reshape(shape)
            mask = _widened(mask, values.shape[axis], axis)
            like = (*mask.shape[:2], *(1 for _ in values.shape[2:])) if axis == 1 else values.shape
            values = values * mask.reshape(like)
        return values

    def drop_outputs(self, change: Tensor) -> Tensor:
        """Return a change of the weight [O, …] without some outputs, at the rate of ranks; the rest stays as it is."""
        mask = self._mask("rank", self.trial.rank_dropout, change.shape[:1], change, by_rows=False)
        return change * (mask > 0).to(change.dtype).view(-1, *(1 for _ in change.shape[1:]))

    def _seed(self, of: str) -> int:
        return stable_seed(self.trial.seed, self.micro_step, self.key, *([of] if of else []))

    def _mask(
        self, of: str, rate: float, shape: tuple[int, ...], like: Tensor, *, by_rows: bool = True
    ) -> Tensor:
        """Return what is kept of `shape`, scaled up by what is dropped; `by_rows`: its first axis goes over the rows."""
        generator = torch.Generator(like.device)
        generator.manual_seed(self._seed(of))
        first, last, whole = self.own_rows if self.own_rows is not None and by_rows else (0, 1, 1)
        each = shape[0] // (last - first)
        drawn = torch.rand((each * whole, *shape[1:]), device=like.device, generator=generator)
        kept = drawn[first * each : last * each] >= rate
        return kept.to(like.dtype) / (1.0 - rate)

    def _mask_shape(self, values: Tensor, width: int) -> tuple[tuple[int, ...], int]:
        # [b, r, H, W] alone, [b, r, N] packed: the same elements in the same order.
        if self.sizes.is_conv:
            return (values.shape[0], width, math.prod(values.shape[2:])), 1
        return (math.prod(values.shape[:-1]), width), -1


def _widened(mask: Tensor, width: int, axis: int) -> Tensor:
    """Return `mask` with zeros up to the largest rank of all trials: the padded part is zero whatever its mask."""
    padding = width - mask.shape[axis]
    return F.pad(mask, (0, padding) if axis == -1 else (0, 0, 0, padding)) if padding else mask

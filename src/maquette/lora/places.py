"""Places: where trials stand in a pass. Which of them a pass takes, and what a layer lends of them to its kind's work.

The rows of a pass are equal, contiguous groups, one of each place that is taken, in the order in which they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maquette.lora.dropping import Dropper
from maquette.lora.pool import Lend, PooledPart

if TYPE_CHECKING:
    from maquette.lora.layer import LoraLayer

OwnRows = tuple[int, int, int] | None
"""Rows of a batch that other processes share: first, before which, of how many; None: all of it."""


@dataclass
class Turn:
    """Whose turn it is: the places that a pass takes, and the micro-step at which each place is. Layers share one."""

    num_places: int
    taken: tuple[int, ...] | None = None
    """None: all of them in order."""
    micro_steps: list[int] = field(default_factory=list)
    own_rows: list[OwnRows] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.micro_steps = self.micro_steps or [0] * self.num_places
        self.own_rows = self.own_rows or [None] * self.num_places

    def set_step(self, micro_step: int, own_rows: OwnRows = None, place: int | None = None) -> None:
        """Say which micro-step comes next at one place, or at all."""
        for each in range(self.num_places) if place is None else (place,):
            self.micro_steps[each], self.own_rows[each] = micro_step, own_rows


class Taken:
    """What a layer lends to its kind's work of the places that a pass takes (`Hands`): an index counts these alone."""

    def __init__(self, layer: LoraLayer, places: Sequence[int]) -> None:
        self.layer, self.places = layer, tuple(places)
        self.sizes, self.placing = layer.sizes, layer.placing
        self.trials = tuple(layer.trials[place] for place in self.places)
        self.slots = tuple(index for index, trial in enumerate(self.trials) if trial is not None)
        """Those with weights here."""
        self.multipliers = [layer.multipliers[place] for place in self.places]
        self.alphas = [layer.alphas[place] for place in self.places]
        # What a single trial's forward needs at every call, without ParameterList's lookups by name.
        self.first_leaves = layer.leaves_of(self.places[self.slots[0]]) if self.slots else ()
        self._drops = tuple(bool(trial and trial.drops_values) for trial in self.trials)
        self._skips = tuple(
            index for index, trial in enumerate(self.trials) if trial and trial.module_dropout
        )
        self.skipped: frozenset[int] = frozenset()
        self._factors: Tensor | None = None
        factors = self._own_factors()
        self._all_one = all(factors[index] == 1.0 for index in self.slots)
        pooled = layer.in_pool
        self._part = pooled.taken(self.places, self.slots) if pooled is not None and self.slots else None

    @property
    def base(self) -> nn.Module:
        return self.layer.base

    def leaves_of(self, trial: int) -> tuple[nn.Parameter, ...]:
        return self.layer.leaves_of(self.places[trial])

    def scale(self, trial: int) -> float:
        spec = self.trials[trial]
        return self.layer.kind.scale(self.alphas[trial], spec.rank) if spec else 0.0

    def forward(self, x: Tensor, out: Tensor) -> Tensor:
        """Return `out`, what the base gave for x, with what the trials add to their rows."""
        if not self.slots:
            return out
        if self._skips:
            self.skipped = self._now_skipped()
        num_places = len(self.places)
        work = self.layer.work
        if num_places == 1 and self._part is None:
            return out if self.skipped else work.alone(self, x, out)
        if x.shape[0] % num_places:
            raise ValueError(
                f"{self.layer.key}: a batch of {x.shape[0]} rows cannot be shared out among {num_places} trials"
            )
        return work.packed(self, x, out)

    def pooled(self) -> PooledPart | None:
        return self._part

    def stacked(self) -> tuple[Tensor, ...]:
        if self._part is not None:
            lent: tuple[Tensor, ...] = Lend.apply(self._part.pool.anchor, self._part, self.skipped)
            return lent
        whole = self.layer.shared_stacks()
        if whole is None:
            shared: Sequence[Tensor | None] = (None,) * len(self.layer.leaves)
        else:
            shared = [self._rows_of(stack) for stack in whole]
        leaves = [self.leaves_of(index) for index in self.slots]
        who = Who(self.slots, len(self.places), self.skipped)
        return tuple(
            Stack.apply(stack, who, axis or 0, *of_trials)
            for stack, axis, of_trials in zip(
                shared, self.layer.kind.rank_axes, zip(*leaves, strict=True), strict=True
            )
        )

    def _rows_of(self, stack: Tensor) -> Tensor:
        first = self.places[0]
        if self.places == tuple(range(first, first + len(self.places))):
            return stack[first : first + len(self.places)]
        return stack[list(self.places)]

    def _dropper(self, index: int) -> Dropper:
        layer, place, trial = self.layer, self.places[index], self.trials[index]
        assert trial is not None
        turn = layer.turn
        return Dropper(
            layer.key, layer.kind, layer.sizes, trial, turn.micro_steps[place], turn.own_rows[place]
        )

    def _now_skipped(self) -> frozenset[int]:
        """Return the trials that leave the module out of this training pass: their weights get no gradient by it."""
        if not self.layer.training:
            return frozenset()
        return frozenset(index for index in self._skips if self._dropper(index).leaves_out)

    def weigh(self, values: Tensor, rows: int | None = None) -> Tensor:
        if self.layer.training and any(self._drops):
            values = torch.stack([self.drop(index, part, rows) for index, part in enumerate(values)])
        if self.skipped:
            kept = [float(index not in self.skipped) for index in range(len(self.trials))]
            values = values * values.new_tensor(kept).view(-1, *(1 for _ in values.shape[1:]))
        factors = self._factors_like(values)
        return values if factors is None else values * factors.view(-1, *(1 for _ in values.shape[1:]))

    def gain(self, shape: tuple[int, int], like: Tensor, rows: int) -> Tensor | None:
        if self.skipped or (self.layer.training and any(self._drops)):
            return self.weigh(like.new_ones(len(self.trials), *shape), rows)
        factors = self._factors_like(like)
        return None if factors is None else factors.view(-1, 1, 1)

    def _factors_like(self, values: Tensor) -> Tensor | None:
        """Return each trial's multiplier · scale [P] as `values` are; None where all are one."""
        if self._all_one:
            return None
        if (
            self._factors is None
            or self._factors.device != values.device
            or self._factors.dtype != values.dtype
        ):
            self._factors = torch.tensor(
                self._own_factors(),
                device=values.device,
                dtype=values.dtype,
            )
        return self._factors

    def _own_factors(self) -> list[float]:
        return [self.multipliers[index] * self.scale(index) for index in range(len(self.trials))]

    def drop(self, index: int, values: Tensor, rows: int | None = None) -> Tensor:
        if not self._drops[index] or not self.layer.training:
            return values
        return self._dropper(index).drop(values, rows)

    def drop_outputs(self, index: int, change: Tensor) -> Tensor:
        trial = self.trials[index]
        if trial is None or not trial.rank_dropout or not self.layer.training:
            return change
        return self._dropper(index).drop_outputs(change)


@dataclass(frozen=True)
class Who:
    """Which trials have weights, of how many, and which of them leave the module out of this pass."""

    slots: tuple[int, ...]
    num_trials: int
    skipped: frozenset[int]


class Stack(torch.autograd.Function):
    """Stacks the trials' leaves, padding `rank_axis` with zeros to the largest; free when they share memory already."""

    @staticmethod
    def forward(ctx: Any, shared: Tensor | None, who: Who, rank_axis: int, *leaves: Tensor) -> Tensor:
        ctx.who, ctx.rank_axis = who, rank_axis
        ctx.ranks = tuple(leaf.shape[rank_axis] for leaf in leaves)
        if shared is not None:
            return shared.view_as(shared)
        shape = list(leaves[0].shape)
        shape[rank_axis] = max(ctx.ranks)
        stack = leaves[0].new_zeros(who.num_trials, *shape)
        for index, leaf, rank in zip(who.slots, leaves, ctx.ranks, strict=True):
            stack[index].narrow(rank_axis, 0, rank).copy_(leaf)
        return stack

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        parts = zip(ctx.who.slots, ctx.ranks, strict=True)
        # No gradient is not a gradient of zero: an optimizer moves weights by what it remembers of earlier steps.
        of_leaves = (
            None if index in ctx.who.skipped else grad[index].narrow(ctx.rank_axis, 0, rank)
            for index, rank in parts
        )
        return None, None, None, *of_leaves

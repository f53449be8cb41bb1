"""The pool: all weights of all places in one buffer, and their gradients in another, a row a place.

    values [P, N]   place p: │ down [R, I] │ up [R, O] │ down … │      R: the largest rank that a layer has at any place;
    grads  [P, N]            │             │           │               rows of smaller ranks end in zeros, which stay zeros

A place's leaves are views into its row, and each layer's stacks are views across the rows: nothing is padded or copied in a
pass, and an optimizer works on a few long stretches of a row instead of hundreds of small tensors. Gradients are added to
`grads` as the backward pass finds them (`leaf.grad` stays None); `touched` says which of them it found.
The axis that grows with the rank comes first in memory, so that a leaf of a smaller rank is one dense stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from maquette.lora.layer import LoraLayer

_SPAN = "_maquette_span"


@dataclass(frozen=True)
class Span:
    """Where a leaf lies in its pool."""

    pool: Pool
    place: int
    layer: int
    """The layer's number: its column in `touched`."""
    start: int
    stop: int
    """Behind what the largest rank takes."""
    view: Callable[[Tensor], Tensor]
    """Gives the leaf's part of a row [N], in the leaf's shape."""


def span_of(parameter: Tensor) -> Span | None:
    """Return where a leaf lies, or None where it is in no pool."""
    found = getattr(parameter, _SPAN, None)
    return found if isinstance(found, Span) else None


class Pool:
    """The buffers, laid out anew whenever a trial has come or gone."""

    def __init__(self, num_places: int) -> None:
        self.num_places = num_places
        self.values = torch.zeros(num_places, 0)
        self.grads = torch.zeros(num_places, 0)
        self.touched = np.zeros((num_places, 0), dtype=bool)
        """[P, layers]: whether a place's gradients of a layer were found since they were last cleared."""
        self.layout = 0
        """Counts the layouts: what was cut out of the buffers before holds no longer."""
        # What makes the outputs of a layer require gradients where only the pool's own weights do.
        self.anchor = torch.zeros((), requires_grad=True)

    @torch.no_grad()
    def lay_out(self, layers: Iterable[LoraLayer]) -> None:
        """Take in the leaves of `layers` as they are now, with the gradients found so far."""
        inhabited = [layer for layer in layers if layer.slots]
        columns, width = [], 0
        for number, layer in enumerate(inhabited):
            columns.append([_Column(layer, number, each) for each in range(len(layer.leaves))])
            for column in columns[-1]:
                column.start, width = width, width + column.size
        like = next(iter(inhabited[0].parameters())) if inhabited else self.values
        values, grads = (like.new_zeros(self.num_places, width) for _ in range(2))
        touched = np.zeros((self.num_places, len(inhabited)), dtype=bool)
        for layer, of_layer in zip(inhabited, columns, strict=True):
            for slot, place in enumerate(layer.slots):
                for column, leaves in zip(of_layer, layer.leaves, strict=True):
                    assert isinstance(leaves, nn.ParameterList)
                    self._move(leaves[slot], place, column, values, grads, touched)
        self.values, self.grads, self.touched = values, grads, touched
        self.anchor = like.new_zeros((), requires_grad=True)
        self.layout += 1
        for layer, of_layer in zip(inhabited, columns, strict=True):
            layer.stand_in_pool(Pooled(self, of_layer))

    def _move(
        self, leaf: Tensor, place: int, column: _Column, values: Tensor, grads: Tensor, touched: Any
    ) -> None:
        view, before = column.view_of(leaf.shape), span_of(leaf)
        view(values[place]).copy_(leaf)
        if before is not None and before.pool is self and self.touched[before.place, before.layer]:
            view(grads[place]).copy_(before.view(self.grads[before.place]))
            touched[place, column.layer] = True
        leaf.data = view(values[place])
        span = Span(self, place, column.layer, column.start, column.start + column.size, view)
        setattr(leaf, _SPAN, span)

    def clear(self, place: int) -> None:
        """Forget the gradients of a place."""
        self.grads[place].zero_()
        self.touched[place] = False

    def show(self, leaves: Iterable[nn.Parameter]) -> None:
        """Let `leaf.grad` be what was found for each leaf, for who looks for a fault in it; until the layout changes."""
        for leaf in leaves:
            span = span_of(leaf)
            if span is not None and self.touched[span.place, span.layer]:
                leaf.grad = span.view(self.grads[span.place])


class _Column:
    """One of a layer's tensors in the rows of the pool, as large as its largest rank needs."""

    def __init__(self, layer: LoraLayer, number: int, tensor: int) -> None:
        leaves = layer.leaves[tensor]
        assert isinstance(leaves, nn.ParameterList)
        self.layer = number
        self.axis = layer.kind.rank_axes[tensor] or 0
        largest = max((leaf.shape for leaf in leaves), key=lambda shape: shape[self.axis])
        self.shape = self._in_memory(largest)
        self.size = largest.numel()
        self.start = 0

    def _in_memory(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return a shape with the rank's axis first."""
        return (shape[self.axis], *(size for axis, size in enumerate(shape) if axis != self.axis))

    def view_of(self, shape: torch.Size) -> Callable[[Tensor], Tensor]:
        """Return what cuts a leaf of this shape out of a row [N]."""
        in_memory, axis, start, stop = (
            self._in_memory(shape),
            self.axis,
            self.start,
            self.start + shape.numel(),
        )
        return lambda row: row[start:stop].view(in_memory).movedim(0, axis)

    def stack(self, rows: Tensor) -> Tensor:
        """Return the tensors of the places in `rows` [p, N], as they lie in memory: [p, R, …]."""
        return rows[:, self.start : self.start + self.size].view(len(rows), *self.shape)


class Pooled:
    """One layer's part of a pool."""

    def __init__(self, pool: Pool, columns: Sequence[_Column]) -> None:
        self.pool, self.columns = pool, tuple(columns)

    def taken(self, places: tuple[int, ...], slots: Sequence[int]) -> PooledPart:
        """Return the layer's part for some places; `slots` counts those of them with weights."""
        return PooledPart(self.pool, self.columns, places, [places[slot] for slot in slots])


class PooledPart:
    """One layer's stacks of some places: their values, and where their gradients go."""

    def __init__(
        self, pool: Pool, columns: Sequence[_Column], places: tuple[int, ...], inhabited: Sequence[int]
    ) -> None:
        self.pool, self.columns, self.places = pool, columns, places
        self.layer = columns[0].layer
        self._inhabited = np.array(inhabited, dtype=int)
        first, count = places[0], len(places)
        self._run = slice(first, first + count) if places == tuple(range(first, first + count)) else None
        self._index = torch.tensor(places, device=pool.values.device)
        self._values = None if self._run is None else self._stacks(pool.values[self._run])
        self._grads = None if self._run is None else self._stacks(pool.grads[self._run])

    def _stacks(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(column.stack(rows) for column in self.columns)

    def stacks(self) -> tuple[Tensor, ...]:
        """Return each tensor of the places, the rank's axis first: [p, R, …]."""
        return self._values or tuple(
            column.stack(self.pool.values).index_select(0, self._index) for column in self.columns
        )

    def add_products(self, products: Sequence[tuple[Tensor, Tensor]], skipped: frozenset[int]) -> None:
        """Add the gradient of each tensor, given as two factors [p, R, n] and [p, n, …] of it."""
        # Not added by the product itself: into rows that lie apart it is as many small products as places.
        self.add([torch.bmm(one, other) for one, other in products], skipped)

    def add(self, grads: Sequence[Tensor | None], skipped: frozenset[int]) -> None:
        """Add the gradients [p, R, …] of the tensors; those of places that left the module out are zero, and none."""
        for number, grad in enumerate(grads):
            if grad is None:
                continue
            if self._grads is not None:
                self._grads[number].add_(grad)
            else:
                stack = self.columns[number].stack(self.pool.grads)
                stack.index_add_(0, self._index, grad.to(stack.dtype))
        self._touch(skipped)

    def _touch(self, skipped: frozenset[int]) -> None:
        if not skipped:
            self.pool.touched[self._inhabited, self.layer] = True
            return
        left_out = {self.places[index] for index in skipped}
        found = [place for place in self._inhabited if place not in left_out]
        self.pool.touched[found, self.layer] = True


class Lend(torch.autograd.Function):
    """A layer's stacks of some places, in their kind's own shapes; their gradients go into the pool."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, part: PooledPart, skipped: frozenset[int]) -> tuple[Tensor, ...]:
        ctx.part, ctx.skipped = part, skipped
        ctx.set_materialize_grads(False)
        return tuple(
            stack.movedim(1, 1 + column.axis).view_as(stack.movedim(1, 1 + column.axis))
            for column, stack in zip(part.columns, part.stacks(), strict=True)
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[None, None, None]:
        columns = ctx.part.columns
        ctx.part.add(
            [
                None if grad is None else grad.movedim(1 + column.axis, 1)
                for grad, column in zip(grads, columns, strict=True)
            ],
            ctx.skipped,
        )
        return None, None, None

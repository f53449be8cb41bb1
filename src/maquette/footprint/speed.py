"""How fast this machine computes a model's own layers: a micro-benchmark of about two seconds.

For each kind of operation the layers that cost most are run forward and backward as training runs them, frozen
weights and a LoRA beside, over as few positions as take a measurable time: a layer that takes a minute on this machine is
measured on a piece of it. A large matrix times one row measures how fast weights are read; a tiny layer measures what
a call costs whatever its size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maquette.footprint.workload import Op, OpKind, Workload

if TYPE_CHECKING:
    import torch

SECONDS_PER_LAYER = 0.08
"""Time given to each measured layer, after one run to warm up."""
MEASURABLE_S = 0.1
"""A piece of a layer that takes so long tells its speed; a shorter one is followed by a larger piece."""
FEWEST_POSITIONS, PIECE_GROWTH = 64, 2
LAYERS_PER_KIND = 4
ENOUGH_S = 2.0
"""After so long no further layers are measured, but one of each kind always."""
READ_BYTES = 128 << 20
"""Weights of the layer that measures reading: more than a processor's caches hold."""
SMALL = 64
"""Width of the layer that measures the cost of a call."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured."""

    rates: dict[OpKind, tuple[tuple[int, float], ...]]
    """For each kind of layer: (positions, floating-point operations a second, forward and backward together)."""
    read_bytes_per_s: float
    call_s: float
    """Seconds that one adapted layer costs whatever its size, forward and backward."""
    measured_s: float
    """How long measuring took."""

    def rate(self, op: Op) -> float:
        """Return the rate of the measured layer whose number of positions is nearest to that of `op`."""
        measured = self.rates[op.kind]
        return min(measured, key=lambda entry: abs(math.log(entry[0] / op.shape[0])))[1]


def measure_speed(work: Workload, *, device: str, precision: str, rank: int, batch: int = 1) -> Speed:
    """Return the speed of `device` (cpu, cuda, mps) at the layers of `work` in `precision` (no, bf16, fp16)."""
    import torch

    from maquette.devices import DTYPES

    began = time.perf_counter()
    dtype = DTYPES[precision]
    bench = _Bench(torch.device(device), dtype, rank, batch)
    kinds: tuple[OpKind, ...] = ("conv", "linear", "attention")
    costly = {kind: costly_layers(work.ops, kind) for kind in kinds}
    rates: dict[OpKind, list[tuple[int, float]]] = {kind: [] for kind in kinds}
    for turn in range(LAYERS_PER_KIND):
        for kind in kinds:
            late = turn and time.perf_counter() - began > ENOUGH_S
            if turn < len(costly[kind]) and not late:
                op = costly[kind][turn]
                rates[kind].append((op.shape[0], bench.rate_of(op)))
    read = bench.seconds(bench.reading(READ_BYTES // dtype.itemsize))
    call = bench.seconds(bench.linear(SMALL, SMALL, SMALL))
    return Speed(
        rates={kind: tuple(found) for kind, found in rates.items()},
        read_bytes_per_s=READ_BYTES / read,
        call_s=call,
        measured_s=time.perf_counter() - began,
    )


def costly_layers(ops: Iterable[Op], kind: OpKind, count: int = LAYERS_PER_KIND) -> list[Op]:
    """Return the costliest layer of `kind` at each number of positions, for the `count` numbers that cost the most."""
    totals: dict[int, float] = {}
    shapes: dict[int, dict[tuple[int, int, int, int], list[Op]]] = {}
    for op in ops:
        if op.kind == kind and op.flops:
            totals[op.shape[0]] = totals.get(op.shape[0], 0.0) + op.flops * op.times
            shapes.setdefault(op.shape[0], {}).setdefault(op.shape, []).append(op)
    costly = sorted(totals, key=lambda positions: totals[positions], reverse=True)[:count]
    return [
        max(shapes[positions].values(), key=lambda group: sum(op.flops * op.times for op in group))[0]
        for positions in costly
    ]


def _passes(op: Op) -> float:
    """Return the forward and the backward pass of a layer in units of its forward pass."""
    return 3.5 if op.kind == "attention" else 2.0


class _Bench:
    """Runs single layers on one device."""

    def __init__(self, device: torch.device, dtype: torch.dtype, rank: int, batch: int) -> None:
        self.device, self.dtype, self.rank, self.batch = device, dtype, rank, batch

    def rate_of(self, op: Op) -> float:
        """Return the operations a second of the forward and backward pass of `op`, by the largest piece that was run."""
        positions = min(op.shape[0], FEWEST_POSITIONS)
        while True:
            work, share = self._piece(op, positions)
            first = self._once(work)
            if first >= MEASURABLE_S or positions >= op.shape[0]:
                return self.batch * op.flops * _passes(op) * share / self.seconds(work, first)
            positions = min(op.shape[0], PIECE_GROWTH * positions)

    def _piece(self, op: Op, positions: int) -> tuple[Callable[[], Any], float]:
        """Return `op` over so many of its positions, and its share of the whole layer's operations."""
        whole, inputs, outputs, window = op.shape
        share = positions / whole
        if op.kind == "conv":
            return self.convolution(positions, inputs, outputs), share
        if op.kind == "attention":
            keys = max(1, round(inputs * share))
            return self.attention(positions, keys, outputs, window), share * keys / inputs
        return self.linear(positions, inputs, outputs), share

    def seconds(self, work: Callable[[], Any], first: float | None = None) -> float:
        """Return the shortest duration of `work` over about SECONDS_PER_LAYER, the `first` run (if it was) left out.

        The shortest: other programs can only make it longer. The first run also chooses kernels and touches memory.
        """
        taken = [self._once(work) if first is None else first]
        while len(taken) < 2 or (sum(taken[1:]) < SECONDS_PER_LAYER and len(taken) < 20):
            taken.append(self._once(work))
        return min(taken[1:])

    def _once(self, work: Callable[[], Any]) -> float:
        from maquette.devices import synchronize

        synchronize(self.device)
        began = time.perf_counter()
        work()
        synchronize(self.device)
        return time.perf_counter() - began

    def linear(self, positions: int, inputs: int, outputs: int) -> Callable[[], Any]:
        """A frozen linear layer with a LoRA beside it."""
        from torch.nn import functional as F

        x = self._tensor(self.batch * positions, inputs, grad=True)
        weight = self._tensor(outputs, inputs)
        down, up = self._tensor(self.rank, inputs, grad=True), self._tensor(outputs, self.rank, grad=True)
        gradient = self._tensor(self.batch * positions, outputs)

        def run() -> None:
            (F.linear(x, weight) + F.linear(F.linear(x, down), up) * 0.5).backward(gradient)

        return run

    def convolution(self, positions: int, inputs: int, outputs: int) -> Callable[[], Any]:
        """A frozen 3×3 convolution."""
        from torch.nn import functional as F

        side = max(1, math.isqrt(positions))
        x = self._tensor(self.batch, inputs, side, max(1, positions // side), grad=True)
        weight = self._tensor(outputs, inputs, 3, 3)
        gradient = self._tensor(self.batch, outputs, *x.shape[2:])
        return lambda: F.conv2d(x, weight, padding=1).backward(gradient)

    def attention(self, queries: int, keys: int, width: int, heads: int) -> Callable[[], Any]:
        """Scaled dot-product attention."""
        from torch.nn import functional as F

        q = self._tensor(self.batch, heads, queries, width // heads, grad=True)
        k, v = (self._tensor(self.batch, heads, keys, width // heads, grad=True) for _ in range(2))
        gradient = self._tensor(self.batch, heads, queries, width // heads)
        return lambda: F.scaled_dot_product_attention(q, k, v).backward(gradient)

    def reading(self, values: int) -> Callable[[], Any]:
        """One row through a matrix of `values`: the time is that of reading the matrix."""
        from torch.nn import functional as F

        side = math.isqrt(values)
        x, weight = self._tensor(1, side), self._tensor(side, side)
        return lambda: F.linear(x, weight)

    def _tensor(self, *shape: int, grad: bool = False) -> torch.Tensor:
        import torch

        values = torch.full(shape, 0.01, device=self.device, dtype=self.dtype)
        return values.requires_grad_(grad)


def flops_by_kind(ops: Sequence[Op]) -> dict[str, float]:
    """Return the forward operations of each kind, for a person who asks where the time goes."""
    totals: dict[str, float] = {}
    for op in ops:
        totals[op.kind] = totals.get(op.kind, 0.0) + op.flops * op.times
    return totals

"""What a base model computes and keeps for one training picture, for any size, text and rank.

The numbers come from traces of the model's skeleton (trace.py), kept by layout: the tables of the well-known layouts
are shipped, so that looking at them loads no torch.
`tests/footprint/test_workload.py` holds the result against what torch really keeps and counts.

Legend: N positions of the latent, U units of text (protocol.FamilySpec.text_unit), r rank. All numbers are for one picture.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maquette.families import FAMILIES, Layout, parts_of
from maquette.families.common.stored import layout_key, stored
from maquette.families.protocol import LoraPart
from maquette.lora.config import TrialSpec
from maquette.lora.size import adapter_values, mean_ranks

if TYPE_CHECKING:
    from maquette.footprint.trace import Recording

OpKind = Literal["conv", "linear", "attention", "norm", "pointwise"]
AttentionKind = Literal["fused", "math"]
PARTS_CHOICES: tuple[tuple[LoraPart, ...], ...] = (
    ("text_encoder", "denoiser"),
    ("denoiser",),
    ("text_encoder",),
)
SHIPPED = Path(__file__).parent / "tables"


@dataclass(frozen=True, slots=True)
class Op:
    """One operation. `shape`: (positions, inputs, outputs, window) of a layer, (queries, keys, width, heads) of attention."""

    part: LoraPart
    kind: OpKind
    shape: tuple[int, int, int, int]
    flops: float
    """Of the forward pass."""
    weights: int
    """Values of the frozen layer."""
    kept: float
    """Values kept for the backward pass in the precision of the computation."""
    kept_by_norms: float
    """Values kept by normalizations and their activation functions, which CUDA's autocast computes in float32."""
    with_gradient: bool
    """Whether the backward pass goes through it."""
    again: bool = False
    """Whether gradient checkpointing computes it again."""
    times: float = 1.0
    """How often it occurs; the other numbers are of one."""


@dataclass(frozen=True, slots=True)
class Block:
    """Operations that gradient checkpointing computes again together, and what it keeps of them: their inputs."""

    ops: tuple[Op, ...]
    inputs: float
    names: tuple[str, ...]
    """Of the equal blocks that these numbers are of; see families/common/recomputing.py."""

    @property
    def times(self) -> int:
        """How often the block occurs."""
        return len(self.names)


@dataclass(frozen=True)
class Workload:
    """A model's operations for one picture."""

    alone: tuple[Op, ...]
    """Operations that are never computed again."""
    blocks: tuple[Block, ...]
    trainable: int
    """Values of the adapter."""

    @property
    def ops(self) -> tuple[Op, ...]:
        """Every operation, with how often it occurs over all blocks."""
        return (*self.alone, *(_times(op, block.times) for block in self.blocks for op in block.ops))

    def recomputing(self, blocks: Collection[str]) -> Workload:
        """Return the same work where only `blocks` (names) can be computed again: the others keep what they computed."""
        chosen, kept = [], list(self.alone)
        for block in self.blocks:
            again = tuple(name for name in block.names if name in blocks)
            if again:
                chosen.append(replace(block, names=again))
            if len(again) < block.times:
                rest = block.times - len(again)
                kept += [replace(op, times=op.times * rest, again=False) for op in block.ops]
        return Workload(tuple(kept), tuple(chosen), self.trainable)

    def kept_values(self, *, checkpointing: bool) -> tuple[float, float]:
        """Return the values kept at the end of the forward pass: (in the precision of the computation, by norms)."""
        plain, norms = _kept(self.alone if checkpointing else self.ops)
        if checkpointing:
            plain += sum(block.inputs * block.times for block in self.blocks)
        return plain, norms

    def largest_group(self) -> tuple[float, float]:
        """Return the values that the largest checkpointed block keeps while it is computed again."""
        return max((_kept(block.ops) for block in self.blocks), key=sum, default=(0.0, 0.0))

    def widest(self) -> float:
        """Return the values of the largest activation that goes into a denoiser's layer or comes out of it."""
        return _widest(op for op in self.ops if op.part == "denoiser")

    def forward_flops(self, part: LoraPart | None = None) -> float:
        """Return the floating-point operations of one forward pass (of one part)."""
        return sum(op.flops * op.times for op in self.ops if part in (None, op.part))

    def backward_flops(self, part: LoraPart | None = None) -> float:
        """Return those of one backward pass: each layer once for its input; its frozen weights need none."""
        return sum(
            op.flops * op.times * (2.5 if op.kind == "attention" else 1.0)
            for op in self.ops
            if op.with_gradient and part in (None, op.part)
        )


@dataclass(frozen=True)
class Coding:
    """What turning one picture into a latent, or back, computes."""

    flops: float
    widest: float
    """Values of the largest activation."""


def workload(
    layout: Layout,
    size_wh: tuple[int, int],
    spec: TrialSpec,
    *,
    text_tokens: int = 75,
    attention: AttentionKind = "fused",
) -> Workload:
    """Return what one training picture of `size_wh` pixels costs."""
    chosen = tuple(part for part in ("text_encoder", "denoiser") if part in spec.parts)
    table = _training_table(layout, chosen, spec.adds_convolutions)
    modules = parts_of(layout).modules
    rank, conv_rank = mean_ranks((each for each in modules if each.default or spec.adds_convolutions), spec)
    at = _Point(_positions(layout, size_wh), text_units(layout, text_tokens), rank, conv_rank, attention)
    return Workload(
        alone=tuple(at.op(times, row, again=False) for times, row in table["alone"]),
        blocks=tuple(
            Block(tuple(at.op(times, row, again=True) for times, row in rows), at.value(inputs), tuple(names))
            for names, inputs, rows in table["blocks"]
        ),
        trainable=adapter_values(modules, spec),
    )


def encoding(layout: Layout, size_wh: tuple[int, int]) -> Coding:
    """Return what encoding one picture computes."""
    return _coding(layout, "encode", size_wh)


def decoding(layout: Layout, size_wh: tuple[int, int]) -> Coding:
    """Return what decoding one latent computes."""
    return _coding(layout, "decode", size_wh)


def text_units(layout: Layout, text_tokens: int) -> int:
    """Return how many units of text a caption of so many tokens fills."""
    return max(1, -(-text_tokens // FAMILIES[layout.family].spec.text_unit))


def operations(work: Workload, part: LoraPart) -> Iterator[Op]:
    """Yield the operations of one part."""
    yield from (op for op in work.ops if op.part == part)


# --- values at a point -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    """Where the linear functions of a table are asked."""

    positions: float
    units: int
    rank: float
    conv_rank: float
    attention: AttentionKind

    def value(self, line: Sequence[float]) -> float:
        """Return a + b N + c U of [a, b, c]."""
        return line[0] + line[1] * self.positions + line[2] * self.units

    def op(self, times: int, row: Sequence[Any], *, again: bool) -> Op:
        part, kind, first, second, third, fourth, weights, gradient, rows, kept, kept_rank, kept_conv = row
        beside = max(1.0, self.value(rows))
        shape = (max(1, round(self.value(first))), max(1, round(self.value(second))), third, fourth)
        values = self.value(kept) + self.rank * self.value(kept_rank) + self.conv_rank * self.value(kept_conv)
        flops = 0.0
        if kind == "attention":
            queries, keys, width, heads = shape
            flops = 4.0 * queries * keys * width
            weighed = queries * heads * (keys if self.attention == "math" else 1)
            # Without a fused kernel the result is not kept for itself, but every weight is.
            values += beside * weighed if kept[0] or kept[1] or kept[2] else 0.0
        elif kind in ("conv", "linear"):
            flops = 2.0 * self.value(first) * shape[1] * third * fourth
        by_norms = kind == "norm"
        each = values / beside
        return Op(
            part, kind, shape, flops, weights, 0.0 if by_norms else each, each if by_norms else 0.0, gradient, again,
            times * beside,
        )  # fmt: skip


def _times(op: Op, count: int) -> Op:
    if count == 1:
        return op
    return Op(
        op.part, op.kind, op.shape, op.flops, op.weights, op.kept, op.kept_by_norms, op.with_gradient, op.again,
        op.times * count,
    )  # fmt: skip


def _kept(ops: Iterable[Op]) -> tuple[float, float]:
    plain = norms = 0.0
    for op in ops:
        plain += op.kept * op.times
        norms += op.kept_by_norms * op.times
    return plain, norms


def _widest(ops: Iterable[Op]) -> float:
    layers = (op.shape for op in ops if op.kind in ("conv", "linear"))
    return max((shape[0] * max(shape[1], shape[2]) for shape in layers), default=0.0)


def _positions(layout: Layout, size_wh: tuple[int, int]) -> float:
    factor = layout.vae_factor
    return float(-(-size_wh[0] // factor) * -(-size_wh[1] // factor))


def _coding(layout: Layout, way: str, size_wh: tuple[int, int]) -> Coding:
    at = _Point(_positions(layout, size_wh), 1, 0, 0, "fused")
    ops = [at.op(times, row, again=False) for times, row in _coding_table(layout)[way]["alone"]]
    return Coding(sum(op.flops * op.times for op in ops), _widest(ops))


# --- tables ----------------------------------------------------------------------------------------------------


@cache
def _training_table(layout: Layout, parts: tuple[LoraPart, ...], conv: bool) -> dict[str, Any]:
    return stored(
        training_name(layout, parts, conv), lambda: training_table(layout, parts, conv), shipped=SHIPPED
    )


@cache
def _coding_table(layout: Layout) -> dict[str, Any]:
    return stored(coding_name(layout), lambda: coding_table(layout), shipped=SHIPPED)


def training_name(layout: Layout, parts: Sequence[LoraPart], conv: bool) -> str:
    """Return the name of the stored table of a training pass."""
    return "-".join(["work", layout_key(layout), *(part[0] for part in parts), *(["conv"] if conv else [])])


def coding_name(layout: Layout) -> str:
    """Return the name of the stored table of coding pictures."""
    return f"coding-{layout_key(layout)}"


def training_table(layout: Layout, parts: Sequence[LoraPart], conv: bool) -> dict[str, Any]:
    """Return the traced training pass of a layout as lines over N and U."""
    from maquette.footprint.trace import trace_training

    return _table(layout, trace_training(FAMILIES[layout.family].skeleton(layout), parts, conv=conv))


def coding_table(layout: Layout) -> dict[str, Any]:
    """Return the traced coding of pictures of a layout as lines over N."""
    from maquette.footprint.trace import trace_coding

    encoded, decoded = trace_coding(FAMILIES[layout.family].skeleton(layout))
    return {"encode": _table(layout, encoded), "decode": _table(layout, decoded)}


def _table(layout: Layout, recordings: Sequence[Recording]) -> dict[str, Any]:
    """Return equal operations and equal blocks once, with how often they occur."""
    from maquette.footprint.trace import UNIT_PX

    unit = (UNIT_PX // layout.vae_factor) ** 2
    alone: dict[tuple[Any, ...], int] = {}
    inside: dict[int, dict[tuple[Any, ...], int]] = {}
    for seen in zip(*(recording.seen for recording in recordings), strict=True):
        first = seen[0]
        assert all(each.identity == first.identity for each in seen), "a pass must not depend on sizes"
        counts = alone if first.group is None else inside.setdefault(first.group, {})
        row = _row(seen, unit)
        counts[row] = counts.get(row, 0) + 1
    blocks: dict[tuple[Any, ...], list[str]] = {}
    names = recordings[0].group_names
    for number, inputs in enumerate(zip(*(recording.group_inputs for recording in recordings), strict=True)):
        rows = tuple((count, row) for row, count in inside.get(number, {}).items())
        blocks.setdefault((_line(inputs, unit), rows), []).append(names[number])
    return {
        "alone": [[count, row] for row, count in alone.items()],
        "blocks": [[names, inputs, rows] for (inputs, rows), names in blocks.items()],
    }


def _row(seen: Sequence[Any], unit: int) -> tuple[Any, ...]:
    first = seen[0]
    lines = {
        name: _line([getattr(each, name) for each in seen], unit)
        for name in ("rows", "kept", "kept_rank", "kept_conv_rank")
    }
    lengths = (_line([each.shape[axis] for each in seen], unit) for axis in (0, 1))
    return (
        first.part, first.kind, *lengths, first.shape[2], first.shape[3], first.weights, first.with_gradient,
        lines["rows"], lines["kept"], lines["kept_rank"], lines["kept_conv_rank"],
    )  # fmt: skip


def _line(values: Sequence[float], unit: int) -> tuple[float, float, float]:
    """Return [a, b, c] of a + b N + c U through the values at (N, U) = (unit, 1), (2 unit, 1), (unit, 2)."""
    by_position, by_unit = (values[1] - values[0]) / unit, values[2] - values[0]
    return values[0] - by_position * unit - by_unit, by_position, by_unit

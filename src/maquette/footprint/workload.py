"""What a base model computes and keeps for one training picture: its layers, walked from their sizes alone.

The walk follows diffusers' U-Net and transformers' CLIP text model with LoRA layers in them, and counts for each
operation the values that autograd keeps for the backward pass and the floating-point operations of the forward pass.
`tests/footprint/test_workload.py` holds it against what torch really keeps and counts.

Legend: N picture positions of a level, C its channels, T text tokens, r rank. All numbers are for one picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from maquette.families import ModelLayout
from maquette.families.common.layout import TextLayout, UnetLayout
from maquette.families.protocol import LoraPart

OpKind = Literal["conv", "linear", "attention", "pointwise"]
AttentionKind = Literal["fused", "math"]
CHUNK_TOKENS = 77
"""Tokens of one pass through a CLIP text encoder, begin and end included."""


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
    group: int | None = None
    """Number of the block that gradient checkpointing computes again; None: never."""


@dataclass(frozen=True)
class Workload:
    """A model's operations for one picture, with the inputs that checkpointed blocks keep."""

    ops: tuple[Op, ...]
    group_inputs: tuple[float, ...]
    """Values that a checkpointed block keeps instead of its insides, by group."""
    trainable: int
    """Values of the adapter."""

    def kept_values(self, *, checkpointing: bool) -> tuple[float, float]:
        """Return the values kept at the end of the forward pass: (in the precision of the computation, by norms)."""
        ops = [op for op in self.ops if not (checkpointing and op.group is not None)]
        plain = sum(op.kept for op in ops) + (sum(self.group_inputs) if checkpointing else 0.0)
        return plain, sum(op.kept_by_norms for op in ops)

    def largest_group(self) -> tuple[float, float]:
        """Return the values that the largest checkpointed block keeps while it is computed again."""
        totals: dict[int, list[float]] = {}
        for op in self.ops:
            if op.group is not None:
                total = totals.setdefault(op.group, [0.0, 0.0])
                total[0] += op.kept
                total[1] += op.kept_by_norms
        plain, norms = max(totals.values(), key=sum, default=[0.0, 0.0])
        return plain, norms

    def forward_flops(self, part: LoraPart | None = None) -> float:
        """Return the floating-point operations of one forward pass (of one part)."""
        return sum(op.flops for op in self.ops if part in (None, op.part))

    def backward_flops(self, part: LoraPart | None = None) -> float:
        """Return those of one backward pass: each layer once for its input; its frozen weights need none."""
        return sum(
            op.flops * (2.5 if op.kind == "attention" else 1.0)
            for op in self.ops
            if op.with_gradient and part in (None, op.part)
        )


def workload(
    layout: ModelLayout,
    size_wh: tuple[int, int],
    *,
    heads: Sequence[int],
    rank: int,
    conv_rank: int | None = None,
    parts: Sequence[LoraPart] = ("text_encoder", "denoiser"),
    text_tokens: int = 75,
    attention: AttentionKind = "fused",
) -> Workload:
    """Return what one training picture of `size_wh` pixels costs; `heads` per level of the U-Net, finest first."""
    walk = _Walk(rank=rank, conv_rank=conv_rank, parts=tuple(parts), attention=attention)
    chunks = -(-text_tokens // (CHUNK_TOKENS - 2))
    if "text_encoder" in parts:
        for text in layout.texts:
            walk.text(text, chunks)
    tokens = chunks * (CHUNK_TOKENS - 2) + 2
    factor = layout.vae.factor
    walk.unet(layout.unet, -(-size_wh[0] // factor), -(-size_wh[1] // factor), tokens, heads)
    return Workload(tuple(walk.ops), tuple(walk.group_inputs), walk.trainable)


@dataclass
class _Walk:
    """Goes through a model in the order of its forward pass, and remembers whether gradients flow already."""

    rank: int
    conv_rank: int | None
    parts: tuple[LoraPart, ...]
    attention: AttentionKind
    ops: list[Op] = field(default_factory=list)
    group_inputs: list[float] = field(default_factory=list)
    trainable: int = 0
    part: LoraPart = "denoiser"
    gradient: bool = False
    group: int | None = None

    # --- single operations ---------------------------------------------------------------------------------

    def _add(
        self,
        kind: OpKind,
        shape: tuple[int, int, int, int],
        flops: float,
        weights: int,
        kept: float,
        norms: float = 0.0,
    ) -> None:
        self.ops.append(Op(self.part, kind, shape, flops, weights, kept, norms, self.gradient, self.group))

    def layer(
        self,
        positions: int,
        inputs: int,
        outputs: int,
        *,
        window: int = 1,
        adapted: bool,
        keeps_input: bool = True,
        positions_in: int | None = None,
    ) -> None:
        """A linear layer or convolution. Its LoRA keeps input and inner values; a frozen convolution keeps its input
        wherever gradients flow."""
        adapted = adapted and self.part in self.parts
        rank = self.conv_rank if window == 9 and self.conv_rank else self.rank
        kept = 0.0
        if (adapted or (window == 9 and self.gradient)) and keeps_input:
            kept += (positions_in or positions) * inputs
        if adapted:
            kept += positions * rank
            self.trainable += rank * (inputs * window + outputs)
            self.gradient = True
        flops = 2.0 * positions * inputs * outputs * window
        kind: OpKind = "conv" if window > 1 else "linear"
        self._add(kind, (positions, inputs, outputs, window), flops, inputs * outputs * window, kept)

    def norm(self, values: int, *, activation: bool = False) -> None:
        """A normalization keeps its input; a SiLU after it keeps its own."""
        self._add(
            "pointwise", (values, 1, 1, 1), 0.0, 0, 0.0, values * (1 + activation) if self.gradient else 0.0
        )

    def pointwise(self, kept: int) -> None:
        self._add("pointwise", (kept, 1, 1, 1), 0.0, 0, float(kept) if self.gradient else 0.0)

    def attend(self, queries: int, keys: int, width: int, heads: int) -> None:
        """Scaled dot-product attention keeps q, k, v and its result; without a fused kernel every weight too."""
        kept = 2.0 * width * (queries + keys)
        if self.attention == "math":
            kept += float(heads) * queries * keys
        else:
            kept += heads * queries
        flops = 4.0 * queries * keys * width
        self._add("attention", (queries, keys, width, heads), flops, 0, kept if self.gradient else 0.0)

    def begin_group(self, values: float) -> None:
        self.group_inputs.append(values)
        self.group = len(self.group_inputs) - 1

    def end_group(self) -> None:
        self.group = None

    # --- blocks --------------------------------------------------------------------------------------------

    def text(self, text: TextLayout, chunks: int) -> None:
        """A CLIP text model, every layer adapted."""
        self.part, self.gradient = "text_encoder", False
        for _ in range(text.layers):
            rows = CHUNK_TOKENS * chunks
            self.begin_group(rows * text.width)
            self.norm(rows * text.width)
            for number in range(3):
                self.layer(rows, text.width, text.width, adapted=True, keeps_input=number == 0)
            for _ in range(chunks):
                self.attend(CHUNK_TOKENS, CHUNK_TOKENS, text.width, text.heads)
            self.layer(rows, text.width, text.width, adapted=True, keeps_input=False)
            self.norm(rows * text.width)
            self.layer(rows, text.width, text.mlp_width, adapted=True)
            self.pointwise(2 * rows * text.mlp_width)
            self.layer(rows, text.mlp_width, text.width, adapted=True)
            self.end_group()

    def unet(self, unet: UnetLayout, width: int, height: int, tokens: int, heads: Sequence[int]) -> None:
        """The denoiser on a latent of `width` × `height`."""
        self.part = "denoiser"
        self.gradient = False
        channels = unet.block_channels
        sizes = [(-(-width // 2**level), -(-height // 2**level)) for level in range(unet.levels)]
        positions = [w * h for w, h in sizes]
        self._text_kept = False
        self.layer(positions[0], unet.in_channels, channels[0], window=9, adapted=False)
        skips, entering = [channels[0]], channels[0]
        for level, own in enumerate(channels):
            attends = bool(unet.attention_depth[level])
            for _ in range(unet.layers_per_block):
                self._residual(unet, entering, own, positions[level], checkpointed=True)
                if attends:
                    self._transformer(
                        unet, own, positions[level], tokens, heads[level], unet.attention_depth[level]
                    )
                entering = own
                skips.append(own)
            if level < unet.levels - 1:
                self._resample(own, positions[level + 1], positions[level])
                skips.append(own)
        self._residual(unet, entering, entering, positions[-1], checkpointed=False)
        self._transformer(unet, entering, positions[-1], tokens, heads[-1], unet.mid_depth)
        self._residual(unet, entering, entering, positions[-1], checkpointed=True)
        for level in reversed(range(unet.levels)):
            own = channels[level]
            for _ in range(unet.layers_per_block + 1):
                self._residual(unet, entering + skips.pop(), own, positions[level], checkpointed=True)
                if unet.attention_depth[level]:
                    self._transformer(
                        unet, own, positions[level], tokens, heads[level], unet.attention_depth[level]
                    )
                entering = own
            if level:
                self._resample(own, positions[level - 1], positions[level - 1])
        self.norm(channels[0] * positions[0], activation=True)
        self.layer(positions[0], channels[0], unet.out_channels, window=9, adapted=False)

    def _residual(
        self, unet: UnetLayout, inputs: int, outputs: int, positions: int, *, checkpointed: bool
    ) -> None:
        conv = self.conv_rank is not None
        if checkpointed:
            self.begin_group(inputs * positions)
        self.norm(inputs * positions, activation=True)
        self.layer(positions, inputs, outputs, window=9, adapted=conv)
        self.layer(1, unet.time_width, outputs, adapted=conv)
        # A pooled text that is trained enters with the time embedding, before any adapted layer.
        self.gradient |= bool(unet.extra_width) and "text_encoder" in self.parts
        self.norm(outputs * positions, activation=True)
        self.layer(positions, outputs, outputs, window=9, adapted=conv)
        if inputs != outputs:
            self.layer(positions, inputs, outputs, adapted=conv, keeps_input=False)
        self.end_group()

    def _transformer(
        self, unet: UnetLayout, width: int, positions: int, tokens: int, heads: int, depth: int
    ) -> None:
        values = width * positions
        self.norm(values)
        self.layer(positions, width, width, adapted=True)
        for _ in range(depth):
            self.begin_group(values)
            self._transformer_block(unet, width, positions, tokens, heads)
            self.end_group()
        self.layer(positions, width, width, adapted=True)

    def _transformer_block(
        self, unet: UnetLayout, width: int, positions: int, tokens: int, heads: int
    ) -> None:
        values = width * positions
        self.norm(values)
        for number in range(3):
            self.layer(positions, width, width, adapted=True, keeps_input=number == 0)
        self.attend(positions, positions, width, heads)
        self.layer(positions, width, width, adapted=True, keeps_input=False)
        self.norm(values)
        self.layer(positions, width, width, adapted=True)
        for _ in range(2):
            # Every block reads the same text: it is kept once.
            self.layer(tokens, unet.cross_width, width, adapted=True, keeps_input=not self._text_kept)
            self._text_kept = True
        self.attend(positions, tokens, width, heads)
        self.layer(positions, width, width, adapted=True, keeps_input=False)
        self.norm(values)
        self.layer(positions, width, 8 * width, adapted=True)
        self.pointwise(12 * values)
        self.layer(positions, 4 * width, width, adapted=True)

    def _resample(self, width: int, positions: int, positions_in: int) -> None:
        """Down: a convolution of stride 2 keeps the larger input. Up: it keeps its enlarged input."""
        self.layer(
            positions, width, width, window=9, adapted=self.conv_rank is not None, positions_in=positions_in
        )


def operations(work: Workload, part: LoraPart) -> Iterator[Op]:
    """Yield the operations of one part."""
    yield from (op for op in work.ops if op.part == part)

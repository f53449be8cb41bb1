"""How LoRA computes.

Initial weights follow Kaiming uniform with a = √5 (uniform in ±1/√fan_in) for down and zero for up; the operation order of
P = 1 is that of sd-scripts, so that results agree with it to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maquette.lora.kinds.change_work import convolved_apart
from maquette.lora.kinds.lora_beside import Beside
from maquette.lora.kinds.protocol import Hands, Sizes
from maquette.lora.kinds.tensors import as_dtype_of


class LoraWork:
    """Linear layers and convolutions, one trial or many."""

    works_on_stacks = True

    def first(
        self, sizes: Sizes, rank: int, generator: torch.Generator, base: Tensor
    ) -> tuple[Tensor, Tensor]:
        down = torch.empty(rank, sizes.inputs, *sizes.kernel)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        return down, torch.zeros(sizes.outputs, rank, *(1 for _ in sizes.kernel))

    def alone(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        down: Tensor
        up: Tensor
        down, up = hands.first_leaves
        if down.dtype != x.dtype:
            down, up = as_dtype_of(x, down, up)
        if hands.sizes.kernel:
            lx = F.conv2d(x, down, None, *hands.placing)
            lx = F.conv2d(hands.drop(0, lx), up)
        else:
            lx = F.linear(hands.drop(0, F.linear(x, down)), up)
        if hands.multipliers[0] != 1.0:  # a product with one changes no bit
            lx = lx * hands.multipliers[0]
        scale = hands.scale(0)
        return out + (lx if scale == 1.0 else lx * scale)

    def packed(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        part = hands.pooled()
        if part is not None and not hands.sizes.is_conv:
            num_trials = len(hands.trials)
            shape = (x.numel() // x.shape[-1] // num_trials, part.columns[0].shape[0])
            gain = hands.gain(shape, out, x.shape[0] // num_trials)
            made: Tensor = Beside.apply(part.pool.anchor, out, x, gain, part, hands.skipped)
            return made
        down, up = as_dtype_of(x, *hands.stacked())
        if hands.sizes.is_conv:
            lx_PbrN = hands.weigh(_convolve(hands, x, down))
            up_PxOr = up.flatten(2).unsqueeze(1)
            return out + torch.matmul(up_PxOr, lx_PbrN).reshape(out.shape)
        num_trials = len(hands.trials)
        lx_Pnr = torch.bmm(x.reshape(num_trials, -1, x.shape[-1]), down.mT)
        lx_Pnr = hands.weigh(lx_Pnr, rows=x.shape[0] // num_trials)
        out_PnO = out.reshape(num_trials, -1, out.shape[-1])
        return torch.baddbmm(out_PnO, lx_Pnr, up.mT).reshape(out.shape)

    def delta(self, hands: Hands, index: int) -> Tensor:
        down, up = (leaf.float().flatten(1) for leaf in hands.leaves_of(index))
        return up @ down

    def change(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        down, up = tensors
        return up.flatten(1), down.flatten(1)

    def is_idle(self, tensors: Sequence[Tensor]) -> bool:
        _, up = tensors
        return up.numel() > 0 and not bool(up.any())

    def norm(self, tensors: Sequence[Tensor]) -> float | None:
        """By the r × r products of the two: Σ (upᵀ up) ∘ (down downᵀ)."""
        down, up = tensors
        rank = down.shape[0] if down.ndim else 0
        if not down.numel() or not up.numel() or up.shape[1:].numel() != rank:
            return None
        down_RI, up_OR = down.reshape(rank, -1), up.reshape(up.shape[0], -1)
        squared = float(((up_OR.T @ up_OR) * (down_RI @ down_RI.T)).sum())
        return math.sqrt(max(squared, 0.0)) if math.isfinite(squared) else None


def _convolve(hands: Hands, x: Tensor, down: Tensor) -> Tensor:
    """Return each trial's down convolution of its own rows: [P, b, r, N]."""
    num_trials = len(down)
    rows = x.shape[0] // num_trials
    if hands.sizes.kernel == (1, 1) and hands.placing == ((1, 1), (0, 0), (1, 1)):
        x_PbIN = x.reshape(num_trials, rows, x.shape[1], -1)
        return torch.matmul(down.flatten(2).unsqueeze(1), x_PbIN)
    return convolved_apart(hands, x, down)

"""How DoRA computes: g ∘ (W + s · up · down), g = lengths / ‖W + s · up · down‖ over each input's column or output's row.

Gradients go through the norm too, as LyCORIS lets them. A strength between 0 and 1 goes in a straight line from the base to
the trained weight, as drawing programs do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maquette.lora.kinds.change_work import ChangeWork
from maquette.lora.kinds.protocol import Hands, Sizes


@dataclass(frozen=True)
class DoraWork:
    """Linear layers and convolutions, one trial or many, through the whole change of the weight."""

    by_outputs: bool

    def first(self, sizes: Sizes, rank: int, generator: torch.Generator, base: Tensor) -> tuple[Tensor, ...]:
        down = torch.empty(rank, sizes.inputs, *sizes.kernel)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        up = torch.zeros(sizes.outputs, rank, *(1 for _ in sizes.kernel))
        if base.device.type == "meta":
            return down, up, self._lengths(torch.empty(base.shape))
        return down, up, self._lengths(base.detach().float().cpu())

    def _lengths(self, weight: Tensor) -> Tensor:
        kept = 0 if self.by_outputs else 1
        others = [axis for axis in range(weight.ndim) if axis != kept]
        return torch.linalg.vector_norm(weight, dim=others, keepdim=True)

    def _change(self, hands: Hands, index: int, leaves: Sequence[Tensor]) -> Tensor:
        down, up, lengths = leaves
        trial = hands.trials[index]
        assert trial is not None
        weight = hands.base.weight
        assert isinstance(weight, Tensor)
        base = weight.detach().to(down.dtype)
        step = (up.flatten(1) @ down.flatten(1)).reshape(base.shape) * (hands.alphas[index] / trial.rank)
        changed = base + step
        norm = self._lengths(changed)
        # Where a whole column is zero there is nothing to scale.
        gain = torch.where(
            norm > 0, lengths.reshape(norm.shape) / norm.clamp(min=1e-30), torch.ones_like(norm)
        )
        return (gain - 1.0) * base + gain * step

    def _whole(self) -> ChangeWork:
        return ChangeWork(lambda *_: (), self._change, None, idle_place=1)

    def alone(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        return self._whole().alone(hands, x, out)

    def packed(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        return self._whole().packed(hands, x, out)

    def delta(self, hands: Hands, index: int) -> Tensor:
        return self._whole().delta(hands, index)

    def change(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        return None

    def is_idle(self, tensors: Sequence[Tensor]) -> bool:
        """Lengths are the base's own before the first step, which a file alone does not tell: up is what tells."""
        return tensors[1].numel() > 0 and not bool(tensors[1].any())

    def norm(self, tensors: Sequence[Tensor]) -> float | None:
        return None

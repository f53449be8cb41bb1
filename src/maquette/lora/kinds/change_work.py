"""How kinds compute whose change of a weight is made whole: LoHa, LoKr, OFT.

The change [O, I(, k, k)] of each trial is built from its leaves and goes through the layer beside the base's own weight. It is
built in float32, whatever the activations are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maquette.lora.kinds.protocol import Hands, Sizes

First = Callable[[Sizes, int, torch.Generator], tuple[Tensor, ...]]
Change = Callable[[Hands, int, Sequence[Tensor]], Tensor]
"""The change of the weight, before its scale, from (the layer, the trial's index, its leaves)."""


@dataclass(frozen=True)
class ChangeWork:
    """Everything from how the first weights are and how they make a change."""

    make_first: First
    make_change: Change
    of_tensors: Callable[[Sequence[Tensor]], Tensor] | None
    """The change from tensors alone, as a matrix; None where it needs the base's weight."""
    idle_place: int
    """Which tensor holds zeros before the first step."""

    def first(self, sizes: Sizes, rank: int, generator: torch.Generator, base: Tensor) -> tuple[Tensor, ...]:
        return self.make_first(sizes, rank, generator)

    def alone(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        return out + _through(hands, x, self._scaled(hands, 0).to(_dtype(x)))

    def packed(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        changes = [
            torch.zeros(hands.sizes.weight, device=x.device)
            if trial is None or index in hands.skipped
            else self._scaled(hands, index)
            for index, trial in enumerate(hands.trials)
        ]
        stack = torch.stack(changes).to(_dtype(x))
        num_trials = len(stack)
        if not hands.sizes.is_conv:
            x_Pni = x.reshape(num_trials, -1, x.shape[-1])
            return out + torch.bmm(x_Pni, stack.flatten(2).mT).reshape(out.shape)
        return out + convolved_apart(hands, x, stack).reshape(out.shape)

    def _scaled(self, hands: Hands, index: int) -> Tensor:
        """Return trial `index`'s change in the weight's shape, with all that it is multiplied with."""
        with torch.autocast(hands.base.weight.device.type, enabled=False):  # type: ignore[arg-type]
            change = self.make_change(hands, index, hands.leaves_of(index)).reshape(hands.sizes.weight)
            change = hands.drop_outputs(index, change)
            return change * (hands.multipliers[index] * hands.scale(index))

    def delta(self, hands: Hands, index: int) -> Tensor:
        leaves = [leaf.float() for leaf in hands.leaves_of(index)]
        return self.make_change(hands, index, leaves)

    def change(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        return None if self.of_tensors is None else (self.of_tensors(tensors),)

    def is_idle(self, tensors: Sequence[Tensor]) -> bool:
        place = tensors[self.idle_place]
        return place.numel() > 0 and not bool(place.any())

    def norm(self, tensors: Sequence[Tensor]) -> float | None:
        if self.of_tensors is None:
            return None
        try:
            found = float(self.of_tensors([tensor.float() for tensor in tensors]).norm())
        except RuntimeError:
            return None
        return found if math.isfinite(found) else None


def _dtype(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _through(hands: Hands, x: Tensor, change: Tensor) -> Tensor:
    if hands.sizes.is_conv:
        return F.conv2d(x, change, None, *hands.placing)
    return F.linear(x, change)


def convolved_apart(hands: Hands, x: Tensor, weights: Tensor) -> Tensor:
    """Return each trial's rows through its own kernel of `weights` [P, O, I, k, k]: [P, b, O, N]."""
    num_trials, outputs = weights.shape[:2]
    rows = x.shape[0] // num_trials
    # Trials become channel groups of one convolution.
    grouped = x.reshape(num_trials, rows, *x.shape[1:]).transpose(0, 1).reshape(rows, -1, *x.shape[2:])
    stride, padding, dilation = hands.placing
    lx = F.conv2d(grouped, weights.flatten(0, 1), None, stride, padding, dilation, num_trials)
    return lx.reshape(rows, num_trials, outputs, -1).transpose(0, 1)

"""An exponential moving average of a trial's weights: what is saved and drawn with, while training goes on with the weights.

It begins as the weights after the first step. Then step n (from 0) leaves it the share min(decay, (1 + n) / (10 + n)) of
itself, so that the first steps, whose weights are far from the last, are soon forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def share_kept(decay: float, step: int) -> float:
    """Return how much of itself an average keeps at 0-based optimizer step `step`."""
    return min(decay, (1 + step) / (10 + step)) if step else 0.0


class WeightAverage:
    """The average of `parameters`, and the exchange with it."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self._training: list[torch.Tensor] | None = None
        """The weights that training goes on with, while the average stands in their place."""

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights that 0-based optimizer step `step` has left."""
        new = 1 - share_kept(self.decay, step)
        torch._foreach_lerp_(self.averages, [parameter.detach() for parameter in self.parameters], new)

    @torch.no_grad()
    def show(self, shown: bool) -> None:
        """Put the average into the parameters, or the weights that training goes on with; twice is once."""
        if shown == (self._training is not None):
            return
        if shown:
            self._training = [parameter.detach().clone() for parameter in self.parameters]
        source = self.averages if shown else self._training or ()
        for parameter, value in zip(self.parameters, source, strict=True):
            parameter.copy_(value)
        if not shown:
            self._training = None

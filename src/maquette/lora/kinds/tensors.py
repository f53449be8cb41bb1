"""What the work of several kinds needs."""

from __future__ import annotations

import torch
from torch import Tensor


def as_dtype_of(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Cast weights to the activations' type (a half-precision base); autocast does so itself."""
    if torch.is_autocast_enabled(x.device.type):
        return weights
    return tuple(weight.to(x.dtype) for weight in weights)

"""Convolutions of frozen weights on a processor: one matrix product where the picture is small beside the weights.

oneDNN rearranges a convolution's weights in every pass, forward and backward. At a U-Net's bottom a weight has 60 to 120 MB and
the picture 16 to 64 positions, so that rearranging takes up to three quarters of a layer's time. There the patches of the picture
become the columns of a matrix, and the weights are read once, as they lie.

Shapes: x_BCHW the input, cols_KN the patches (K = channels × kernel height × kernel width, N = B × positions), weight_OK.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LEAST_WEIGHT_BYTES = 32 * 2**20
"""Smaller weights are rearranged in the processor's caches, at no cost that shows."""
BYTES_A_POSITION = 400 * 2**10
"""So much of the weights for each position of all pictures together: with less, arithmetic takes longer, and oneDNN is faster."""


class FrozenConv2d(nn.Conv2d):
    """A convolution that computes as a matrix product where that pays; everywhere else it is its parent."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not self._pays(input, weight):
            return super()._conv_forward(input, weight, bias)
        stride, padding = int(self.stride[0]), int(self.padding[0])
        out: Tensor = _ByColumns.apply(input, weight, bias, stride, padding)
        return out

    def _pays(self, x: Tensor, weight: Tensor) -> bool:
        is_plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.dim() == 4
        if not is_plain or weight.requires_grad or torch.is_autocast_enabled("cpu"):
            return False
        positions = x.shape[0] * (x.shape[2] // self.stride[0]) * (x.shape[3] // self.stride[1])
        return 4 * weight.numel() >= BYTES_A_POSITION * positions and not torch.compiler.is_compiling()


def convolve_by_products(module: nn.Module) -> nn.Module:
    """Let the large convolutions of `module` compute by matrix products where that pays; return it."""
    for each in module.modules():
        if type(each) is nn.Conv2d and _fits(each):
            each.__class__ = FrozenConv2d
    return module


def _fits(convolution: nn.Conv2d) -> bool:
    how = (
        convolution.kernel_size,
        convolution.stride[0] == convolution.stride[1],
        convolution.padding,
        convolution.dilation,
        convolution.groups,
        convolution.padding_mode,
    )
    return how == ((3, 3), True, (1, 1), (1, 1), 1, "zeros") and (
        4 * convolution.weight.numel() >= LEAST_WEIGHT_BYTES
    )


class _ByColumns(torch.autograd.Function):
    """weight · columns(x) + bias; only `x` has a gradient."""

    @staticmethod
    def forward(
        ctx: Any, x_BCHW: Tensor, weight_OCHW: Tensor, bias_O: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(weight_OCHW)
        ctx.size, ctx.stride, ctx.padding = x_BCHW.shape[2:], stride, padding
        count, kernel = len(x_BCHW), weight_OCHW.shape[2]
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in ctx.size)
        cols_BKN = F.unfold(x_BCHW, kernel, padding=padding, stride=stride)
        cols_KN = cols_BKN[0] if count == 1 else cols_BKN.transpose(0, 1).flatten(1)
        weight_OK = weight_OCHW.flatten(1)
        out_ON = weight_OK @ cols_KN if bias_O is None else torch.addmm(bias_O[:, None], weight_OK, cols_KN)
        return out_ON.view(-1, count, height, width).transpose(0, 1).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_BOHW: Tensor) -> tuple[Tensor | None, ...]:
        (weight_OCHW,) = ctx.saved_tensors
        count, channels = gradient_BOHW.shape[:2]
        # Rows first: with few positions the product reads the weights at twice the speed of the transposed one.
        gradient_NO = gradient_BOHW.flatten(2).transpose(1, 2).reshape(-1, channels)
        cols_BNK = (gradient_NO @ weight_OCHW.flatten(1)).view(count, -1, weight_OCHW[0].numel())
        kernel = weight_OCHW.shape[2]
        x_BCHW = F.fold(cols_BNK.transpose(1, 2), ctx.size, kernel, padding=ctx.padding, stride=ctx.stride)
        return x_BCHW, None, None, None, None

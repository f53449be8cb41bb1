"""LoRA of many trials beside a linear layer, as one step of the backward pass.

A packed pass waits for the many small operations of its adapters, not for their arithmetic: their number counts.

    out [P, n, O] + (x [P, n, I] · downᵀ ∘ gain) · up        down [P, R, I], up [P, R, O] as they lie in the pool

Gradients of down and up are products too, added where the pool keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from maquette.lora.pool import PooledPart


class Beside(torch.autograd.Function):
    """Returns `out` with what the trials of a pooled layer add to it."""

    @staticmethod
    def forward(
        ctx: Any,
        anchor: Tensor,
        out: Tensor,
        x: Tensor,
        gain: Tensor | None,
        part: PooledPart,
        skipped: frozenset[int],
    ) -> Tensor:
        """`gain` [P, 1, 1] or [P, n, R] is what values between down and up are multiplied with; None: nothing."""
        down, up = (stack.to(out.dtype) for stack in part.stacks())
        up = up.flatten(2)
        num_places = len(down)
        x_PnI = x.reshape(num_places, -1, x.shape[-1]).to(out.dtype)
        lx_PnR = torch.bmm(x_PnI, down.mT)
        if gain is not None:
            lx_PnR *= gain
        ctx.save_for_backward(x_PnI, lx_PnR, gain)
        ctx.down, ctx.up, ctx.part, ctx.skipped = down, up, part, skipped
        ctx.x_shape, ctx.x_dtype = x.shape, x.dtype
        return torch.baddbmm(out.reshape(num_places, -1, out.shape[-1]), lx_PnR, up).reshape(out.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_PnI, lx_PnR, gain = ctx.saved_tensors
        grad_PnO = grad.reshape(len(lx_PnR), -1, grad.shape[-1])
        grad_PnR = torch.bmm(grad_PnO, ctx.up.mT)
        if gain is not None:
            grad_PnR *= gain
        ctx.part.add_products(((grad_PnR.mT, x_PnI), (lx_PnR.mT, grad_PnO)), ctx.skipped)
        of_x = None
        if ctx.needs_input_grad[2]:
            of_x = torch.bmm(grad_PnR, ctx.down).reshape(ctx.x_shape).to(ctx.x_dtype)
        return None, grad, of_x, None, None, None

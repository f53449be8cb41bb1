"""The frozen denoiser in a byte a weight: int8 with a scale for each output, made whole again layer by layer as it computes.

    int8 [O, …]  =  round(weight / scale)          scale [O] = largest |weight| of the output / 127
    weight'      =  int8 · scale                   |weight - weight'| ≤ scale / 2 (and the rounding of the weight's own precision)

A layer's weight is whole only while the layer computes: forward, and once more in the backward pass for the gradient of its
inputs, so that nothing of it is kept in between. Adapters stand on such layers as on any other: `weight` says what they compute
with.

Of libraries torchao 0.18 has no convolutions (69 % of SD 1.5's U-Net, 13 % of SDXL's), and optimum-quanto, which has them, no
release since 0.2.7 of March 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from maquette.errors import ModelError, Problem
from maquette.events import Event, Message

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel

LARGEST = 127


def hold_in_int8(denoiser: nn.Module) -> None:
    """Hold the weights of all linear layers and convolutions in int8, each in its place; the rest stays as it is."""
    for module in denoiser.modules():
        kind = _kind_for(module)
        if kind is not None:
            _become(module, kind)


def told_of_int8(model: BaseModel) -> Iterator[Event]:
    """Say what the denoiser takes where it is held in int8."""
    layers = [module for module in model.denoiser.modules() if isinstance(module, _Int8)]
    if layers:
        held = sum(layer.int8.nbytes + layer.scale.nbytes for layer in layers)
        whole = sum(layer.int8.numel() * layer.weight_dtype.itemsize for layer in layers)
        yield Message(
            f"The denoiser's weights are held in int8: {held / 1e6:,.0f} MB where they would take {whole / 1e6:,.0f} MB."
        )


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return the int8 of a weight [O, …] and its scales, float32 [O]. Raises ModelError for a broken one, which it would hide."""
    values = weight.detach().float()
    largest = values.flatten(1).abs().amax(dim=1)
    if not bool(largest.isfinite().all()):
        raise ModelError(
            Problem(
                "the denoiser", "weights that are no finite numbers", "a sound base", "Give another file."
            )
        )
    scale = torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))
    int8 = (values / _wide(scale, values)).round().clamp(-LARGEST, LARGEST).to(torch.int8)
    return int8, scale


def dequantised(int8: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the weight that int8 and scales stand for, in `dtype`."""
    wide = _wide(scale, int8)
    if int8.device.type == "cpu":  # where a product of two types takes longer than two passes
        return int8.float().mul_(wide).to(dtype)
    return multiplied_at_once(int8, wide, dtype)


def multiplied_at_once(int8: Tensor, wide: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the product by one kernel, in float32 and rounded once: a product of bf16 would be off by half a scale more."""
    return torch.mul(int8, wide, out=torch.empty(int8.shape, dtype=dtype, device=int8.device))


def _wide(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *(1 for _ in like.shape[1:]))


class _Int8(nn.Module):
    """A layer whose weight is held in int8. Its module is made one of these in its place, and keeps all else that it has."""

    int8: Tensor
    scale: Tensor
    weight_dtype: torch.dtype

    @property
    def weight(self) -> Tensor:
        """What the layer computes with, made anew: writing into it changes nothing."""
        return dequantised(self.int8, self.scale, self.weight_dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> _Int8:
        # To another precision goes what the weight is made whole in; the scales stay float32.
        scale, self.weight_dtype = self.scale, fn(self.scale.new_empty(0, dtype=self.weight_dtype)).dtype
        super()._apply(fn, recurse)
        self.scale = scale.to(self.int8.device)
        return self

    def _input(self, x: Tensor) -> Tensor:
        """Return `x` as the layer's own operation would take it."""
        return x.to(self.weight_dtype) if torch.is_autocast_enabled(x.device.type) else x


class Int8Linear(_Int8, nn.Linear):  # type: ignore[override]  # its weight is no parameter
    """A linear layer with an int8 weight."""

    def forward(self, x: Tensor) -> Tensor:
        return _linear(self._input(x), self.int8, self.scale, self.weight_dtype, self.bias)


class Int8Conv2d(_Int8, nn.Conv2d):  # type: ignore[override]
    """A convolution with an int8 weight."""

    def forward(self, x: Tensor) -> Tensor:
        how = (self.stride, self.padding, self.dilation, self.groups)
        return _convolution(self._input(x), self.int8, self.scale, self.weight_dtype, self.bias, how)


def _kind_for(module: nn.Module) -> type[_Int8] | None:
    if isinstance(module, _Int8):
        return None
    if isinstance(module, nn.Linear):
        return Int8Linear
    plain = (
        isinstance(module, nn.Conv2d)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )
    return Int8Conv2d if plain else None


def _become(module: nn.Module, kind: type[_Int8]) -> None:
    weight = module.weight
    assert isinstance(weight, Tensor)
    int8, scale = quantised(weight)
    module.weight_dtype = weight.dtype  # type: ignore[assignment]
    del module.weight
    module.register_buffer("int8", int8)
    module.register_buffer("scale", scale)
    module.__class__ = kind


class _Linear(torch.autograd.Function):
    """x · weightᵀ + bias, which keeps the int8 for its backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, int8: Tensor, scale: Tensor, dtype: torch.dtype, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(int8, scale)
        ctx.dtype = dtype
        return F.linear(x, dequantised(int8, scale, dtype), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        int8, scale = ctx.saved_tensors
        return gradient @ dequantised(int8, scale, ctx.dtype), None, None, None, None


class _Convolution(torch.autograd.Function):
    """The same for a convolution; `how`: stride, padding, dilation, groups."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        int8: Tensor,
        scale: Tensor,
        dtype: torch.dtype,
        bias: Tensor | None,
        how: tuple[Any, ...],
    ) -> Tensor:
        ctx.save_for_backward(int8, scale)
        ctx.dtype, ctx.how, ctx.shape = dtype, how, x.shape
        return F.conv2d(x, dequantised(int8, scale, dtype), bias, *how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        int8, scale = ctx.saved_tensors
        weight = dequantised(int8, scale, ctx.dtype)
        inputs = conv2d_input(ctx.shape, weight, gradient, *ctx.how)
        return inputs, None, None, None, None, None


_linear: Callable[..., Tensor] = _Linear.apply
_convolution: Callable[..., Tensor] = _Convolution.apply

"""How LoHa, LoKr and OFT begin and what change they make. First weights are LyCORIS'."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from maquette.lora.kinds.change_work import ChangeWork
from maquette.lora.kinds.protocol import Hands, Sizes

if TYPE_CHECKING:
    from maquette.lora.kinds.lokr import Lokr

# --- LoHa ------------------------------------------------------------------------------------------------


def loha_work() -> ChangeWork:
    """Return how LoHa computes."""
    return ChangeWork(_loha_first, lambda hands, index, leaves: _loha(leaves), _loha, idle_place=2)


def _loha_first(sizes: Sizes, rank: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    outputs, inputs = sizes.outputs, sizes.inputs * sizes.window
    w1b = torch.empty(rank, inputs).normal_(std=1.0, generator=generator)
    w1a = torch.empty(outputs, rank).normal_(std=0.1, generator=generator)
    w2b = torch.empty(rank, inputs).normal_(std=1.0, generator=generator)
    return w1a, w1b, torch.zeros(outputs, rank), w2b


def _loha(leaves: Sequence[Tensor]) -> Tensor:
    w1a, w1b, w2a, w2b = leaves
    return (w1a @ w1b) * (w2a @ w2b)


# --- LoKr ------------------------------------------------------------------------------------------------


def lokr_work(form: Lokr) -> ChangeWork:
    """Return how a form of LoKr computes."""

    def first(sizes: Sizes, rank: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        shapes = form.shapes(sizes, rank)
        found = [_kaiming(shape, generator) for shape in shapes[:-1]]
        return (*found, torch.zeros(shapes[-1]))

    def change(leaves: Sequence[Tensor]) -> Tensor:
        own = list(leaves)
        w1 = own.pop(0) if form.whole_1 else own.pop(0) @ own.pop(0)
        w2 = own.pop(0).flatten(1) if form.whole_2 else own.pop(0) @ own.pop(0)
        return torch.kron(w1, w2.contiguous())

    return ChangeWork(
        first, lambda hands, index, leaves: change(leaves), change, idle_place=len(form.tensors) - 1
    )


def _kaiming(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    empty = torch.empty(shape)
    nn.init.kaiming_uniform_(empty, a=math.sqrt(5), generator=generator)
    return empty


# --- OFT -------------------------------------------------------------------------------------------------


def oft_work() -> ChangeWork:
    """Return how OFT computes."""
    return ChangeWork(_oft_first, _oft, None, idle_place=0)


def _oft_first(sizes: Sizes, rank: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    from maquette.lora.kinds.forms import factorization

    size, count = factorization(sizes.outputs, rank)
    return (torch.zeros(count, size, size),)


def _oft(hands: Hands, index: int, leaves: Sequence[Tensor]) -> Tensor:
    blocks = leaves[0]
    count, size = blocks.shape[:2]
    skew = blocks - blocks.mT
    limit = hands.alphas[index] * hands.sizes.outputs
    if limit > 0:
        length = skew.norm() + 1e-8
        skew = torch.where(length > limit, skew * (limit / length), skew)
    one = torch.eye(size, device=blocks.device, dtype=blocks.dtype)
    rotation = (one + skew) @ torch.linalg.inv(one - skew)
    weight = hands.base.weight
    assert isinstance(weight, Tensor)
    rows = weight.detach().to(blocks.dtype).reshape(count, size, -1)
    return torch.einsum("knm,kni->kmi", rotation - one, rows)

"""A second kind of adapter, as small as one can be: a scale for each output of a layer, in the manner of (IA)³.

It proves that nothing but `maquette.lora.kinds` knows what an adapter consists of: its change of the weight needs the weight
itself, it has one tensor, no rank, and a name of its own in files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from maquette.lora.kinds.forms import OneForm
from maquette.lora.kinds.protocol import AdapterWork, Hands, Shape, Sizes
from maquette.lora.kinds.tensors import as_dtype_of

SCALES = "out_scale"


class OutputScale(OneForm):
    """scales [O]: out + (out - bias) · scales · alpha."""

    name = "output_scale"
    title = "output scales"
    network_module = "tests.lora.kinds"
    tensors: tuple[str, ...] = (SCALES,)
    leaves: tuple[str, ...] = ("scales",)
    rank_axes: tuple[int | None, ...] = (None,)
    spellings: tuple[tuple[str, str], ...] = ((".ia3_scale", SCALES),)
    diffusers_endings: tuple[str, ...] | None = None
    dropouts: tuple[str, ...] = ("dropout", "module_dropout")
    plus: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    needs_base: bool = True

    def shapes(self, sizes: Sizes, rank: int) -> tuple[Shape, ...]:
        return ((sizes.outputs,),)

    def scale(self, alpha: float, rank: int) -> float:
        return alpha

    def rank(self, shapes: Mapping[str, Shape]) -> int | None:
        return 1 if SCALES in shapes else None

    def dropped_width(self, sizes: Sizes, rank: int) -> int:
        return sizes.outputs

    def ends(self, shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
        return None

    def misfit(self, shapes: Mapping[str, Shape]) -> str | None:
        return None if len(shapes[SCALES]) == 1 else "out_scale [out]"

    def work(self) -> AdapterWork:
        return OutputScaleWork()


class OutputScaleWork:
    """The same for one trial and for many: products of each output with its scale."""

    def first(self, sizes: Sizes, rank: int, generator: torch.Generator, base: Tensor) -> tuple[Tensor, ...]:
        return (torch.zeros(sizes.outputs),)

    def alone(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        change = hands.drop(0, self._change(hands, x, out, hands.first_leaves[0].unsqueeze(0)))
        return out + change * hands.multipliers[0] * hands.scale(0)

    def packed(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        change = self._change(hands, x, out, hands.stacked()[0])
        grouped = change.reshape(len(hands.trials), -1, *change.shape[1:])
        return out + hands.weigh(grouped).reshape(out.shape)

    def _change(self, hands: Hands, x: Tensor, out: Tensor, scales_PO: Tensor) -> Tensor:
        (scales_PO,) = as_dtype_of(x, scales_PO)
        rows_BO = scales_PO.repeat_interleave(out.shape[0] // len(scales_PO), dim=0)
        bias = hands.base.bias
        places = (1,) * (out.ndim - 2)
        if hands.sizes.is_conv:
            rows, own = rows_BO.reshape(*rows_BO.shape, *places), (-1, *places)
        else:
            rows, own = rows_BO.reshape(out.shape[0], *places, -1), (-1,)
        return (out if bias is None else out - bias.reshape(own)) * rows

    def delta(self, hands: Hands, index: int) -> Tensor:
        weight = hands.base.weight.float()
        return weight * hands.leaves_of(index)[0].float().reshape(-1, *(1 for _ in weight.shape[1:]))

    def change(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        return None

    def is_idle(self, tensors: Sequence[Tensor]) -> bool:
        return not bool(tensors[0].any())

    def norm(self, tensors: Sequence[Tensor]) -> float | None:
        return None

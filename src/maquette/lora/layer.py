"""The LoRA layer with a trial axis: P adapters over one frozen linear or convolution.

    base(x) ───────────────────────────────► + ──► out          P trials own equal, contiguous groups of the
       x ──► down_p ──► dropout_p ──► up_p ──► · multiplier_p · scale_p     batch rows: B = P · b

Shapes: P trials, B batch rows, b rows of one trial, n rows times tokens of one trial, r rank (the largest of the
trials where they are stacked), I inputs, O outputs, N picture positions (height · width), k kernel side.

Each trial's `down [r_p, I(, k, k)]` and `up [O, r_p(, 1, 1)]` are leaf parameters of their true rank, so that any
optimizer may own them. With P = 1 they are used as they are. With P > 1 and equal ranks the leaves are views into
one stacked buffer and nothing is copied; ranks that differ are padded with zeros, once a forward.

Initial weights follow Kaiming uniform with a = √5 (uniform in ±1/√fan_in) for down and zero for up, the operation
order of P = 1 is that of sd-scripts, so that results agree with it to the last bit.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, kw_only=True)
class LayerTrial:
    """One trial's part in one layer."""

    rank: int
    alpha: float
    dropout: float = 0.0
    seed: int = 0


class LoraLayer(nn.Module):
    """P low-rank adapters over one frozen `nn.Linear` or `nn.Conv2d`, which stays outside this module's tree.

    A trial of None leaves its rows as the base computes them. Call as the base is called: x [B, …, I] or
    [B, I, H, W] gives what the base gives, [B, …, O] or [B, O, H', W'].
    """

    def __init__(self, key: str, module: nn.Module, trials: Sequence[LayerTrial | None]) -> None:
        super().__init__()
        self.key = key
        self.trials = tuple(trials)
        self.slots = tuple(index for index, trial in enumerate(self.trials) if trial is not None)
        self._geometry = _Geometry.of(module)
        self.base_forward: Callable[[Tensor], Tensor] = module.forward
        weight = module.weight
        assert isinstance(weight, Tensor)
        downs, ups = zip(*(self._first_weights(index) for index in self.slots), strict=True)
        self.downs = nn.ParameterList(nn.Parameter(down.to(weight.device)) for down in downs)
        self.ups = nn.ParameterList(nn.Parameter(up.to(weight.device)) for up in ups)
        self.alphas = [trial.alpha if trial else 0.0 for trial in self.trials]
        self.multipliers = [1.0] * len(self.trials)
        self.enabled = True
        self.micro_step = 0
        self._factors: Tensor | None = None
        self._stacks: tuple[Tensor, Tensor] | None = None
        self._first_pair: tuple[nn.Parameter, nn.Parameter]
        self._share_stacks()

    # --- weights -----------------------------------------------------------------------------------------

    def _first_weights(self, index: int) -> tuple[Tensor, Tensor]:
        trial, geometry = self.trials[index], self._geometry
        assert trial is not None
        generator = torch.Generator().manual_seed(stable_seed(trial.seed, self.key))
        down = torch.empty(trial.rank, geometry.inputs, *geometry.kernel)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        return down, torch.zeros(geometry.outputs, trial.rank, *(1 for _ in geometry.kernel))

    def weights(self, trial: int) -> tuple[nn.Parameter, nn.Parameter] | None:
        """Return the leaf parameters (down, up) of `trial`, or None where it has none in this layer."""
        if trial not in self.slots:
            return None
        slot = self.slots.index(trial)
        return self.downs[slot], self.ups[slot]

    def scale(self, trial: int) -> float:
        """Return alpha / rank of `trial`; 0 where it has no weights here."""
        spec = self.trials[trial]
        return self.alphas[trial] / spec.rank if spec else 0.0

    @property
    def down(self) -> Tensor:
        """The trials' down weights, zero-padded to the largest rank: [P, r, I(, k, k)]."""
        return self._stacked()[0]

    @property
    def up(self) -> Tensor:
        """The trials' up weights, zero-padded to the largest rank: [P, O, r(, 1, 1)]."""
        return self._stacked()[1]

    @torch.no_grad()
    def delta(self, trial: int) -> Tensor:
        """Return `multiplier · scale · up @ down` of `trial` in float32 and the shape of the base weight."""
        geometry, weights = self._geometry, self.weights(trial)
        shape = (geometry.outputs, geometry.inputs, *geometry.kernel)
        if weights is None:
            return torch.zeros(shape)
        down, up = (weight.float().flatten(1) for weight in weights)
        return (self.multipliers[trial] * (up @ down) * self.scale(trial)).reshape(shape)

    @torch.no_grad()
    def _share_stacks(self) -> None:
        """Make the leaves views into one stacked buffer where P > 1 and all present ranks agree."""
        self._stacks = None
        self._factors = None
        # What a single trial's forward needs at every call, without ParameterList's lookups by name.
        self._first_pair = (self.downs[0], self.ups[0])
        ranks = {self.downs[slot].shape[0] for slot in range(len(self.slots))}
        if len(self.trials) > 1 and len(ranks) == 1 and self.downs[0].device.type != "meta":
            self._stacks = (self._adopt(self.downs), self._adopt(self.ups))

    def _adopt(self, leaves: nn.ParameterList) -> Tensor:
        stack = leaves[0].new_zeros(len(self.trials), *leaves[0].shape)
        for index, leaf in zip(self.slots, leaves, strict=True):
            stack[index] = leaf
            leaf.data = stack[index]
        return stack

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LoraLayer:
        # nn.Module moves each parameter alone, which would part the leaves from their stack.
        super()._apply(fn, recurse)
        self._share_stacks()
        return self

    def _stacked(self) -> tuple[Tensor, Tensor]:
        if self._stacks and not self._still_shared():
            self._share_stacks()
        stacks = self._stacks or (None, None)
        largest = max(down.shape[0] for down in self.downs)
        down = _Stack.apply(stacks[0], self.slots, len(self.trials), 0, largest, *self.downs)
        up = _Stack.apply(stacks[1], self.slots, len(self.trials), 1, largest, *self.ups)
        return down, up

    def _still_shared(self) -> bool:
        """Someone may have given a leaf new memory (`leaf.data = …`): then the stack is out of date."""
        assert self._stacks is not None
        pairs = zip(self._stacks, (self.downs, self.ups), strict=True)
        return all(
            leaf.data_ptr() == stack[index].data_ptr()
            for stack, leaves in pairs
            for index, leaf in zip(self.slots, leaves, strict=True)
        )

    # --- forward -----------------------------------------------------------------------------------------

    def set_alpha(self, trial: int, alpha: float) -> None:
        """Change the scale numerator of `trial`."""
        self.alphas[trial], self._factors = alpha, None

    def set_multiplier(self, trial: int, multiplier: float) -> None:
        """Change the strength of `trial`: 1 is as trained, 0 is the base."""
        self.multipliers[trial], self._factors = multiplier, None

    def forward(self, x: Tensor) -> Tensor:
        out = self.base_forward(x)
        if not self.enabled:
            return out
        if len(self.trials) == 1:
            return self._forward_single(x, out)
        if x.shape[0] % len(self.trials):
            raise ValueError(
                f"{self.key}: a batch of {x.shape[0]} rows cannot be shared out among {len(self.trials)} trials"
            )
        if self._geometry.is_conv:
            return self._forward_conv(x, out)
        return self._forward_linear(x, out)

    def _forward_single(self, x: Tensor, out: Tensor) -> Tensor:
        down: Tensor
        up: Tensor
        down, up = self._first_pair
        if down.dtype != x.dtype:
            down, up = _as_dtype_of(x, down, up)
        if self._geometry.kernel:
            lx = F.conv2d(x, down, None, *self._geometry.placing)
            lx = F.conv2d(self._drop(0, lx), up)
        else:
            lx = F.linear(self._drop(0, F.linear(x, down)), up)
        if self.multipliers[0] != 1.0:  # a product with one changes no bit
            lx = lx * self.multipliers[0]
        scale = self.scale(0)
        return out + (lx if scale == 1.0 else lx * scale)

    def _forward_linear(self, x: Tensor, out: Tensor) -> Tensor:
        num_trials = len(self.trials)
        down_PrI, up_POr = _as_dtype_of(x, *self._stacked())
        lx_Pnr = torch.bmm(x.reshape(num_trials, -1, x.shape[-1]), down_PrI.mT)
        lx_Pnr = self._weigh(lx_Pnr)
        out_PnO = out.reshape(num_trials, -1, out.shape[-1])
        return torch.baddbmm(out_PnO, lx_Pnr, up_POr.mT).reshape(out.shape)

    def _forward_conv(self, x: Tensor, out: Tensor) -> Tensor:
        down, up = _as_dtype_of(x, *self._stacked())
        lx_PbrN = self._weigh(self._convolve(x, down))
        up_PxOr = up.flatten(2).unsqueeze(1)
        return out + torch.matmul(up_PxOr, lx_PbrN).reshape(out.shape)

    def _convolve(self, x: Tensor, down: Tensor) -> Tensor:
        """Return each trial's down convolution of its own rows: [P, b, r, N]."""
        num_trials, rank = down.shape[:2]
        rows = x.shape[0] // num_trials
        if self._geometry.is_pointwise:
            x_PbIN = x.reshape(num_trials, rows, x.shape[1], -1)
            return torch.matmul(down.flatten(2).unsqueeze(1), x_PbIN)
        # Trials become channel groups of one convolution.
        grouped = x.reshape(num_trials, rows, *x.shape[1:]).transpose(0, 1).reshape(rows, -1, *x.shape[2:])
        stride, padding, dilation = self._geometry.placing
        lx = F.conv2d(grouped, down.flatten(0, 1), None, stride, padding, dilation, num_trials)
        return lx.reshape(rows, num_trials, rank, -1).transpose(0, 1)

    def _weigh(self, lx: Tensor) -> Tensor:
        """Apply dropout and each trial's multiplier · scale in the small space between down and up."""
        if self.training and any(trial and trial.dropout for trial in self.trials):
            lx = torch.stack([self._drop(index, part) for index, part in enumerate(lx)])
        factors = [self.multipliers[index] * self.scale(index) for index in range(len(self.trials))]
        if all(factors[index] == 1.0 for index in self.slots):
            return lx
        if self._factors is None or self._factors.device != lx.device or self._factors.dtype != lx.dtype:
            self._factors = torch.tensor(factors, device=lx.device, dtype=lx.dtype)
        return lx * self._factors.view(-1, *(1 for _ in lx.shape[1:]))

    def _drop(self, index: int, lx: Tensor) -> Tensor:
        """Return `lx` [b, …] of one trial with elements dropped at its rate, the rest scaled up; else `lx` itself.

        The mask follows from (trial seed, micro-step, key) alone: it is the same when a checkpointed block is
        computed again, and whether or not other trials share the batch.
        """
        trial = self.trials[index]
        if trial is None or not trial.dropout or not self.training:
            return lx
        generator = torch.Generator(lx.device)
        generator.manual_seed(stable_seed(trial.seed, self.micro_step, self.key))
        shape, axis = self._mask_shape(lx, trial.rank)
        kept = torch.rand(shape, device=lx.device, generator=generator) >= trial.dropout
        mask = kept.to(lx.dtype) / (1.0 - trial.dropout)
        padding = lx.shape[axis] - trial.rank
        if padding:  # other trials' ranks are larger; the padded part is zero whatever its mask
            mask = F.pad(mask, (0, padding) if axis == -1 else (0, 0, 0, padding))
        return lx * mask.reshape(lx.shape)

    def _mask_shape(self, lx: Tensor, rank: int) -> tuple[tuple[int, ...], int]:
        if (
            self._geometry.is_conv
        ):  # [b, r, H, W] alone, [b, r, N] packed: the same elements in the same order
            return (lx.shape[0], rank, math.prod(lx.shape[2:])), 1
        return (math.prod(lx.shape[:-1]), rank), -1


@dataclass(frozen=True)
class _Geometry:
    """Sizes of the base module."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    """() for a linear layer."""
    placing: tuple[Any, ...]
    """stride, padding and dilation of a convolution."""

    @property
    def is_conv(self) -> bool:
        return bool(self.kernel)

    @property
    def is_pointwise(self) -> bool:
        return self.kernel == (1, 1) and self.placing == ((1, 1), (0, 0), (1, 1))

    @staticmethod
    def of(module: nn.Module) -> _Geometry:
        if isinstance(module, nn.Linear):
            return _Geometry(module.in_features, module.out_features, (), ())
        if isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros":
            placing = (module.stride, module.padding, module.dilation)
            return _Geometry(module.in_channels, module.out_channels, tuple(module.kernel_size), placing)
        raise TypeError(f"a LoRA layer wraps nn.Linear or an ungrouped, zero-padded nn.Conv2d, not {module}")


class _Stack(torch.autograd.Function):
    """Stacks the trials' leaves, padding `rank_axis` with zeros to `largest`; free when they share memory already."""

    @staticmethod
    def forward(
        ctx: Any,
        shared: Tensor | None,
        slots: tuple[int, ...],
        num_trials: int,
        rank_axis: int,
        largest: int,
        *leaves: Tensor,
    ) -> Tensor:
        ctx.slots, ctx.rank_axis = slots, rank_axis
        ctx.ranks = tuple(leaf.shape[rank_axis] for leaf in leaves)
        if shared is not None:
            return shared.view_as(shared)
        shape = list(leaves[0].shape)
        shape[rank_axis] = largest
        stack = leaves[0].new_zeros(num_trials, *shape)
        for index, leaf, rank in zip(slots, leaves, ctx.ranks, strict=True):
            stack[index].narrow(rank_axis, 0, rank).copy_(leaf)
        return stack

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        parts = zip(ctx.slots, ctx.ranks, strict=True)
        return None, None, None, None, None, *(grad[i].narrow(ctx.rank_axis, 0, rank) for i, rank in parts)


def _as_dtype_of(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Cast weights to the activations' type (a half-precision base); autocast does so itself."""
    if torch.is_autocast_enabled(x.device.type):
        return weights
    return tuple(weight.to(x.dtype) for weight in weights)


def stable_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on `parts` alone, the same in every process and on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1

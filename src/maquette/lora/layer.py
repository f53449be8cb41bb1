"""The adapter layer with a trial axis: P adapters of one kind over one frozen linear or convolution.

    base(x) ───────────────────────────► kind's work ──► out    P trials own equal, contiguous groups of the
       x ──► trial p's weights ──► dropout_p ──┘                batch rows: B = P · b

What an adapter of a kind computes is `kinds/`'s; the layer keeps the trials' weights and seeds, dropout and strengths.
Shapes: P trials, B batch rows, b rows of one trial, n rows times tokens of one trial, r rank (the largest of the
trials where they are stacked), I inputs, O outputs, N picture positions (height · width), k kernel side.

Each trial's weights are leaf parameters of their true rank, so that any optimizer may own them. With P = 1 they are used as
they are. With P > 1 and equal ranks the leaves are views into one stacked buffer and nothing is copied; ranks that differ are
padded with zeros, once a forward.
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

from maquette.errors import LoraError, Problem
from maquette.lora.kinds import DEFAULT_KIND, KINDS
from maquette.lora.kinds.protocol import AdapterKind, Sizes


@dataclass(frozen=True, kw_only=True)
class LayerTrial:
    """One trial's part in one layer."""

    rank: int
    alpha: float
    dropout: float = 0.0
    rank_dropout: float = 0.0
    module_dropout: float = 0.0
    seed: int = 0
    form: AdapterKind | None = None
    """The kind's form on this layer; None: as a new adapter has it."""
    lr_factor: float = 1.0
    """What the learning rate is multiplied with on this layer."""

    @property
    def drops_values(self) -> bool:
        """Whether a training pass drops some of its values, beside whole modules."""
        return bool(self.dropout or self.rank_dropout)


class LoraLayer(nn.Module):
    """P adapters of one kind over one frozen `nn.Linear` or `nn.Conv2d`, which stays outside this module's tree.

    A trial of None leaves its rows as the base computes them. Call as the base is called: x [B, …, I] or
    [B, I, H, W] gives what the base gives, [B, …, O] or [B, O, H', W'].
    """

    def __init__(
        self,
        key: str,
        module: nn.Module,
        trials: Sequence[LayerTrial | None],
        kind: str = DEFAULT_KIND,
    ) -> None:
        super().__init__()
        self.key = key
        self.trials = tuple(trials)
        self.slots = tuple(index for index, trial in enumerate(self.trials) if trial is not None)
        self.sizes, self.placing = sizes_of(module), _placing(module)
        self.kind = _form(key, self.sizes, self.trials, kind)
        self.base_forward: Callable[[Tensor], Tensor] = module.forward
        # In a tuple: as an attribute the base would become part of this module's tree.
        self._base = (module,)
        self._work = self.kind.work()
        weight = module.weight
        assert isinstance(weight, Tensor)
        firsts = [self._first_weights(index, weight) for index in self.slots]
        self.leaves = nn.ModuleList(
            nn.ParameterList(nn.Parameter(first.to(weight.device)) for first in of_trials)
            for of_trials in zip(*firsts, strict=True)
        )
        """For each of the kind's tensors the trials' leaves, in the order of `slots`."""
        self.alphas = [trial.alpha if trial else 0.0 for trial in self.trials]
        self.multipliers = [1.0] * len(self.trials)
        self.enabled = True
        self.micro_step = 0
        self.own_rows: tuple[int, int, int] | None = None
        """Rows of a batch that other processes share: first, before which, of how many."""
        self._drops = tuple(bool(trial and trial.drops_values) for trial in self.trials)
        self._skips = tuple(index for index in self.slots if self._module_dropout(index))
        """Trials that leave this module out of some training passes."""
        self.skipped: frozenset[int] = frozenset()
        """Trials that leave it out of the pass at hand."""
        self._factors: Tensor | None = None
        self._stacks: tuple[Tensor, ...] | None = None
        self.first_leaves: tuple[nn.Parameter, ...] = ()
        self._share_stacks()

    @property
    def base(self) -> nn.Module:
        """The module that it stands on."""
        return self._base[0]

    # --- weights -----------------------------------------------------------------------------------------

    def _first_weights(self, index: int, base: Tensor) -> tuple[Tensor, ...]:
        trial = self.trials[index]
        assert trial is not None
        generator = torch.Generator().manual_seed(stable_seed(trial.seed, self.key))
        return self._work.first(self.sizes, trial.rank, generator, base)

    def weights(self, trial: int) -> tuple[nn.Parameter, ...] | None:
        """Return the leaf parameters of `trial` in the order of its kind's tensors, or None where it has none here."""
        if trial not in self.slots:
            return None
        slot = self.slots.index(trial)
        return tuple(_leaf(leaves, slot) for leaves in self.leaves)

    def leaves_of(self, trial: int) -> tuple[nn.Parameter, ...]:
        """Return the leaf parameters of a trial that has some here."""
        weights = self.weights(trial)
        assert weights is not None
        return weights

    def scale(self, trial: int) -> float:
        """Return what alpha and rank of `trial` mean; 0 where it has no weights here."""
        spec = self.trials[trial]
        return self.kind.scale(self.alphas[trial], spec.rank) if spec else 0.0

    @torch.no_grad()
    def delta(self, trial: int) -> Tensor:
        """Return what `trial` adds to the base weight, with its multiplier and scale: float32, in the weight's shape."""
        if trial not in self.slots:
            return torch.zeros(self.sizes.weight)
        change = self._work.delta(self, trial)
        return (self.multipliers[trial] * change * self.scale(trial)).reshape(self.sizes.weight)

    @torch.no_grad()
    def _share_stacks(self) -> None:
        """Make the leaves views into one stacked buffer where P > 1 and all present ranks agree."""
        self._stacks = None
        self._factors = None
        # What a single trial's forward needs at every call, without ParameterList's lookups by name.
        self.first_leaves = tuple(_leaf(leaves, 0) for leaves in self.leaves)
        shapes = {
            tuple(_leaf(leaves, slot).shape for leaves in self.leaves) for slot in range(len(self.slots))
        }
        if len(self.trials) > 1 and len(shapes) == 1 and self.first_leaves[0].device.type != "meta":
            self._stacks = tuple(self._adopt(leaves) for leaves in self.leaves)

    def _adopt(self, leaves: nn.Module) -> Tensor:
        assert isinstance(leaves, nn.ParameterList)
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

    def stacked(self) -> tuple[Tensor, ...]:
        """Return each of the kind's tensors with the trials in front, zero-padded to the largest rank: [P, …]."""
        if self._stacks and not self._still_shared():
            self._share_stacks()
        stacks = self._stacks or (None,) * len(self.leaves)
        places = _Places(self.slots, len(self.trials), self.skipped)
        return tuple(
            _Stack.apply(shared, places, axis or 0, *leaves.parameters())
            for shared, axis, leaves in zip(stacks, self.kind.rank_axes, self.leaves, strict=True)
        )

    def _still_shared(self) -> bool:
        """Someone may have given a leaf new memory (`leaf.data = …`): then the stack is out of date."""
        assert self._stacks is not None
        return all(
            leaf.data_ptr() == stack[index].data_ptr()
            for stack, leaves in zip(self._stacks, self.leaves, strict=True)
            for index, leaf in zip(self.slots, leaves.parameters(), strict=True)
        )

    @torch.no_grad()
    def limit_norm(self, trial: int, limit: float) -> tuple[bool, float]:
        """Shrink `trial`'s change of the weight to a Frobenius norm of `limit` where it is longer: sd-scripts' max-norm.

        Return whether it was, and the norm that it has now.
        """
        weights = self.weights(trial)
        assert weights is not None
        norm = (self._work.norm(weights) or 0.0) * abs(self.scale(trial))
        if norm <= limit:
            return False, norm
        share = (limit / norm) ** (1.0 / len(self.kind.factors))
        for name, weight in zip(self.kind.leaves, weights, strict=True):
            if name in self.kind.factors:
                weight.mul_(share)
        return True, limit

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
        if self._skips:
            self.skipped = self._now_skipped()
        if len(self.trials) == 1:
            return out if self.skipped else self._work.alone(self, x, out)
        if x.shape[0] % len(self.trials):
            raise ValueError(
                f"{self.key}: a batch of {x.shape[0]} rows cannot be shared out among {len(self.trials)} trials"
            )
        return self._work.packed(self, x, out)

    def _module_dropout(self, index: int) -> float:
        trial = self.trials[index]
        return trial.module_dropout if trial else 0.0

    def _now_skipped(self) -> frozenset[int]:
        """Return the trials that leave the module out of this training pass: their weights get no gradient by it."""
        if not self.training:
            return frozenset()
        return frozenset(
            index
            for index in self._skips
            if self._seed(index, "module") < self._module_dropout(index) * LARGEST_SEED
        )

    def weigh(self, values: Tensor, rows: int | None = None) -> Tensor:
        """Return `values` [P, …] after dropout, times each trial's multiplier · scale.

        `rows` is how many batch rows a trial has, where its values do not lie row by row.
        """
        if self.training and any(self._drops):
            values = torch.stack([self.drop(index, part, rows) for index, part in enumerate(values)])
        if self.skipped:
            kept = [float(index not in self.skipped) for index in range(len(self.trials))]
            values = values * values.new_tensor(kept).view(-1, *(1 for _ in values.shape[1:]))
        factors = [self.multipliers[index] * self.scale(index) for index in range(len(self.trials))]
        if all(factors[index] == 1.0 for index in self.slots):
            return values
        if (
            self._factors is None
            or self._factors.device != values.device
            or self._factors.dtype != values.dtype
        ):
            self._factors = torch.tensor(factors, device=values.device, dtype=values.dtype)
        return values * self._factors.view(-1, *(1 for _ in values.shape[1:]))

    def drop(self, index: int, values: Tensor, rows: int | None = None) -> Tensor:
        """Return `values` [b, …] of one trial with values dropped at its rates, the rest scaled up; else `values` itself.

        Masks follow from (trial seed, micro-step, key) alone: they are the same when a checkpointed block is
        computed again, and whether or not other trials share the batch.
        """
        if not self._drops[index] or not self.training:
            return values
        trial = self.trials[index]
        assert trial is not None
        width = self.kind.dropped_width(self.sizes, trial.rank)
        shape, axis = self._mask_shape(values, width)
        if trial.dropout:
            mask = self._mask(index, "", trial.dropout, shape, values)
            values = values * _widened(mask, values.shape[axis], axis).reshape(values.shape)
        if trial.rank_dropout:
            # One choice of ranks for each row of the batch, the same at all of its positions.
            each = (values.shape[0] if rows is None else rows, width)
            mask = self._mask(index, "rank", trial.rank_dropout, each, values)
            mask = mask.unsqueeze(-1 if axis == 1 else 1)
            if axis == -1:
                mask = mask.expand(-1, shape[0] // each[0], -1).reshape(shape)
            mask = _widened(mask, values.shape[axis], axis)
            like = (*mask.shape[:2], *(1 for _ in values.shape[2:])) if axis == 1 else values.shape
            values = values * mask.reshape(like)
        return values

    def drop_outputs(self, index: int, change: Tensor) -> Tensor:
        """Return a change of the weight [O, …] without some outputs, at the rate of ranks; the rest stays as it is."""
        trial = self.trials[index]
        if trial is None or not trial.rank_dropout or not self.training:
            return change
        mask = self._mask(index, "rank", trial.rank_dropout, change.shape[:1], change, by_rows=False)
        return change * (mask > 0).to(change.dtype).view(-1, *(1 for _ in change.shape[1:]))

    def _seed(self, index: int, of: str) -> int:
        trial = self.trials[index]
        assert trial is not None
        return stable_seed(trial.seed, self.micro_step, self.key, *([of] if of else []))

    def _mask(
        self,
        index: int,
        of: str,
        rate: float,
        shape: tuple[int, ...],
        like: Tensor,
        *,
        by_rows: bool = True,
    ) -> Tensor:
        """Return what is kept of `shape`, scaled up by what is dropped; `by_rows`: its first axis goes over the rows."""
        generator = torch.Generator(like.device)
        generator.manual_seed(self._seed(index, of))
        first, last, whole = self.own_rows if self.own_rows is not None and by_rows else (0, 1, 1)
        each = shape[0] // (last - first)
        drawn = torch.rand((each * whole, *shape[1:]), device=like.device, generator=generator)
        kept = drawn[first * each : last * each] >= rate
        return kept.to(like.dtype) / (1.0 - rate)

    def _mask_shape(self, values: Tensor, width: int) -> tuple[tuple[int, ...], int]:
        # [b, r, H, W] alone, [b, r, N] packed: the same elements in the same order.
        if self.sizes.is_conv:
            return (values.shape[0], width, math.prod(values.shape[2:])), 1
        return (math.prod(values.shape[:-1]), width), -1


def _form(key: str, sizes: Sizes, trials: Sequence[LayerTrial | None], kind: str) -> AdapterKind:
    """Return the form that all trials have on a layer. Raises LoraError where they differ in it."""
    found = [trial.form or KINDS[kind].on(sizes, trial.rank, -1) for trial in trials if trial is not None]
    names = sorted({form.name for form in found})
    if len(names) > 1:
        given = f"trials whose ranks give {found[0].title} the forms {' and '.join(names)}"
        raise LoraError(Problem(key, given, "one form for all", "Train trials of these ranks apart."))
    return found[0] if found else KINDS[kind]


def _widened(mask: Tensor, width: int, axis: int) -> Tensor:
    """Return `mask` with zeros up to the largest rank of all trials: the padded part is zero whatever its mask."""
    padding = width - mask.shape[axis]
    return F.pad(mask, (0, padding) if axis == -1 else (0, 0, 0, padding)) if padding else mask


def _leaf(leaves: nn.Module, slot: int) -> nn.Parameter:
    assert isinstance(leaves, nn.ParameterList)
    leaf = leaves[slot]
    assert isinstance(leaf, nn.Parameter)
    return leaf


def sizes_of(module: nn.Module) -> Sizes:
    """Return the sizes of a linear layer or convolution. Raises TypeError for what no adapter can stand on."""
    if isinstance(module, nn.Linear):
        return Sizes(module.in_features, module.out_features)
    if isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros":
        return Sizes(module.in_channels, module.out_channels, tuple(module.kernel_size))
    raise TypeError(f"a LoRA layer wraps nn.Linear or an ungrouped, zero-padded nn.Conv2d, not {module}")


def _placing(module: nn.Module) -> tuple[Any, ...]:
    """Return stride, padding and dilation of a convolution; () for a linear layer."""
    if isinstance(module, nn.Conv2d):
        return (module.stride, module.padding, module.dilation)
    return ()


@dataclass(frozen=True)
class _Places:
    """Which trials have weights, of how many, and which of them leave the module out of this pass."""

    slots: tuple[int, ...]
    num_trials: int
    skipped: frozenset[int]


class _Stack(torch.autograd.Function):
    """Stacks the trials' leaves, padding `rank_axis` with zeros to the largest; free when they share memory already."""

    @staticmethod
    def forward(
        ctx: Any,
        shared: Tensor | None,
        places: _Places,
        rank_axis: int,
        *leaves: Tensor,
    ) -> Tensor:
        ctx.places, ctx.rank_axis = places, rank_axis
        ctx.ranks = tuple(leaf.shape[rank_axis] for leaf in leaves)
        if shared is not None:
            return shared.view_as(shared)
        shape = list(leaves[0].shape)
        shape[rank_axis] = max(ctx.ranks)
        stack = leaves[0].new_zeros(places.num_trials, *shape)
        for index, leaf, rank in zip(places.slots, leaves, ctx.ranks, strict=True):
            stack[index].narrow(rank_axis, 0, rank).copy_(leaf)
        return stack

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        parts = zip(ctx.places.slots, ctx.ranks, strict=True)
        # No gradient is not a gradient of zero: an optimizer moves weights by what it remembers of earlier steps.
        of_leaves = (
            None if index in ctx.places.skipped else grad[index].narrow(ctx.rank_axis, 0, rank)
            for index, rank in parts
        )
        return None, None, None, *of_leaves


LARGEST_SEED = 1 << 63


def stable_seed(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on `parts` alone, the same in every process and on every machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1

"""What a kind of adapter is: an `AdapterKind` says what it consists of and needs no torch, its `AdapterWork` computes.

Shapes: P trials, B batch rows, b rows of one trial, n rows times tokens of one trial, r rank (the largest of the trials where
they are stacked), I inputs, O outputs, N picture positions (height · width), k kernel side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from maquette.lora.pool import PooledPart

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    """Sizes of a linear layer or convolution that an adapter stands on."""

    inputs: int
    outputs: int
    kernel: tuple[int, ...] = ()
    """() for a linear layer, (1, 1) or (3, 3) for a convolution."""

    @property
    def is_conv(self) -> bool:
        return bool(self.kernel)

    @property
    def window(self) -> int:
        """How many values of one input an output sees."""
        return math.prod(self.kernel)

    @property
    def weight(self) -> Shape:
        """Shape of the layer's own weight."""
        return (self.outputs, self.inputs, *self.kernel)


class Hands(Protocol):
    """What the layer lends to a kind's work: the base module, the trials' weights, dropout and strengths."""

    sizes: Sizes
    placing: tuple[Any, ...]
    """stride, padding and dilation of a convolution."""
    first_leaves: tuple[nn.Parameter, ...]
    """The leaves of a layer of one trial."""
    multipliers: list[float]
    alphas: list[float]
    skipped: frozenset[int]
    """Trials that leave the layer out of the pass at hand."""

    @property
    def base(self) -> nn.Module: ...

    @property
    def trials(self) -> Sequence[Any]:
        """The trials (`LayerTrial`); None for one without weights here."""
        ...

    def leaves_of(self, trial: int) -> tuple[nn.Parameter, ...]:
        """Return a trial's leaves, in the order of its kind's tensors."""
        ...

    def scale(self, trial: int) -> float:
        """Return what a trial's change is multiplied with beside its multiplier."""
        ...

    def stacked(self) -> tuple[Tensor, ...]:
        """Return each of the kind's tensors with a trial axis in front, padded with zeros to the largest rank."""
        ...

    def drop(self, index: int, values: Tensor, rows: int | None = None) -> Tensor:
        """Return `values` [b, …] of one trial with values dropped at its rates while training.

        `rows` is how many batch rows it has, where its values do not lie row by row.
        """
        ...

    def drop_outputs(self, index: int, change: Tensor) -> Tensor:
        """Return a change of the weight [O, …] with outputs dropped at the trial's rate of ranks, as LyCORIS drops them."""
        ...

    def weigh(self, values: Tensor, rows: int | None = None) -> Tensor:
        """Return `values` [P, …] after dropout, times each trial's multiplier and scale."""
        ...

    def pooled(self) -> PooledPart | None:
        """Return the stacks as they lie in a pool, and where their gradients go; None where they lie in none."""
        ...

    def gain(self, shape: tuple[int, int], like: Tensor, rows: int) -> Tensor | None:
        """Return what `weigh` multiplies values [P, n, R] of this `shape` (n, R) with; None where that is one."""
        ...


class AdapterWork(Protocol):
    """How a kind of adapter computes. One for all layers; it keeps nothing."""

    def first(self, sizes: Sizes, rank: int, generator: torch.Generator, base: Tensor) -> tuple[Tensor, ...]:
        """Return a trial's first weights, float32, in the order of the kind's tensors; they change nothing in `base`."""
        ...

    def alone(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        """Return the output of a layer of one trial: x [B, …] went in, `out` is what the base gave."""
        ...

    def packed(self, hands: Hands, x: Tensor, out: Tensor) -> Tensor:
        """Return the output of a layer of P trials, whose rows are P equal contiguous groups."""
        ...

    def delta(self, hands: Hands, index: int) -> Tensor:
        """Return what a trial adds to the base weight at a strength of one, float32, before its scale."""
        ...

    def change(self, tensors: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """Return the change before its scale: [O, r] and [r, I·k·k] whose product it is, or it whole, [O, I·k·k].

        None where tensors alone do not tell it.
        """
        ...

    def is_idle(self, tensors: Sequence[Tensor]) -> bool:
        """Tell whether weights still change nothing, as at the start."""
        ...

    def norm(self, tensors: Sequence[Tensor]) -> float | None:
        """Return the Frobenius norm of the change before its scale; None where tensors alone do not tell it."""
        ...


def works_on_stacks(work: AdapterWork) -> bool:
    """Return whether a kind packs trials as stacks of their tensors, and never by a trial's own leaves."""
    return bool(getattr(work, "works_on_stacks", False))


class AdapterKind(Protocol):
    """One kind of adapter."""

    @property
    def name(self) -> str: ...
    @property
    def row(self) -> str:
        """The kind as settings name it; its other forms have names of their own."""
        ...

    @property
    def title(self) -> str: ...
    @property
    def network_module(self) -> str:
        """What `ss_network_module` says of it."""
        ...

    @property
    def tensors(self) -> tuple[str, ...]:
        """Its tensors in a kohya file, after the module's key and a dot; `alpha` stands before them."""
        ...

    @property
    def leaves(self) -> tuple[str, ...]:
        """Short names of the same tensors, in states for resuming."""
        ...

    @property
    def rank_axes(self) -> tuple[int | None, ...]:
        """Which axis of each tensor grows with the rank."""
        ...

    @property
    def spellings(self) -> tuple[tuple[str, str], ...]:
        """How other programs end a tensor's name (with the dot or underline before it), and which tensor that means."""
        ...

    @property
    def diffusers_endings(self) -> tuple[str, ...] | None:
        """How diffusers ends each tensor's name; None where diffusers knows no such adapter."""
        ...

    @property
    def dropouts(self) -> tuple[str, ...]:
        """Which settings of dropout mean something to it: `dropout`, `rank_dropout`, `module_dropout`."""
        ...

    @property
    def plus(self) -> tuple[str, ...]:
        """Leaves that begin at zero and take LoRA+'s higher rate; () where LoRA+ says nothing of it."""
        ...

    @property
    def factors(self) -> tuple[str, ...]:
        """Leaves whose product the change is, so that shrinking each shrinks it; () where the change is no such product."""
        ...

    @property
    def has_strength(self) -> bool:
        """Whether alpha over rank is its strength; else the number beside its tensors means something else, or nothing."""
        ...

    @property
    def weight_copies(self) -> float:
        """How many values a training pass keeps for each value of a layer's weight."""
        ...

    @property
    def needs_base(self) -> bool:
        """Whether its change of a weight depends on the weight itself."""
        ...

    @property
    def differs(self) -> bool:
        """Whether ComfyUI draws it otherwise than it was trained."""
        ...

    def alpha_on(self, alpha: float, rank: int) -> float:
        """Return the number that stands beside the tensors of a new adapter for which `alpha` was asked."""
        ...

    def on(self, sizes: Sizes, rank: int, factor: int) -> AdapterKind:
        """Return the form that a new adapter of this rank has on a layer; `factor` is LoKr's."""
        ...

    def form_of(self, shapes: Mapping[str, Shape]) -> AdapterKind:
        """Return the form that a module with these shapes is of."""
        ...

    def rank_on(self, sizes: Sizes, rank: int) -> int:
        """Return the rank that a layer comes to where this one is asked for."""
        ...

    def shapes(self, sizes: Sizes, rank: int) -> tuple[Shape, ...]:
        """Return the shape of each tensor on a layer."""
        ...

    def scale(self, alpha: float, rank: int) -> float:
        """Return the factor that alpha and rank mean."""
        ...

    def rank(self, shapes: Mapping[str, Shape]) -> int | None:
        """Return the rank of a module whose tensors have these shapes; None where they do not tell."""
        ...

    def dropped_width(self, sizes: Sizes, rank: int) -> int:
        """Return how many values, per position, dropout chooses among."""
        ...

    def ends(self, shapes: Mapping[str, Shape]) -> tuple[int, int] | None:
        """Return (inputs, outputs) of the layer that a module was made for; None where shapes do not tell both."""
        ...

    def misfit(self, shapes: Mapping[str, Shape]) -> str | None:
        """Return what whole tensors must be, in words, where they are no module of this kind together; else None."""
        ...

    def work(self) -> AdapterWork:
        """Return how it computes; imports torch."""
        ...

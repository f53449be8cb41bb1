"""The adapter layer with a trial axis: P adapters of one kind over one frozen linear or convolution.

    base(x) ───────────────────────────► kind's work ──► out    P trials own equal, contiguous groups of the
       x ──► trial p's weights ──► dropout_p ──┘                batch rows: B = P · b

What an adapter of a kind computes is `kinds/`'s, what is dropped `dropping.py`'s; the layer keeps the trials' weights and
strengths, and lends them to its kind's work (`places.py`): all of them, or those places that a pass takes. Another trial may
stand at a place at any time; nothing of the others changes by it.
Shapes: P trials, B batch rows, b rows of one trial, n rows times tokens of one trial, r rank (the largest of the
trials where they are stacked), I inputs, O outputs, N picture positions (height · width), k kernel side.

Each trial's weights are leaf parameters of their true rank, so that any optimizer may own them. With P = 1 they are used as
they are. With P > 1 and equal ranks the leaves are views into one stacked buffer and nothing is copied; ranks that differ are
padded with zeros, once a forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from maquette.errors import LoraError, Problem
from maquette.lora.dropping import stable_seed
from maquette.lora.kinds import DEFAULT_KIND, KINDS
from maquette.lora.kinds.protocol import AdapterKind, AdapterWork, Sizes
from maquette.lora.places import OwnRows, Taken, Turn
from maquette.lora.pool import Pooled


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
        turn: Turn | None = None,
        like: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.key = key
        self.sizes, self.placing = sizes_of(module), _placing(module)
        self.base_forward: Callable[[Tensor], Tensor] = module.forward
        # In a tuple: as an attribute the base would become part of this module's tree.
        self._base = (module,)
        self.turn = turn or Turn(len(trials))
        """Which places a pass takes, and where each of them is; shared by all layers of an adapter."""
        self.enabled = True
        self.alphas = [trial.alpha if trial else 0.0 for trial in trials]
        self.multipliers = [1.0] * len(trials)
        self.trials: tuple[LayerTrial | None, ...] = ()
        self.slots: tuple[int, ...] = ()
        """Places with weights here."""
        self.kind: AdapterKind = KINDS[kind]
        self.work: AdapterWork = self.kind.work()
        self.leaves = nn.ModuleList()
        """For each of the kind's tensors the trials' leaves, in the order of `slots`."""
        self._stacks: tuple[Tensor, ...] | None = None
        self.in_pool: Pooled | None = None
        """Its part of the adapter's pool, where all weights lie in one."""
        self._lent: dict[tuple[int, ...], Taken] = {}
        self._all: tuple[int, ...] = tuple(range(len(trials)))
        self._place(tuple(trials), kind, {}, like)

    def _place(
        self,
        trials: tuple[LayerTrial | None, ...],
        kind: str,
        kept: dict[int, tuple[nn.Parameter, ...]],
        like: Tensor | None,
    ) -> None:
        """Let `trials` stand here: those in `kept` by place with these leaves, the others with first weights, as `like` is."""
        self.kind = form_of_all(self.key, self.sizes, trials, kind)
        self.work = self.kind.work()
        self.trials = trials
        self.slots = tuple(index for index, trial in enumerate(trials) if trial is not None)
        weight = self.base.weight
        assert isinstance(weight, Tensor)
        of_slots = [
            kept.get(index) or self._first_leaves(index, weight, weight.device if like is None else like)
            for index in self.slots
        ]
        self.leaves = nn.ModuleList(
            nn.ParameterList(of_trials) for of_trials in zip(*of_slots, strict=True)
        ).train(self.training)
        self._share_stacks()

    def replace(
        self, place: int, trial: LayerTrial | None, kind: str = DEFAULT_KIND, like: Tensor | None = None
    ) -> None:
        """Let another trial stand at `place`, with first weights; None leaves its rows as the base computes them.

        The others' leaves stay the same objects with the same values; where their stack is made anew they move into it. The
        new ones are of the type of `like`, and lie where it does.
        """
        kept = {index: self.leaves_of(index) for index in self.slots if index != place}
        self.alphas[place] = trial.alpha if trial else 0.0
        self.multipliers[place] = 1.0
        self._place(self.with_trial(place, trial), kind, kept, like)

    def with_trial(self, place: int, trial: LayerTrial | None) -> tuple[LayerTrial | None, ...]:
        """Return the trials that stand here once `trial` stands at `place`."""
        return (*self.trials[:place], trial, *self.trials[place + 1 :])

    @property
    def base(self) -> nn.Module:
        """The module that it stands on."""
        return self._base[0]

    # --- weights -----------------------------------------------------------------------------------------

    def _first_leaves(
        self, index: int, base: Tensor, like: Tensor | torch.device
    ) -> tuple[nn.Parameter, ...]:
        trial = self.trials[index]
        assert trial is not None
        generator = torch.Generator().manual_seed(stable_seed(trial.seed, self.key))
        firsts = self.work.first(self.sizes, trial.rank, generator, base)
        return tuple(nn.Parameter(first.to(like)) for first in firsts)

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
        change = self.work.delta(self._hands(self._all), trial)
        return (self.multipliers[trial] * change * self.scale(trial)).reshape(self.sizes.weight)

    @torch.no_grad()
    def _share_stacks(self) -> None:
        """Make the leaves views into one stacked buffer where P > 1 and all present ranks agree."""
        self._stacks = None
        self._lent = {}
        if self.in_pool is not None:  # which is laid out anew after whatever happened
            return
        shapes = {
            tuple(_leaf(leaves, slot).shape for leaves in self.leaves) for slot in range(len(self.slots))
        }
        if len(self.trials) > 1 and len(shapes) == 1 and _leaf(self.leaves[0], 0).device.type != "meta":
            self._stacks = tuple(self._adopt(leaves) for leaves in self.leaves)

    def stand_in_pool(self, pooled: Pooled) -> None:
        """Work from now on with leaves that lie in a pool."""
        self.in_pool, self._stacks, self._lent = pooled, None, {}

    def leave_pool(self) -> None:
        """Work from now on with leaves as each layer keeps them."""
        self.in_pool = None
        self._share_stacks()

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
        return self._hands(self._all).stacked()

    def shared_stacks(self) -> tuple[Tensor, ...] | None:
        """Return the buffers that the leaves are views into; None where each has memory of its own."""
        if self._stacks and not self._still_shared():
            self._share_stacks()
        return self._stacks

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
        norm = (self.work.norm(weights) or 0.0) * abs(self.scale(trial))
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
        self.alphas[trial] = alpha
        self._lent = {}

    def set_multiplier(self, trial: int, multiplier: float) -> None:
        """Change the strength of `trial`: 1 is as trained, 0 is the base."""
        self.multipliers[trial] = multiplier
        self._lent = {}

    def forward(self, x: Tensor) -> Tensor:
        out = self.base_forward(x)
        if not self.enabled:
            return out
        taken = self.turn.taken
        return self._hands(self._all if taken is None else taken).forward(x, out)

    def _hands(self, places: tuple[int, ...]) -> Taken:
        found = self._lent.get(places)
        if found is None:
            found = self._lent[places] = Taken(self, places)
        return found

    @property
    def first_leaves(self) -> tuple[nn.Parameter, ...]:
        """The leaves of the first trial that has some."""
        return self.leaves_of(self.slots[0])

    def drop(self, index: int, values: Tensor, rows: int | None = None) -> Tensor:
        """Return `values` [b, …] of one trial with values dropped at its rates while training; else `values` itself."""
        return self._hands(self._all).drop(index, values, rows)

    @property
    def micro_step(self) -> int:
        """The micro-step of the first place; setting it sets all places'."""
        return self.turn.micro_steps[0]

    @micro_step.setter
    def micro_step(self, value: int) -> None:
        self.turn.set_step(value, self.own_rows)

    @property
    def own_rows(self) -> OwnRows:
        """Rows of a batch that other processes share, at the first place."""
        return self.turn.own_rows[0]


def form_of_all(key: str, sizes: Sizes, trials: Sequence[LayerTrial | None], kind: str) -> AdapterKind:
    """Return the form that all trials have on a layer. Raises LoraError where they differ in it."""
    found = [trial.form or KINDS[kind].on(sizes, trial.rank, -1) for trial in trials if trial is not None]
    names = sorted({form.name for form in found})
    if len(names) > 1:
        given = f"trials whose ranks give {found[0].title} the forms {' and '.join(names)}"
        raise LoraError(Problem(key, given, "one form for all", "Train trials of these ranks apart."))
    return found[0] if found else KINDS[kind]


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

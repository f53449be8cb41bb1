"""Stands LoRA layers in a base model, and takes them out again without a trace.

    adapter = LoraAdapter.attach(model, [TrialSpec(rank=16, alpha=8, seed=1)])
    optimizer = torch.optim.AdamW(adapter.parameters_of(0, "denoiser"), lr=1e-4)
    …  adapter.set_step(micro_step); loss.backward(); optimizer.step()  …
    state = adapter.state_dict(0)
    adapter.detach()

With P trials the rows of every batch are P equal contiguous groups, trial 0 first. A trial is a TrialSpec (fresh
weights), a LoRA's tensors by kohya key (to draw with it or train on), or None (the base itself).

A place may be given to another trial at any time, and a pass may take some places only, in any order:

    adapter.replace(1, TrialSpec(rank=8, seed=2))
    with adapter.taking((2, 0)):
        …  the first half of the rows is the trial at place 2, the second the one at place 0: forward and backward  …
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from maquette.errors import LoraError, Problem
from maquette.families.protocol import BaseModel, LoraPart, LoraTarget
from maquette.lora.config import PARTS, TrialSpec
from maquette.lora.kinds import ALPHA, DEFAULT_KIND
from maquette.lora.kinds.protocol import works_on_stacks
from maquette.lora.layer import LayerTrial, LoraLayer, form_of_all, sizes_of
from maquette.lora.places import OwnRows, Turn
from maquette.lora.pool import Pool
from maquette.lora.state import ModuleWeights, State, match_problems, modules_of

Trial = TrialSpec | State | None


@dataclass(frozen=True)
class Leaf:
    """One leaf parameter of a trial."""

    parameter: nn.Parameter
    part: LoraPart
    component: str
    """Which network it is of, as dotted names begin: text_encoder, text_encoder_2, unet."""
    is_plus: bool
    """Whether LoRA+ gives it a higher rate."""
    lr_factor: float = 1.0


@dataclass(frozen=True)
class NormLimit:
    """What limiting the norms of a trial's modules came to."""

    shrunk: int
    """Modules that were longer."""
    mean: float
    """Norm of a module's change on average, afterwards."""
    largest: float


class LoraAdapter:
    """P LoRAs over one frozen base model. Make it with `attach`."""

    def __init__(
        self, pairs: Sequence[tuple[LoraTarget, LoraLayer]], num_trials: int, turn: Turn | None = None
    ) -> None:
        self._targets = {target.key: target for target, _ in pairs}
        self.module = nn.ModuleDict({target.key: layer for target, layer in pairs})
        self.layers: dict[str, LoraLayer] = {target.key: layer for target, layer in pairs}
        """Layers by kohya key, in the order of keys in a file; `module` is the same as one nn.Module."""
        self.num_trials = num_trials
        self.turn = turn or Turn(num_trials)
        self._reachable: tuple[LoraTarget, ...] = ()
        """Every target that a trial may stand on, those without a layer too."""
        self._like = torch.zeros(())
        """Of the type that the weights were asked to be."""
        self._device: torch.device | str | None = None
        self.pool: Pool | None = None
        """Where all weights lie, once they are gathered."""
        self._gathers = False
        self._attached = False
        self._enabled = True
        self._frozen: list[nn.Parameter] = []
        self._unmerged: dict[str, Tensor] = {}

    # --- attaching ---------------------------------------------------------------------------------------

    @classmethod
    def attach(
        cls, model: BaseModel, trials: Sequence[Trial], *, parts: Sequence[LoraPart] = PARTS
    ) -> LoraAdapter:
        """Return an adapter whose layers stand in `model`; the base's parameters no longer take gradients.

        `parts` limits all trials to the text encoders or to the denoiser. Raises LoraError when a trial's tensors do
        not fit the model, when trials are of different kinds of adapters, when no module is left to adapt, or when
        another adapter stands there already.
        """
        if not trials:
            raise ValueError("at least one trial is needed")
        targets = model.lora_targets()
        _require_free(targets)
        contents = [_contents(index, trial, targets) for index, trial in enumerate(trials)]
        kind = _common_kind(trials, contents)
        pairs, turn = [], Turn(len(trials))
        reachable = tuple(target for target in targets if target.part in parts)
        for target in reachable:
            specs = [
                _layer_trial(trial, content, target) for trial, content in zip(trials, contents, strict=True)
            ]
            if any(specs):
                pairs.append((target, LoraLayer(target.key, target.module, specs, kind, turn)))
        if not pairs and any(trial is not None for trial in trials):
            raise _nothing_to_adapt(parts)
        adapter = cls(pairs, len(trials), turn)
        adapter._reachable = reachable
        adapter._fill(contents)
        adapter._stand_in(model)
        return adapter

    def _fill(self, contents: Sequence[Mapping[str, ModuleWeights]]) -> None:
        for index, modules in enumerate(contents):
            for key, weights in modules.items():
                if key in self.layers:
                    _copy_in(self.layers[key], index, weights)

    def _stand_in(self, model: BaseModel) -> None:
        for module in (model.denoiser, *model.text_encoders, model.vae):
            self._frozen += [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in self._frozen:
            parameter.requires_grad_(False)
        for layer in self.layers.values():
            self._stand_on(layer)
        self._attached = True

    def _stand_on(self, layer: LoraLayer) -> None:
        # An instance attribute shadows the class's forward: names and weights of the base stay as they are.
        self._targets[layer.key].module.forward = layer.forward

    def detach(self) -> None:
        """Take the layers out: the base is again what it was, bit for bit. The adapter keeps its weights."""
        if not self._attached:
            return
        self.unmerge()
        for target in self._targets.values():
            del target.module.__dict__["forward"]
        for parameter in self._frozen:
            parameter.requires_grad_(True)
        self._frozen = []
        self._attached = False

    # --- places ------------------------------------------------------------------------------------------

    def replace(self, place: int, trial: Trial) -> None:
        """Let another trial stand at `place` from now on, at its micro-step 0 and with full strength; None empties it.

        A TrialSpec begins with its first weights, tensors with theirs. Nothing of the other places changes, to the bit; their
        leaf parameters are the same objects. The leaves of `place` are new ones: so is what trains them.
        Raises LoraError before anything changes where the trial does not fit the model or those that stand there.
        """
        if self._unmerged:
            given = "a LoRA is merged into the base"
            raise LoraError(Problem("replace", given, "none merged", "Unmerge it first."))
        content = _contents(place, trial, self._reachable)
        specs = {target.key: _layer_trial(trial, content, target) for target in self._reachable}
        if trial is not None and not any(specs.values()):
            raise _nothing_to_adapt(target.part for target in self._reachable)
        kind = self._kind_with(place, trial, content)
        for key, layer in self.layers.items():
            form_of_all(key, layer.sizes, layer.with_trial(place, specs[key]), kind)
        for target in self._reachable:
            self._replace_on(target, place, specs[target.key], kind)
        self.turn.set_step(0, place=place)
        self._lay_out()
        for key, weights in content.items():
            if key in self.layers:
                _copy_in(self.layers[key], place, weights)

    def gather(self) -> bool:
        """Keep all places' weights in one buffer and their gradients in another from now on (`pool.py`); tell whether they are.

        A pass and the optimizers that know of it take less time then; gradients are no longer found as `leaf.grad`. Kinds whose
        change of a weight is made whole stay as they are. Places may be empty at that time.
        """
        self._gathers = True
        self._lay_out()
        return self.pool is not None

    def _lay_out(self) -> None:
        if not self._gathers:
            return
        if all(works_on_stacks(layer.work) for layer in self.layers.values() if layer.slots):
            self.pool = self.pool or Pool(self.num_trials)
            self.pool.lay_out(self.layers.values())
        elif self.pool is not None:
            self.pool = None
            for layer in self.layers.values():
                layer.leave_pool()

    def _kind_with(self, place: int, trial: Trial, content: Mapping[str, ModuleWeights]) -> str:
        """Return the kind of adapters once `trial` stands at `place`. Raises LoraError where it is not that of the others."""
        others = {
            layer.kind.row for layer in self.layers.values() if any(index != place for index in layer.slots)
        }
        return _common_kind([trial], [content], others)

    def _replace_on(self, target: LoraTarget, place: int, spec: LayerTrial | None, kind: str) -> None:
        like = self._like.to(self._device or target.module.weight.device)  # type: ignore[arg-type]
        layer = self.layers.get(target.key)
        if layer is not None:
            if spec is not None or place in layer.slots:
                layer.replace(place, spec, kind, like)
        elif spec is not None:
            trials = [spec if index == place else None for index in range(self.num_trials)]
            layer = LoraLayer(target.key, target.module, trials, kind, self.turn, like)
            self._add(target, layer.train(self.module.training))

    def _add(self, target: LoraTarget, layer: LoraLayer) -> None:
        self._targets[target.key], self.layers[target.key] = target, layer
        order = [each.key for each in self._reachable if each.key in self.layers]
        self.layers = {key: self.layers[key] for key in order}
        self.module.clear()
        self.module.update(self.layers)
        layer.enabled = self._enabled
        if self._attached:
            self._stand_on(layer)

    @contextmanager
    def taking(self, places: Sequence[int]) -> Iterator[None]:
        """Within, the rows of a pass are equal groups of these places alone, in this order; the others cost nothing.

        The backward pass belongs within too, where blocks are checkpointed: they are computed again then.
        """
        taken = tuple(places)
        strangers = [place for place in taken if not 0 <= place < self.num_trials]
        if strangers or not taken or len(set(taken)) < len(taken):
            raise ValueError(f"places {taken}: some of the {self.num_trials}, each once")
        before, self.turn.taken = self.turn.taken, taken
        try:
            yield
        finally:
            self.turn.taken = before

    # --- training ----------------------------------------------------------------------------------------

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield every leaf parameter of every trial."""
        return self.module.parameters()

    def parameters_of(self, trial: int, part: LoraPart | None = None) -> list[nn.Parameter]:
        """Return the leaf parameters of one trial (of one part of the model), module by module in the order of a file."""
        found: list[nn.Parameter] = []
        for key, layer in self.layers.items():
            if part in (None, self._targets[key].part):
                found += layer.weights(trial) or ()
        return found

    def leaves_of(self, trial: int) -> Iterator[Leaf]:
        """Yield one trial's leaf parameters with what decides their rates, in the order of `parameters_of`."""
        for key, layer in self.layers.items():
            target, spec = self._targets[key], layer.trials[trial]
            component = target.diffusers_key.partition(".")[0]
            for name, leaf in zip(layer.kind.leaves, layer.weights(trial) or (), strict=False):
                factor = spec.lr_factor if spec else 1.0
                yield Leaf(leaf, target.part, component, name in layer.kind.plus, factor)

    def named_parameters_of(self, trial: int) -> dict[str, nn.Parameter]:
        """Return the leaf parameters of one trial by name (`KEY.down`, `KEY.up`), in the order of `parameters_of`."""
        found: dict[str, nn.Parameter] = {}
        for key, layer in self.layers.items():
            names = (f"{key}.{name}" for name in layer.kind.leaves)
            found |= dict(zip(names, layer.weights(trial) or (), strict=False))
        return found

    def set_step(self, micro_step: int, own_rows: OwnRows = None, place: int | None = None) -> None:
        """Say which micro-step comes next, at one place or at all: dropout's masks follow from it and the trial's seed.

        `own_rows`: the rows (first, before which, of how many) of a batch that several processes share; None: all of it.
        """
        self.turn.set_step(micro_step, own_rows, place)

    def train(self, mode: bool = True) -> LoraAdapter:
        """Switch dropout on (or off)."""
        self.module.train(mode)
        return self

    def eval(self) -> LoraAdapter:
        """Switch dropout off."""
        return self.train(False)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> LoraAdapter:
        """Move the LoRA weights; the base is moved by itself."""
        self.module.to(device=device, dtype=dtype)
        self._device = self._device if device is None else device
        self._like = self._like.to(dtype=dtype)
        self._lay_out()
        return self

    def limit_norms(self, trial: int, limit: float) -> NormLimit:
        """Shrink the changes of one trial's modules to a Frobenius norm of `limit`; return what that came to."""
        own = [layer for layer in self.layers.values() if trial in layer.slots]
        limited = [layer.limit_norm(trial, limit) for layer in own]
        norms = [norm for _, norm in limited]
        return NormLimit(
            sum(was for was, _ in limited), sum(norms) / max(len(norms), 1), max(norms, default=0.0)
        )

    # --- drawing -----------------------------------------------------------------------------------------

    def adapts(self, part: LoraPart) -> bool:
        """Return whether any trial changes this part of the model."""
        return any(layer.slots and self._targets[key].part == part for key, layer in self.layers.items())

    @property
    def enabled(self) -> bool:
        """Whether the LoRAs take part; False draws with the base alone, at the base's speed."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = value
        self._switch()

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Within, the base computes alone; afterwards the LoRAs are on or off as before."""
        before = self._enabled
        self.enabled = False
        try:
            yield
        finally:
            self.enabled = before

    def _switch(self) -> None:
        for layer in self.layers.values():
            layer.enabled = self._enabled and not self._unmerged

    def set_multiplier(
        self, multiplier: float, trial: int | None = None, part: LoraPart | None = None
    ) -> None:
        """Set the strength of one trial or all, in one part or both: 1 is as trained, 0 is the base."""
        for key, layer in self.layers.items():
            if part in (None, self._targets[key].part):
                for index in range(self.num_trials) if trial is None else (trial,):
                    layer.set_multiplier(index, multiplier)

    @torch.no_grad()
    def bake(self, trial: int = 0) -> None:
        """Make one trial's delta part of the base for good, at the base's precision, and take the layers out."""
        for key, layer in self.layers.items():
            weight = _own_weight(self._targets[key])
            weight.copy_((weight.float() + layer.delta(trial).to(weight.device)).to(weight.dtype))
        self.detach()

    # --- merging -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def merge(self, trial: int = 0) -> None:
        """Add one trial's delta into the base weights, at the base's precision; `unmerge` undoes it exactly.

        Until then the layers stand aside. Needs memory for a copy of the adapted base weights.
        """
        if self._unmerged:
            raise LoraError(
                Problem("merge", "a LoRA is merged already", "one at a time", "Unmerge it first.")
            )
        for key, layer in self.layers.items():
            if layer.weights(trial):
                weight = _own_weight(self._targets[key])
                self._unmerged[key] = weight.detach().clone()
                weight.copy_((weight.float() + layer.delta(trial).to(weight.device)).to(weight.dtype))
        self._switch()

    @torch.no_grad()
    def unmerge(self) -> None:
        """Put the base weights back, bit for bit; nothing happens when nothing is merged."""
        for key, saved in self._unmerged.items():
            self._targets[key].module.weight.copy_(saved)  # type: ignore[operator]
        self._unmerged = {}
        self._switch()

    @contextmanager
    def merged(self, trial: int = 0) -> Iterator[None]:
        """Within, the base weights hold `trial`, so that drawing costs nothing more."""
        self.merge(trial)
        try:
            yield
        finally:
            self.unmerge()

    # --- state -------------------------------------------------------------------------------------------

    def state_dict(self, trial: int = 0) -> dict[str, Tensor]:
        """Return copies of one trial's tensors on the CPU by kohya key, in the order of a file."""
        state: dict[str, Tensor] = {}
        for key, layer in self.layers.items():
            weights = layer.weights(trial)
            if weights:
                state[f"{key}.{ALPHA}"] = torch.tensor(layer.alphas[trial])
                for name, weight in zip(layer.kind.tensors, weights, strict=True):
                    state[f"{key}.{name}"] = (
                        weight.detach().cpu().clone(memory_format=torch.contiguous_format)
                    )
        return state

    def start_from(self, trial: int, state: State) -> None:
        """Copy those modules of `state` that the trial has into its parameters; their ranks must be the trial's own."""
        modules = modules_of(state, f"trial {trial}")
        for key, layer in self.layers.items():
            if layer.weights(trial) and key in modules:
                _copy_in(layer, trial, modules[key])

    def load_state(self, trial: int, state: State) -> None:
        """Copy `state` into one trial's parameters, in place; its modules and ranks must be the trial's own.

        Raises LoraError naming every module that is missing, unknown or of another shape. A LoRA of other ranks is
        attached anew: `LoraAdapter.attach(model, [state])`.
        """
        where = f"trial {trial}"
        modules = modules_of(state, where)
        own = {key: layer for key, layer in self.layers.items() if layer.weights(trial)}
        problems = match_problems(modules, {key: self._targets[key].module for key in own}, where)
        for key, layer in own.items():
            problems += _load_problems(f"{where}: {key}", layer, layer.trials[trial], modules.get(key))
        if problems:
            raise LoraError(problems)
        for key, layer in own.items():
            _copy_in(layer, trial, modules[key])


def _own_weight(target: LoraTarget) -> Tensor:
    """Return the weight of a layer, to be changed where it lies. Raises LoraError where it is made anew as it computes (int8)."""
    weight = target.module.weight
    if not isinstance(weight, nn.Parameter):
        given = "a weight that is held in another form than it computes in"
        raise LoraError(
            Problem(target.key, given, "a weight of its own", "Load the base as it is (base_precision same).")
        )
    return weight


def _require_free(targets: Iterable[LoraTarget]) -> None:
    if any("forward" in target.module.__dict__ for target in targets):
        remedy = "Detach the other adapter first."
        raise LoraError(Problem("attach", "the model carries an adapter already", "one at a time", remedy))


def _contents(index: int, trial: Trial, targets: Sequence[LoraTarget]) -> dict[str, ModuleWeights]:
    """Return the modules of a trial that is given as tensors; {} for the others."""
    if trial is None or isinstance(trial, TrialSpec):
        return {}
    where = f"trial {index}"
    modules = modules_of(trial, where)
    problems = match_problems(modules, {target.key: target.module for target in targets}, where)
    if problems or not modules:
        raise LoraError(problems or [Problem(where, "holds no module", "a LoRA", "Choose another file.")])
    return modules


def _layer_trial(trial: Trial, content: Mapping[str, ModuleWeights], target: LoraTarget) -> LayerTrial | None:
    if isinstance(trial, TrialSpec):
        size = trial.size_of(target)
        if size is None:
            return None
        sizes = sizes_of(target.module)
        form = trial.form_on(size, sizes)
        rank = form.rank_on(sizes, size.rank)
        return LayerTrial(
            rank=rank,
            alpha=form.alpha_on(size.alpha, rank),
            form=form,
            lr_factor=size.lr_factor,
            dropout=trial.dropout,
            rank_dropout=trial.rank_dropout,
            module_dropout=trial.module_dropout,
            seed=trial.seed,
        )
    weights = content.get(target.key)
    return LayerTrial(rank=weights.rank, alpha=weights.alpha, form=weights.kind) if weights else None


def _nothing_to_adapt(parts: Iterable[str]) -> LoraError:
    given = f"no module of parts {', '.join(dict.fromkeys(parts))}"
    return LoraError(Problem("LoRA", given, "at least one module to adapt", "Choose other parts."))


def _common_kind(
    trials: Sequence[Trial],
    contents: Sequence[Mapping[str, ModuleWeights]],
    others: Iterable[str] = (),
) -> str:
    """Return the kind of all trials, and of `others`: a pass over the base serves adapters of one kind."""
    found = {*others, *(trial.kind for trial in trials if isinstance(trial, TrialSpec))}
    found |= {weights.kind.row for content in contents for weights in content.values()}
    if len(found) > 1:
        given = f"trials of the kinds {', '.join(sorted(found))}"
        raise LoraError(
            Problem("LoRA", given, "adapters of one kind", "Train or draw with each kind by itself.")
        )
    return found.pop() if found else DEFAULT_KIND


def _load_problems(
    where: str, layer: LoraLayer, spec: LayerTrial | None, weights: ModuleWeights | None
) -> list[Problem]:
    assert spec is not None
    if weights is None:
        return [Problem(where, "is missing", "every module of the trial", "Use a file of the same settings.")]
    if weights.kind.name != layer.kind.name:
        given, required = f"an adapter of the kind {weights.kind.name}", f"the kind {layer.kind.name}"
        return [Problem(where, given, required, "Attach this one anew.")]
    if weights.rank != spec.rank:
        remedy = "Use a file of the same rank, or attach this one anew."
        return [Problem(where, f"rank {weights.rank}", f"rank {spec.rank}", remedy)]
    return []


@torch.no_grad()
def _copy_in(layer: LoraLayer, trial: int, weights: ModuleWeights) -> None:
    own = layer.weights(trial)
    assert own is not None
    for leaf, given in zip(own, weights.tensors, strict=True):
        leaf.copy_(given.reshape(leaf.shape))
    layer.set_alpha(trial, weights.alpha)

"""A LoRA's tensors from one program's layout to another's; `names.py` tells the names.

Every conversion goes through a model's own table of layers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maquette.errors import LoraError, Problem
from maquette.lora.kinds import ALPHA, kind_of
from maquette.lora.names import ADAPTER_METADATA, Named, aliases, look_up, plain_name, split_tensor_name
from maquette.lora.state import ModuleWeights, modules_of


@dataclass(frozen=True)
class Renamed:
    """A LoRA's tensors under kohya names, and what found no place in the model."""

    state: dict[str, Tensor]
    """Tensors by kohya name; modules that were not recognised keep the name they came with."""
    strangers: tuple[str, ...]
    """Module names that are not in the model."""


def to_kohya(
    tensors: Mapping[str, Tensor],
    targets: Sequence[Named] | None,
    alphas: Mapping[str, float] | None = None,
) -> Renamed:
    """Return `tensors` of any layout under kohya names of `targets`; without targets modules keep their names.

    `alphas` are the modules' scale numerators by module name, where the tensors do not carry them.
    """
    table = aliases(targets) if targets is not None else None
    state: dict[str, Tensor] = {}
    strangers: dict[str, None] = {}
    for name, value in tensors.items():
        split = split_tensor_name(name)
        if split is None:
            strangers[name] = None
            continue
        module, tensor = split
        key = plain_name(module) if table is None else look_up(table, module)
        if key is None:
            strangers[module] = None
        state[f"{key or module}.{tensor}"] = value
        if alphas and module in alphas and _leads(tensor):
            state.setdefault(f"{key or module}.{ALPHA}", torch.tensor(alphas[module]))
    return Renamed(state, tuple(strangers))


def _leads(tensor: str) -> bool:
    """Tell whether `tensor` is the first of its kind, beside which a module's alpha is put."""
    kind = kind_of([tensor])
    return kind is not None and tensor == kind.tensors[0]


# --- to diffusers ----------------------------------------------------------------------------------------


def to_diffusers(
    state: Mapping[str, Tensor], targets: Sequence[Named]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return a kohya-named state as diffusers' `save_lora_weights` would write it: tensors and metadata.

    Every module must be one of `targets`. Raises LoraError for incomplete modules and for kinds that diffusers does not know.
    """
    modules = modules_of(state)
    tensors: dict[str, Tensor] = {}
    components: dict[str, dict[str, ModuleWeights]] = {}
    for target in targets:
        weights = modules.get(target.key)
        if weights is None:
            continue
        endings_there = weights.kind.diffusers_endings
        if endings_there is None:
            given = f"an adapter of the kind {weights.kind.name}"
            raise LoraError(Problem(target.key, given, "a kind that diffusers knows", "Keep kohya's layout."))
        for ending, tensor in zip(endings_there, weights.tensors, strict=True):
            tensors[f"{target.diffusers_key}{ending}"] = tensor
        component, _, path = target.diffusers_key.partition(".")
        components.setdefault(component, {})[path.removeprefix("text_model.")] = weights
    packed = {
        f"{name}.{key}": value for name, parts in components.items() for key, value in _config(parts).items()
    }
    return tensors, {"format": "pt", ADAPTER_METADATA: json.dumps(packed, indent=2, sort_keys=True)}


def _config(modules: Mapping[str, ModuleWeights]) -> dict[str, Any]:
    """Return the PEFT configuration that gives each module its rank and alpha."""
    rank = Counter(weights.rank for weights in modules.values()).most_common(1)[0][0]
    alpha = Counter(weights.alpha for weights in modules.values()).most_common(1)[0][0]
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: weights.rank for path, weights in modules.items() if weights.rank != rank},
        "alpha_pattern": {path: weights.alpha for path, weights in modules.items() if weights.alpha != alpha},
        "target_modules": sorted(modules),
    }

"""What an optimizer keeps, as tensors and plain values by name, and back into a fresh optimizer bit for bit.

Read from and written into the optimizer itself, not through its own `state_dict`: that wraps, converts and casts in ways that
differ from class to class, and some bits would be others.

    INDEX.NAME             of weight number INDEX        GROUP.NAME      of a parameter group (tensors alone)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from maquette.training.stacked_optimizer import GatheredAdamW

NOT_LEARNT = ("params", "fused", "foreach", "capturable", "differentiable")
"""Entries of a parameter group that say which tensors and kernels it works on, not what it has learnt."""
Tensors = dict[str, torch.Tensor]


def weights_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """Return what is kept of each weight: tensors, and everything else by the same names."""
    tensors: Tensors = {}
    plain: dict[str, Any] = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in _flat(optimizer.state.get(parameter, {})):
            kept = tensors if isinstance(value, torch.Tensor) else plain
            kept[f"{number}.{name}"] = value
    return tensors, {name: _told(value) for name, value in plain.items()}


def groups_state(optimizer: torch.optim.Optimizer) -> tuple[Tensors, list[dict[str, Any]]]:
    """Return what is kept of each parameter group: tensors as `GROUP.NAME`, and the rest a table a group."""
    tensors: Tensors = {}
    tables: list[dict[str, Any]] = []
    for number, group in enumerate(optimizer.param_groups):
        tables.append({})
        for name, value in group.items():
            if name in NOT_LEARNT:
                continue
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{name}"] = value
            else:
                tables[-1][name] = _told(value)
    return tensors, tables


def put_back(
    optimizer: torch.optim.Optimizer,
    of_weights: Tensors,
    plain: Mapping[str, Any],
    of_groups: Tensors,
    tables: Sequence[Mapping[str, Any]],
) -> None:
    """Put what `weights_state` and `groups_state` returned back, each tensor on its weight's device."""
    for group, table in zip(optimizer.param_groups, tables, strict=bool(tables)):
        group.update({name: _heard(value) for name, value in table.items()})
    for name, value in of_groups.items():
        number, _, entry = name.partition(".")
        optimizer.param_groups[int(number)][entry] = value.clone()
    parameters = list(_parameters(optimizer))
    of = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
    for name, value in [*of_weights.items(), *((name, _heard(value)) for name, value in plain.items())]:
        number, _, path = name.partition(".")
        parameter = parameters[int(number)]
        if isinstance(value, torch.Tensor):
            value = value.clone().to(_place(path, value, parameter, of[id(parameter)]))
        table = optimizer.state[parameter]
        *outer, last = path.split(".")
        for each in outer:
            table = table.setdefault(each, {})
        table[last] = value
    if isinstance(optimizer, GatheredAdamW):
        optimizer.adopt_state()


def _place(
    name: str, value: torch.Tensor, parameter: torch.nn.Parameter, group: Mapping[str, Any]
) -> torch.device:
    """Return where a tensor belongs; torch's own optimizers count steps on the CPU unless a kernel does it."""
    counts_here = bool(group.get("fused") or group.get("capturable"))
    return value.device if name == "step" and not counts_here else parameter.device


def _parameters(optimizer: torch.optim.Optimizer) -> Iterator[torch.nn.Parameter]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested tables by its path."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _told(value: Any) -> Any:
    """Return a value as JSON holds it, which knows no tuples."""
    if isinstance(value, tuple | list):
        return [_told(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a state cannot hold a {type(value).__name__}")


def _heard(value: Any) -> Any:
    """Return the value that `_told` told; optimizers compare pairs such as betas with tuples."""
    return tuple(_heard(each) for each in value) if isinstance(value, list) else value

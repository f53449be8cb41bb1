"""Everything that resuming needs, in one file that is there whole or not at all.

The data order, noise and caption shuffling are pure functions of seed and step (randomness.py), so the state is only what
training changed: the trial's float32 LoRA tensors, its optimizer's moments, the loss scaler, the step.

A state is one trial's: a safetensors file `state-00000400.safetensors` with tensors `0.lora.KEY` and `0.optimizer.INDEX.NAME`.
Its metadata hold the step, the digest of the settings that decide the weights, the optimizer's groups and the loss scaler.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from maquette.errors import OutputError, Problem
from maquette.files import replacing

if TYPE_CHECKING:
    from maquette.training.optimize import TrialOptimizer

STATE_NAME = re.compile(r"state-(\d{8})\.safetensors$")
KEPT_STATES = 2
OF_THE_DEVICE = ("params", "fused", "foreach", "capturable", "differentiable")
"""Entries of a parameter group that say which tensors and kernels it works on, not what it has learnt."""
# The number of the trial within the file, which is always the first: each trial has a file of its own.
_LORA, _OPTIMIZER = "0.lora.", "0.optimizer."


@dataclass(frozen=True)
class SavedState:
    """A state file that was read and found whole."""

    path: Path
    step: int
    digest: str
    tensors: dict[str, torch.Tensor]
    groups: list[dict[str, Any]]
    """What the optimizer kept of each parameter group; [] in states of earlier releases."""
    scaler: dict[str, Any] | None


def save_state(
    folder: Path,
    step: int,
    digest: str,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: TrialOptimizer,
    scaler: torch.amp.GradScaler | None,
) -> Path:
    """Write one trial's state after `step` optimizer steps; older ones beyond the newest two are removed afterwards.

    `parameters` are the trial's by name (`LoraAdapter.named_parameters`).
    """
    tensors = {f"{_LORA}{name}": _on_cpu(parameter) for name, parameter in parameters.items()}
    state = optimizer.torch_optimizer.state_dict()
    for number, moments in state["state"].items():
        for name, value in moments.items():
            tensors[f"{_OPTIMIZER}{number}.{name}"] = _on_cpu(torch.as_tensor(value))
    metadata = {
        "step": str(step),
        "digest": digest,
        "groups": json.dumps([_plain(group) for group in state["param_groups"]]),
        "scaler": json.dumps(scaler.state_dict()) if scaler is not None else "",
    }
    path = folder / f"state-{step:08d}.safetensors"
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            # safetensors wraps the system's own error (disk full, quota) in a type that is no OSError.
            raise OSError(str(error)) from error
    for old in _state_files(folder)[:-KEPT_STATES]:
        old.unlink(missing_ok=True)
    return path


def latest_state(folder: Path) -> SavedState | None:
    """Return the newest whole state in `folder`, or None when there is none. A damaged newest falls back to the one before."""
    files = _state_files(folder)
    for path in reversed(files):
        try:
            return _read(path)
        except (SafetensorError, OSError, KeyError, ValueError):
            continue
    if files:
        raise OutputError(
            Problem(
                str(folder),
                f"{len(files)} state files, none readable",
                "a whole state to resume from",
                "Train anew under another --name.",
            )
        )
    return None


def state_at(folder: Path, step: int) -> SavedState | None:
    """Return the state after `step` steps, or None where there is none that is whole."""
    try:
        return _read(folder / f"state-{step:08d}.safetensors")
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def restore_state(
    state: SavedState,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: TrialOptimizer,
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Put `state` back into a trial's parameters, optimizer and scaler, bit for bit."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state.tensors[f"{_LORA}{name}"])
        optimizer.torch_optimizer.load_state_dict(_optimizer_state(state, optimizer.torch_optimizer))
    if scaler is not None and state.scaler:
        scaler.load_state_dict(state.scaler)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous()


def _optimizer_state(state: SavedState, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in state.tensors.items():
        if key.startswith(_OPTIMIZER):
            number, name = key.removeprefix(_OPTIMIZER).split(".", 1)
            moments.setdefault(int(number), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    saved = state.groups or [{} for _ in groups]
    return {
        "state": moments,
        "param_groups": [{**group, **known} for group, known in zip(groups, saved, strict=True)],
    }


def _plain(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an optimizer keeps of a parameter group: numbers and switches, but not how this device computes them."""
    kept = {name: value for name, value in group.items() if name not in OF_THE_DEVICE}
    return {name: value.item() if isinstance(value, torch.Tensor) else value for name, value in kept.items()}


def _groups(text: str) -> list[dict[str, Any]]:
    """Return saved parameter groups; JSON knows no tuples, and optimizers compare pairs such as betas with tuples."""
    return [
        {name: tuple(value) if isinstance(value, list) else value for name, value in group.items()}
        for group in json.loads(text)
    ]


def _state_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("state-*.safetensors") if STATE_NAME.search(path.name))


def _read(path: Path) -> SavedState:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    scaler = json.loads(metadata["scaler"]) if metadata["scaler"] else None
    groups = _groups(metadata.get("groups", "[]"))
    return SavedState(path, int(metadata["step"]), metadata["digest"], tensors, groups, scaler)

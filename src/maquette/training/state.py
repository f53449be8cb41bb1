"""Everything that resuming needs, in one file that is there whole or not at all.

The data order, noise and caption shuffling are pure functions of seed and step (randomness.py), so the state is only what
training changed: every trial's float32 LoRA tensors, its optimizer's moments, the loss scaler, the step.

A state is a safetensors file `state-00000400.safetensors`: tensors `trial.lora.KEY` and `trial.optimizer.INDEX.NAME`; its
metadata holds the step and the digest of the settings that decide the weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from maquette.errors import OutputError, Problem
from maquette.files import replacing

if TYPE_CHECKING:
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.optimize import TrialOptimizer

STATE_NAME = re.compile(r"state-(\d{8})\.safetensors$")
KEPT_STATES = 2


@dataclass(frozen=True)
class SavedState:
    """A state file that was read and found whole."""

    path: Path
    step: int
    digest: str
    tensors: dict[str, torch.Tensor]
    scaler: dict[str, Any] | None


def save_state(
    folder: Path,
    step: int,
    digest: str,
    adapter: LoraAdapter,
    optimizers: Sequence[TrialOptimizer],
    scaler: torch.amp.GradScaler | None,
) -> Path:
    """Write the state after `step` optimizer steps; older ones beyond the newest two are removed afterwards."""
    tensors: dict[str, torch.Tensor] = {}
    for index, optimizer in enumerate(optimizers):
        for name, parameter in _named_parameters(adapter, index):
            tensors[f"{index}.lora.{name}"] = parameter.detach().cpu().contiguous()
        for number, moments in optimizer.torch_optimizer.state_dict()["state"].items():
            for name, value in moments.items():
                tensors[f"{index}.optimizer.{number}.{name}"] = value.detach().cpu().contiguous()
    metadata = {
        "step": str(step),
        "digest": digest,
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


def restore_state(
    state: SavedState,
    adapter: LoraAdapter,
    optimizers: Sequence[TrialOptimizer],
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Put `state` back into adapter, optimizers and scaler, bit for bit."""
    with torch.no_grad():
        for index, optimizer in enumerate(optimizers):
            for name, parameter in _named_parameters(adapter, index):
                parameter.copy_(state.tensors[f"{index}.lora.{name}"])
            optimizer.torch_optimizer.load_state_dict(
                _optimizer_state(state, index, optimizer.torch_optimizer)
            )
    if scaler is not None and state.scaler:
        scaler.load_state_dict(state.scaler)


def _named_parameters(adapter: LoraAdapter, trial: int) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for key, layer in adapter.layers.items():
        for name, parameter in zip(("down", "up"), layer.weights(trial) or (), strict=False):
            yield f"{key}.{name}", parameter


def _optimizer_state(state: SavedState, trial: int, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    moments: dict[int, dict[str, torch.Tensor]] = {}
    prefix = f"{trial}.optimizer."
    for key, value in state.tensors.items():
        if key.startswith(prefix):
            number, name = key.removeprefix(prefix).split(".", 1)
            moments.setdefault(int(number), {})[name] = value
    return {"state": moments, "param_groups": optimizer.state_dict()["param_groups"]}


def _state_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("state-*.safetensors") if STATE_NAME.search(path.name))


def _read(path: Path) -> SavedState:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    scaler = json.loads(metadata["scaler"]) if metadata["scaler"] else None
    return SavedState(path, int(metadata["step"]), metadata["digest"], tensors, scaler)

"""Everything that resuming needs, in one file that is there whole or not at all.

The data order, noise and caption shuffling are pure functions of seed and step (randomness.py), so the state is only what
training changed: the trial's float32 LoRA tensors, its optimizer's moments, the loss scaler, the step.

A state is one trial's: a safetensors file `state-00000400.safetensors` with tensors `0.lora.KEY` and `0.optimizer.INDEX.NAME`.
Its metadata hold the step, the digest of the settings that decide the weights, the optimizer's groups, the loss scaler, and a
checksum over all of these and every tensor: a state is what was saved, to the bit, or it is passed over for an older one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from maquette.errors import OutputError, Problem
from maquette.files import replacing
from maquette.reading import parse_json
from maquette.training.optimizer_state import groups_state, put_back, weights_state

if TYPE_CHECKING:
    from maquette.training.optimize import TrialOptimizer

STATE_NAME = re.compile(r"state-(\d{8})\.safetensors$")
KEPT_STATES = 2
# The number of the trial within the file, which is always the first: each trial has a file of its own.
_LORA, _OPTIMIZER, _GROUP, _AVERAGE = "0.lora.", "0.optimizer.", "0.group.", "0.average."
CHECKSUM = "sha256"
_NEEDED = {"step", "digest", "scaler"}
_KNOWN = _NEEDED | {"groups", "numbers", CHECKSUM}
_UNREADABLE = (SafetensorError, OSError, ValueError)


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
    numbers: dict[str, Any] = field(default_factory=dict)
    """What the optimizer kept of each weight beside tensors: `INDEX.NAME` → number, text or truth value."""
    has_checksum: bool = True
    """False in states of earlier releases: damage to their numbers cannot be seen."""
    passed_over: tuple[str, ...] = ()
    """Newer state files that are not whole, each with what is wrong with it."""


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
    of_weights, numbers = weights_state(optimizer.torch_optimizer)
    of_groups, groups = groups_state(optimizer.torch_optimizer)
    averages = dict(enumerate(optimizer.average.averages if optimizer.average else ()))
    for begins, held in ((_OPTIMIZER, of_weights), (_GROUP, of_groups), (_AVERAGE, averages)):
        tensors |= {f"{begins}{name}": _on_cpu(value) for name, value in held.items()}
    metadata = {
        "step": str(step),
        "digest": digest,
        "groups": json.dumps(groups),
        "numbers": json.dumps(numbers),
        "scaler": json.dumps(scaler.state_dict()) if scaler is not None else "",
    }
    metadata[CHECKSUM] = _checksum(metadata, tensors)
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


def latest_state(folder: Path, last_step: int | None = None) -> SavedState | None:
    """Return the newest whole state in `folder`, or None when there is none; it names the damaged ones that it stands in for.

    A state beyond `last_step`, where the run ends, is none of this run's. Raises OutputError when all are damaged.
    """
    damaged: list[str] = []
    files = _state_files(folder)
    for path in reversed(files):
        try:
            return replace(_read(path, last_step), passed_over=tuple(damaged))
        except _UNREADABLE as error:
            damaged.append(f"{path.name}: {error}")
    if files:
        raise OutputError(
            Problem(
                str(folder),
                f"{len(files)} state files, none whole ({'; '.join(damaged)})",
                "a whole state to resume from",
                "Put a copy of one back, or move them away: the run then begins again from its first step, to the same "
                "weights.",
            )
        )
    return None


def state_at(folder: Path, step: int) -> SavedState | None:
    """Return the state after `step` steps, or None where there is none that is whole."""
    try:
        return _read(folder / f"state-{step:08d}.safetensors", step)
    except _UNREADABLE:
        return None


def restore_state(
    state: SavedState,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: TrialOptimizer,
    scaler: torch.amp.GradScaler | None,
) -> None:
    """Put `state` back into a trial's parameters, optimizer and scaler, bit for bit.

    Raises OutputError, naming every tensor, where it is not of this adapter and optimizer.
    """
    _require_fitting(state, parameters, optimizer)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state.tensors[f"{_LORA}{name}"])
        put_back(
            optimizer.torch_optimizer,
            _held(state, _OPTIMIZER),
            state.numbers,
            _held(state, _GROUP),
            state.groups,
        )
        for number, average in enumerate(optimizer.average.averages if optimizer.average else ()):
            average.copy_(state.tensors[f"{_AVERAGE}{number}"])
    if scaler is not None and state.scaler:
        scaler.load_state_dict(state.scaler)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy: some optimizers keep one tensor under several names, which a file does not hold."""
    return tensor.detach().cpu().contiguous().clone()


def _held(state: SavedState, begins: str) -> dict[str, torch.Tensor]:
    """Return the state's tensors whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(begins): value for name, value in state.tensors.items() if name.startswith(begins)
    }


def _state_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("state-*.safetensors") if STATE_NAME.search(path.name))


def _read(path: Path, last_step: int | None) -> SavedState:
    """Return the state at `path`. Raises one of `_UNREADABLE`, saying what is wrong, where it is not what was saved."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    strange = metadata.keys() - _KNOWN | _NEEDED - metadata.keys()
    if strange:
        raise ValueError(f"its metadata are not a state's ({', '.join(sorted(strange))})")
    if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum(metadata, tensors):
        raise ValueError("its content is not what was saved (the checksum differs)")
    step = int(metadata["step"])
    if path.name != f"state-{step:08d}.safetensors":
        raise ValueError(f"it says that it is of step {step}")
    if step < 1 or (last_step is not None and step > last_step):
        raise ValueError(f"its step is beyond the run's {last_step}")
    if not all(tensor.isfinite().all() for key, tensor in tensors.items() if key.startswith(_LORA)):
        raise ValueError("its weights are not finite numbers")
    try:
        scaler = parse_json(metadata["scaler"]) if metadata["scaler"] else None
        groups = _tables(parse_json(metadata.get("groups", "[]")))
        (numbers,) = _tables([parse_json(metadata.get("numbers", "{}"))])
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"its metadata are not a state's ({error})") from error
    return SavedState(path, step, metadata["digest"], tensors, groups, scaler, numbers, CHECKSUM in metadata)


def _tables(value: Any) -> list[dict[str, Any]]:
    """Return a list of tables. Raises TypeError where it is none."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise TypeError("no tables")
    return value


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the hash of all that a state holds: names, types, shapes and values."""
    told = {name: text for name, text in metadata.items() if name != CHECKSUM}
    found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _require_fitting(
    state: SavedState, parameters: Mapping[str, torch.nn.Parameter], optimizer: TrialOptimizer
) -> None:
    """Raise OutputError unless every tensor of `state` has its place here, of the same shape and type."""
    wrong = [
        *_unfit_weights(state, parameters),
        *_unfit_moments(state, optimizer.parameters, optimizer.facts.keeps_shapes),
        *_unfit_averages(state, optimizer),
    ]
    if state.groups and len(state.groups) != len(optimizer.torch_optimizer.param_groups):
        wrong.append(f"{len(state.groups)} groups of parameters")
    if wrong:
        raise OutputError(
            Problem(
                str(state.path),
                f"does not fit the run: {'; '.join(wrong[:3])}"
                + (f" and {len(wrong) - 3} more" * (len(wrong) > 3)),
                "the state that this run saved",
                "Move it away: the run then goes on from the state before.",
            )
        )


def _unfit_weights(state: SavedState, parameters: Mapping[str, torch.nn.Parameter]) -> Iterator[str]:
    saved = {key.removeprefix(_LORA): value for key, value in state.tensors.items() if key.startswith(_LORA)}
    yield from (f"{name} is missing" for name in parameters.keys() - saved.keys())
    yield from (f"{name} is none of its weights" for name in saved.keys() - parameters.keys())
    for name in saved.keys() & parameters.keys():
        if not _alike(saved[name], parameters[name]):
            yield f"{name} is {_form(saved[name])}, not {_form(parameters[name])}"


def _unfit_moments(
    state: SavedState, parameters: Sequence[torch.nn.Parameter], keeps_shapes: bool
) -> Iterator[str]:
    """Yield what the optimizer kept that has another shape than the weights it belongs to; counters have none."""
    for key, value in _held(state, _OPTIMIZER).items():
        number = key.partition(".")[0]
        if not number.isdecimal() or int(number) >= len(parameters):
            yield f"{_OPTIMIZER}{key} belongs to no weight"
        elif keeps_shapes and value.ndim == (of := parameters[int(number)]).ndim and value.shape != of.shape:
            yield f"{_OPTIMIZER}{key} is {_form(value)}, not {_form(of)}"
    known = (_LORA, _OPTIMIZER, _GROUP, _AVERAGE)
    yield from (f"{key} belongs to no weight" for key in state.tensors if not key.startswith(known))
    numbers = {name.partition(".")[0] for name in state.numbers}
    if any(not number.isdecimal() or int(number) >= len(parameters) for number in numbers):
        yield f"{len(state.numbers)} numbers belong to no weight"


def _unfit_averages(state: SavedState, optimizer: TrialOptimizer) -> Iterator[str]:
    wanted = optimizer.average.averages if optimizer.average else []
    saved = _held(state, _AVERAGE)
    names = {str(number) for number in range(len(wanted))}
    if saved.keys() != names:
        yield f"{len(saved)} averages of weights, not {len(wanted)}"
        return
    for name, value in saved.items():
        if not _alike(value, wanted[int(name)]):
            yield f"{_AVERAGE}{name} is {_form(value)}, not {_form(wanted[int(name)])}"


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _form(tensor: torch.Tensor) -> str:
    return f"{'×'.join(map(str, tensor.shape)) or 'one number'} {str(tensor.dtype).removeprefix('torch.')}"

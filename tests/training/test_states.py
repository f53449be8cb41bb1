"""A state is what was saved, to the bit, or it is not gone on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import maquette
from maquette.errors import OutputError
from maquette.events import Event, Progress
from maquette.training.config import TrialSettings
from maquette.training.loop import TrainResult
from maquette.training.optimize import TrialOptimizer
from maquette.training.rates import RateGroup
from maquette.training.state import CHECKSUM, SavedState, latest_state, restore_state, save_state

ShortRun = Callable[..., dict]


def _trained(steps: int) -> tuple[torch.nn.Parameter, TrialOptimizer]:
    parameter = torch.nn.Parameter(torch.linspace(1, 2, 6).reshape(2, 3))
    trial = TrialSettings(denoiser_lr=1e-2, lr_scheduler="constant")
    optimizer = TrialOptimizer(trial, [RateGroup("denoiser", trial.denoiser_lr, (parameter,))], total_steps=6)
    for step in range(steps):
        parameter.square().sum().backward()
        optimizer.update(step)
    return parameter, optimizer


def _save(folder: Path, step: int) -> Path:
    parameter, optimizer = _trained(step)
    return save_state(folder, step, "digest", {"x": parameter}, optimizer, None)


def _content(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    with safe_open(path, framework="pt") as file:
        return dict(file.metadata()), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def _alike(one: SavedState, other: SavedState) -> bool:
    return (
        (one.step, one.digest, one.groups, one.scaler)
        == (other.step, other.digest, other.groups, other.scaler)
        and one.tensors.keys() == other.tensors.keys()
        and all(torch.equal(one.tensors[key], other.tensors[key]) for key in one.tensors)
    )


def test_whatever_byte_of_a_state_changes_the_one_before_is_taken_or_nothing_is_lost(tmp_path: Path) -> None:
    older, newest = _save(tmp_path, 2), _save(tmp_path, 4)
    sound, before, whole = newest.read_bytes(), latest_state(tmp_path), 0
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << (place % 8)
        newest.write_bytes(bytes(damaged))
        state = latest_state(tmp_path)
        assert state is not None and before is not None
        if state.step == 4:  # padding of the header holds nothing
            assert _alike(state, before)
            whole += 1
        else:
            assert state.path == older and state.passed_over[0].startswith(newest.name)
    assert whole < 16


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": "999999"}, "checksum"),
        ({"digest": "other"}, "checksum"),
        ({"groups": "[]"}, "checksum"),
        ({"more": "1"}, "more"),
        ({CHECKSUM: "0" * 64}, "checksum"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_metadata_that_were_not_saved_so_are_not_believed(tmp_path: Path, change: dict, said: str) -> None:
    path = _save(tmp_path, 4)
    metadata, tensors = _content(path)
    save_file(tensors, path, metadata | change)
    with pytest.raises(OutputError, match=said):
        latest_state(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "name", "said"),
    [
        ({"step": "999999"}, "state-00999999.safetensors", "beyond the run's 6"),
        ({"step": "0"}, "state-00000000.safetensors", "beyond the run's 6"),
        ({"step": "4"}, "state-00000005.safetensors", "says that it is of step 4"),
        ({"step": "four"}, "state-00000004.safetensors", "four"),
        ({"scaler": "{"}, "state-00000004.safetensors", "its metadata"),
        ({"groups": "3"}, "state-00000004.safetensors", "its metadata"),
    ],
)
def test_a_state_without_checksum_is_held_to_the_run_it_is_of(
    tmp_path: Path, metadata: dict, name: str, said: str
) -> None:
    path = _save(tmp_path, 4)
    known, tensors = _content(path)
    path.unlink()
    known.pop(CHECKSUM)
    save_file(tensors, tmp_path / name, known | metadata)
    with pytest.raises(OutputError, match=said):
        latest_state(tmp_path, 6)
    _save(tmp_path, 2)
    state = latest_state(tmp_path, 6)
    assert state is not None and state.step == 2


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("0.lora.x", torch.ones(1, 3), "x is 1×3 float32, not 2×3 float32"),
        ("0.lora.x", torch.ones(2, 3, dtype=torch.float16), "x is 2×3 float16"),
        ("0.lora.y", torch.ones(2, 3), "y is none of its weights"),
        ("0.optimizer.0.exp_avg", torch.zeros(1, 3), "exp_avg is 1×3"),
        ("0.optimizer.7.exp_avg", torch.zeros(2, 3), "belongs to no weight"),
    ],
)
def test_a_tensor_of_another_form_is_refused_not_broadcast(
    tmp_path: Path, key: str, value: torch.Tensor, said: str
) -> None:
    path = _save(tmp_path, 4)
    metadata, tensors = _content(path)
    metadata.pop(CHECKSUM)
    save_file(tensors | {key: value}, path, metadata)
    state = latest_state(tmp_path)
    assert state is not None and not state.has_checksum
    parameter, optimizer = _trained(1)
    kept = parameter.detach().clone()
    with pytest.raises(OutputError, match=said):
        restore_state(state, {"x": parameter}, optimizer, None)
    assert torch.equal(parameter, kept)


def test_a_run_goes_on_from_the_state_before_a_damaged_one_and_says_so(
    short_run: ShortRun, whole_run: TrainResult, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maquette.train(**short_run(name="cut"), on_event=stop)
    run = tmp_path / "out" / "cut"
    newest = max((run / "state").glob("state-*.safetensors"))
    metadata, tensors = _content(newest)
    assert json.loads(metadata["groups"]) and metadata[CHECKSUM]
    key = next(key for key in tensors if "up" in key and tensors[key].any())
    tensors[key].view(-1)[0] += 1e-7
    save_file(tensors, newest, metadata)
    said: list[str] = []
    resumed = maquette.train(resume=run, on_event=lambda event: said.append(getattr(event, "text", "")))
    assert any(newest.name in text and "going on from the state of step 4" in text for text in said)
    assert resumed.record.resumed_at_steps == (4,)
    assert resumed.lora.read_bytes()[-1000:] == whole_run.lora.read_bytes()[-1000:]

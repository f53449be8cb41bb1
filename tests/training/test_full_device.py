"""A device without room: blocks are computed again until the run fits, the weights are the same, and a person is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import maquette
from maquette import families
from maquette.errors import ConfigError, TrainingError
from maquette.events import Message
from maquette.families.common.recomputing import block_of
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record
from maquette.training.loop import TrainResult

ShortRun = Callable[..., dict[str, Any]]


def weights(result: Any) -> bytes:
    return bytes(result.lora.read_bytes()[-4096:])


class SmallDevice:
    """Stands in for a card: its first level has room for one pass only where at least `blocks` blocks keep nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
        self.recomputed = 0
        self.refused = 0
        load = families.load

        def loaded(*args: Any, **kwargs: Any) -> Any:
            model = load(*args, **kwargs)
            choose = model.set_gradient_checkpointing

            def chosen(enabled: bool, names: Any = None) -> None:
                self.recomputed = len(names) if enabled and names is not None else 0
                choose(enabled, names)

            def full(*_: Any) -> None:
                if self.recomputed < blocks and torch.is_grad_enabled():
                    self.refused += 1
                    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

            monkeypatch.setattr(model, "set_gradient_checkpointing", chosen)
            model.denoiser.get_submodule("conv_out").register_forward_hook(full)
            return model

        monkeypatch.setattr(families, "load", loaded)


def test_a_step_that_finds_the_device_full_is_taken_again_with_more_blocks(
    short_run: ShortRun, whole_run: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    device = SmallDevice(monkeypatch, 10)
    fitted = maquette.train(
        **short_run(name="fitted", fit_memory_gib=64.0),
        on_event=lambda event: told.append(event.text) if isinstance(event, Message) else None,
    )
    assert weights(fitted) == weights(whole_run)
    assert device.refused >= 2 and device.recomputed >= 10
    assert any("Nothing has to be computed again" in text for text in told)
    assert sum("found the device full" in text for text in told) == device.refused


def test_where_nothing_gives_room_the_cheapest_way_on_is_told_and_goes_on_to_the_same_weights(
    short_run: ShortRun, whole_run: TrainResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        SmallDevice(patch, 1)
        with pytest.raises(TrainingError) as caught:
            maquette.train(**short_run())
    run = tmp_path / "out" / "zkw"
    assert "step 1" in str(caught.value) and "no memory left" in str(caught.value)
    assert f"maquette train --resume {run} --fit-memory-gib 0" in str(caught.value)
    assert "OutOfMemoryError" in RunFolder(run).log.read_text()
    assert read_record(run).state == "failed"
    resumed = maquette.train(resume=run, fit_memory_gib=0.001)
    assert weights(resumed) == weights(whole_run)
    assert resumed.record.settings.training.fit_memory_gib == 0.001


def test_a_resumed_run_takes_no_setting_that_would_change_its_weights(
    short_run: ShortRun, tmp_path: Path
) -> None:
    run = maquette.train(**short_run(steps=2)).run
    with pytest.raises(ConfigError, match="--learning-rate"):
        maquette.train(resume=run, learning_rate=1e-3)


def test_the_module_behind_a_call_is_found_however_a_library_passes_it() -> None:
    from functools import partial

    module = torch.nn.Linear(2, 2)
    assert block_of(module) is block_of(module.forward) is block_of(partial(module.forward)) is module
    assert block_of(partial(torch.nn.Linear.forward, module)) is module
    assert block_of(len) is None

"""However a run ends, it goes on to the same weights, and its record says how it ended.

Noise, order and dropout are functions of seed and step, so equality is to the last bit: nothing else may differ.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import maquette
from maquette.api import train_events
from maquette.errors import TrainingError
from maquette.events import Artifact, Event, Finished, Message, Progress, Started
from maquette.logs.metrics import read_metrics
from maquette.runs.events import read_events
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, read_record
from maquette.stopping import Stop, Stopped
from maquette.training import state
from maquette.training.engine import Engine
from maquette.training.loop import TrainResult
from maquette.training.optimize import TrialOptimizer
from maquette.training.state import latest_state
from tests.conftest import PICTURE_SIZES, make_pictures, short_settings

ShortRun = Callable[..., dict]
# Without states of its own accord: what lies there was saved because the run ended.
RUN = {
    "state_every_steps": None,
    "save_every_steps": 3,
    "sample_prompts": ("zkw",),
    "sample_steps": 1,
    "learning_rate": 1e-2,
}


@pytest.fixture(scope="module")
def whole(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    folder = tmp_path_factory.mktemp("whole")
    images = make_pictures(folder / "pictures", PICTURE_SIZES)
    return maquette.train(**short_settings(tiny_base, images, folder / "out", **RUN, name="whole"))


def _at_step(step: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, Progress) and event.stage == "train" and event.done == step


def _train(settings: dict[str, Any], act: Callable[[Event], None], stop: Stop | None = None) -> RunFolder:
    """Train until `act` ends it by whatever it raises or asks."""
    maquette.train(**settings, on_event=act, stop=stop)
    raise AssertionError("the run was to end early")


def _goes_on_as(whole: TrainResult, folder: RunFolder) -> RunRecord:
    """Resume; assert that everything the run leaves is what the uninterrupted one left."""
    resumed = maquette.train(resume=folder.path)
    first, second = load_file(whole.lora), load_file(resumed.lora)
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    rows, own = (read_metrics(run / "metrics.jsonl") for run in (whole.run, folder.path))
    assert [(row["step"], row["loss"]) for row in rows] == [(row["step"], row["loss"]) for row in own]
    assert _files(whole.run) == _files(folder.path)
    record = resumed.record
    assert [entry.step for entry in record.checkpoints] == [3, 6]
    assert [entry.step for entry in record.samples] == [3, 6]
    for entry in record.checkpoints:
        twin = whole.run / entry.path.replace(folder.path.name, whole.run.name)
        ours, theirs = load_file(folder.path / entry.path), load_file(twin)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    return record


def _files(run: Path) -> set[str]:
    kept = (path for path in run.rglob("*") if path.suffix in (".safetensors", ".png"))
    return {path.relative_to(run).as_posix().replace(run.name, "NAME") for path in kept} - {
        f"state/state-0000000{step}.safetensors" for step in range(6)
    }


@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_consumer_that_leaves_loses_nothing(short_run: ShortRun, whole: TrainResult, step: int) -> None:
    """At step 3 a checkpoint and samples are due, which nobody waits for: they are made when the run goes on."""
    settings = short_run(**RUN, name="left")
    stage = train_events(settings=settings)
    for event in stage:
        if _at_step(step)(event):
            break
    stage.close()
    folder = RunFolder(settings["output"] / "left")
    record = read_record(folder.path)
    assert (record.state, record.step) == ("interrupted", step)
    assert latest_state(folder.state).step == step  # type: ignore[union-attr]
    assert _goes_on_as(whole, folder).resumed_at_steps == (step,)


def test_a_clock_that_goes_backwards_changes_nothing(
    short_run: ShortRun, whole: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on a year before it began: its newest state is told by its step, its events by their order."""
    settings = short_run(**{**RUN, "state_every_steps": 1}, name="clock")
    stage = train_events(settings=settings)
    for event in stage:
        if _at_step(4)(event):
            break
    stage.close()
    folder = RunFolder(settings["output"] / "clock")
    year_s, real = 365 * 86400, time.time
    for number, path in enumerate(sorted(folder.path.rglob("*"))):
        os.utime(
            path, (real() + year_s - number,) * 2
        )  # names in the order of their steps: the newest is the oldest
    monkeypatch.setattr(time, "time", lambda: real() - year_s)
    record = _goes_on_as(whole, folder)
    assert record.resumed_at_steps == (4,) and all(value >= 0 for value in record.timings.values())
    told = read_events(folder.event_log)
    assert [event.sequence for event in told] == sorted({event.sequence for event in told})
    times = [event.time for event in told if event.time is not None]
    assert min(times) < max(times) - year_s / 2 and times != sorted(times), "the clock did go back"


@pytest.mark.slow
def test_at_whatever_event_a_consumer_leaves_the_run_goes_on(short_run: ShortRun, whole: TrainResult) -> None:
    told = read_events(RunFolder(whole.run).event_log)
    points = [
        index
        for index, event in enumerate(told)
        if isinstance(event, Started | Finished | Artifact | Message) or getattr(event, "stage", "") == "draw"
    ]
    for point in points:
        settings = short_run(**RUN, name=f"left-{point}")
        stage = train_events(settings=settings)
        for _ in range(point + 1):
            next(stage)
        stage.close()
        _goes_on_as(whole, RunFolder(settings["output"] / f"left-{point}"))


def test_who_is_asked_to_stop_ends_after_the_step_and_says_how_to_go_on(
    short_run: ShortRun, whole: TrainResult
) -> None:
    stop, settings = Stop(), short_run(**RUN, name="asked")

    def ask(event: Event) -> None:
        if _at_step(2)(event):
            stop.ask("the queue was emptied")

    with pytest.raises(Stopped) as caught:
        _train(settings, ask, stop)
    folder = RunFolder(settings["output"] / "asked")
    assert (
        str(caught.value) == f"interrupted at step 2 of 6; go on with: maquette train --resume {folder.path}"
    )
    record = read_record(folder.path)
    assert (record.state, record.step, record.error) == ("stopped", 2, "the queue was emptied")
    assert "stopped at step 2 of 6" in read_events(folder.event_log)[-1].text  # type: ignore[union-attr]
    _goes_on_as(whole, folder)


def test_who_is_asked_before_the_first_step_goes_on_from_the_beginning(
    short_run: ShortRun, whole: TrainResult
) -> None:
    stop, settings = Stop(), short_run(**RUN, name="early")

    def ask(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "encode pictures":
            stop.ask()

    with pytest.raises(Stopped, match="step 0 of 6"):
        _train(settings, ask, stop)
    _goes_on_as(whole, RunFolder(settings["output"] / "early"))


def test_an_error_of_the_listener_loses_nothing(short_run: ShortRun, whole: TrainResult) -> None:
    settings = short_run(**RUN, name="deaf")

    def fail(event: Event) -> None:
        if _at_step(4)(event):
            raise RuntimeError("the page is gone")

    with pytest.raises(RuntimeError, match="the page is gone"):
        _train(settings, fail)
    folder = RunFolder(settings["output"] / "deaf")
    assert read_record(folder.path).state == "interrupted"
    assert latest_state(folder.state).step == 4  # type: ignore[union-attr]
    _goes_on_as(whole, folder)


def test_a_failed_step_keeps_the_state_of_the_step_before(
    short_run: ShortRun, whole: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failing step has run forward and backward by then: its gradients are nobody's."""
    settings = short_run(**RUN, name="failed")
    sound = Engine._require_finite

    def fails_at_five(engine: Engine, step: int, losses: Any, *more: Any) -> None:
        sound(engine, step, [float("nan")] if step == 4 else losses, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_require_finite", fails_at_five)
        with pytest.raises(TrainingError, match="step 5"):
            maquette.train(**settings)
    folder = RunFolder(settings["output"] / "failed")
    record = read_record(folder.path)
    assert (record.state, record.step) == ("failed", 4) and "finite" in str(record.error)
    assert latest_state(folder.state).step == 4  # type: ignore[union-attr]
    _goes_on_as(whole, folder)


def test_weights_that_are_no_numbers_are_not_kept(short_run: ShortRun, whole: TrainResult) -> None:
    """A rate beyond all reason breaks the weights in one step; the step after finds out."""
    settings = short_run(**{**RUN, "learning_rate": 1e38, "max_grad_norm": 0.0, "state_every_steps": None})
    with pytest.raises(TrainingError):
        maquette.train(**settings)
    states = RunFolder(settings["output"] / settings["name"]).state
    kept = latest_state(states)
    assert kept is None or all(tensor.isfinite().all() for tensor in kept.tensors.values())


def test_an_interrupt_within_the_weights_change_keeps_no_half_step(
    short_run: ShortRun, whole: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = short_run(**{**RUN, "state_every_steps": 2}, name="half")
    update = TrialOptimizer.update

    def interrupted(optimizer: TrialOptimizer, step: int, scaler: Any = None) -> float:
        norm = update(optimizer, step, scaler)
        if step == 4:
            raise KeyboardInterrupt
        return norm

    with monkeypatch.context() as patch:
        patch.setattr(TrialOptimizer, "update", interrupted)
        with pytest.raises(KeyboardInterrupt) as caught:
            maquette.train(**settings)
    folder = RunFolder(settings["output"] / "half")
    assert caught.value.__notes__ == [
        f"interrupted at step 4 of 6; go on with: maquette train --resume {folder.path}"
    ]
    assert read_record(folder.path).state == "interrupted"
    assert latest_state(folder.state).step == 4  # type: ignore[union-attr]
    _goes_on_as(whole, folder)


def test_who_does_not_wait_for_the_state_goes_on_from_the_one_before(
    short_run: ShortRun, whole: TrainResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, settings = Stop(), short_run(**{**RUN, "state_every_steps": 2}, name="hasty")
    save = state.save_state

    def interrupted(folder: Path, step: int, *rest: Any) -> Path:
        if step == 5:
            raise KeyboardInterrupt
        return save(folder, step, *rest)

    def ask(event: Event) -> None:
        if _at_step(5)(event):
            stop.ask()

    with monkeypatch.context() as patch:
        patch.setattr(state, "save_state", interrupted)
        with pytest.raises(Stopped, match=r"step 5 of 6 \(its state is of step 4\)"):
            _train(settings, ask, stop)
    assert _goes_on_as(whole, RunFolder(settings["output"] / "hasty")).resumed_at_steps == (4,)

"""A pack's trials are independent lanes: each is to the last what its own training is, whoever comes and goes beside it.

In double precision, where rounding hides nothing: what a pass computes for one trial does not depend on its company, so all that
is left is the float32 of losses and of noise, which is the same in both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import maquette
from maquette.events import Event, Message, Progress
from maquette.families.common.model import LatentDiffusionModel
from maquette.logs.metrics import VALIDATION, read_metrics
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.runs.asked import ask_of_run
from maquette.runs.record import PACKED, read_record
from maquette.stopping import Stop, Stopped
from maquette.training.directing import PackResult
from maquette.training.fitting import asked_memory
from maquette.training.pack import run_pack
from maquette.training.pack_places import needed_bytes, planned_places
from maquette.training.prepare import prepare
from tests.conftest import make_pictures, short_settings
from tests.training.pack_director import Script, double_precision, run, trials_of

MEASURED = {"validation_training": True, "validation_timesteps": 2, "validation_pictures": 2}
OWN: list[dict[str, Any]] = [
    {"learning_rate": 1e-3, "text_encoder_lr": 5e-4},
    {"rank": 4, "alpha": 1.0, "seed": 7, "steps": 3, "min_snr_gamma": 5.0, "noise_offset": 0.1},
    {"rank": 3, "dropout": 0.3, "accumulation": 2, "steps": 3, "caption_dropout_rate": 0.5, "ip_noise_gamma": 0.1},
    {"optimizer": "sgd", "learning_rate": 0.1, "lr_scheduler": "linear", "warmup_steps": 2, "steps": 3,
     "blocks": ("unet.up_blocks:rank=4",)},
    {"learning_rate": 1e38, "max_grad_norm": 0.0, "optimizer": "sgd", "warmup_steps": 0},
    {"precision": "bf16"},
    {"batch_size": 2, "epochs": 1, "steps": None, "loraplus_lr_ratio": 4.0, "ema_decay": 0.9, "scale_weight_norms": 0.5},
]  # fmt: skip
PRUNED, BROKEN, MISFIT = 3, 4, 5
FIRST = 2
"""The trial that every check looks at."""
ASKED = 0
"""The trial that somebody asks for a checkpoint while it trains."""
WHOLE = tuple(number for number in range(len(OWN)) if number not in (PRUNED, BROKEN, MISFIT))


@pytest.fixture(scope="module", autouse=True)
def in_double() -> Iterator[None]:
    """Bases and adapters hold float64 where float32 is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        double_precision(patch)
        yield


@pytest.fixture(scope="module")
def settings_of(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    folder = tmp_path_factory.mktemp("pack")
    images = make_pictures(folder / "pictures", [(96, 96)] * 3 + [(144, 72)])
    plain = {**MEASURED, "steps": 4, "dropout": 0.0, "state_every_steps": 1}
    return lambda **own: short_settings(tiny_base, images, folder / "out", **{**plain, **own})


ENCODED: list[int] = []
"""Pictures that the pack has encoded, call by call."""
Packed = tuple[Path, Script, PackResult, list[Event]]


@pytest.fixture(scope="module")
def packed(settings_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """All trials in three places: refilled as they end, one pruned, one broken, one that does not fit."""
    folder = tmp_path_factory.mktemp("packed") / "trials"
    trials = trials_of(folder, [settings_of(**own) for own in OWN], rungs=(2,))

    def prunes(number: int, step: int) -> bool:
        if (number, step) == (ASKED, 2):
            ask_of_run(folder / f"{ASKED:03d}", "save")
        return (number, step) == (PRUNED, 2)

    director = Script(trials, prunes=prunes)
    with pytest.MonkeyPatch.context() as patch:
        encode = LatentDiffusionModel.encode_pictures
        patch.setattr(
            LatentDiffusionModel,
            "encode_pictures",
            lambda model, pixels, **more: ENCODED.append(len(pixels)) or encode(model, pixels, **more),
        )
        result, events = run(director, load_settings(None, settings_of()), 3)
    assert result is not None
    return folder, director, result, events


@pytest.fixture(scope="module")
def alone(settings_of: Any) -> Callable[[int], Path]:
    """Return the folder of a trial's own run, which is trained once."""
    known: dict[int, Path] = {}

    def trained(number: int) -> Path:
        if number not in known:
            known[number] = maquette.train(**settings_of(**OWN[number], name=f"alone-{number}")).run
        return known[number]

    return trained


def test_a_trial_saves_when_it_is_asked(packed: Packed) -> None:
    run = packed[0] / f"{ASKED:03d}"
    assert [(entry.step, entry.final) for entry in read_record(run).checkpoints] == [(3, False), (4, True)]
    assert not (run / ".maquette").exists()


def state_of(run: Path, step: int) -> dict[str, torch.Tensor]:
    """Return the float64 weights after `step` steps."""
    tensors = load_file(run / "state" / f"state-{step:08d}.safetensors")
    return {key: value for key, value in tensors.items() if key.startswith("0.lora.")}


def assert_equal_to(one: Path, other: Path, step: int) -> None:
    """Assert that two runs have the same weights and losses up to the last bits of what training changed."""
    found, expected = state_of(one, step), state_of(other, step)
    assert found.keys() == expected.keys()
    moved = max(float(value.abs().max()) for key, value in expected.items() if key.endswith(".up"))
    apart = max(float((found[key] - value).abs().max()) for key, value in expected.items())
    assert moved > 1e-5 and apart <= 1e-9 * max(moved, 1.0)
    rows, others = (read_metrics(run / "metrics.jsonl")[:step] for run in (one, other))
    assert [row["step"] for row in rows] == list(range(1, step + 1))
    for row, expected_row in zip(rows, others, strict=True):
        assert row.keys() == expected_row.keys()
        told = {
            key: value
            for key, value in expected_row.items()
            if key not in ("seconds", "peak_memory_bytes", "shown")
        }
        assert {key: row[key] for key in told} == pytest.approx(told, rel=1e-6)
        assert [picture for picture, *_ in row["shown"]] == [picture for picture, *_ in expected_row["shown"]]


@pytest.mark.parametrize(
    "number", [FIRST, *(pytest.param(number, marks=pytest.mark.slow) for number in WHOLE if number != FIRST)]
)
def test_each_trial_is_to_the_last_what_its_own_training_is(
    packed: Packed, alone: Callable[[int], Path], number: int
) -> None:
    folder, director, _, _ = packed
    run_folder, own = folder / f"{number:03d}", alone(number)
    record = director.records[number]
    assert record.state == "finished" and record == read_record(run_folder)
    assert_equal_to(run_folder, own, record.schedule.steps)
    one = load_file(run_folder / "checkpoints" / f"{number:03d}.safetensors")
    two = load_file(own / "checkpoints" / f"{own.name}.safetensors")
    assert one.keys() == two.keys()
    assert all(
        torch.allclose(one[key].double(), value.double(), rtol=0, atol=1e-7) for key, value in two.items()
    )


def test_a_lane_leaves_the_files_of_its_own_run(packed: Packed, alone: Callable[[int], Path]) -> None:
    folder, director, _, _ = packed

    def files(run_folder: Path) -> set[str]:
        found = (path for path in run_folder.rglob("*") if path.is_file() and path.parent.name != "events")
        name = f"checkpoints/{run_folder.name}."
        return {path.relative_to(run_folder).as_posix().replace(name, "checkpoints/NAME.") for path in found}

    assert files(folder / f"{FIRST:03d}") == files(alone(FIRST))
    own = read_record(alone(FIRST))
    for name in ("schedule", "dataset", "base", "base_sha256", "device", "final_loss"):
        found, expected = getattr(director.records[FIRST], name), getattr(own, name)
        if name == "schedule":
            assert found.sum == expected.sum
        else:
            assert found == (pytest.approx(expected, rel=1e-6) if name == "final_loss" else expected)


def test_the_director_hears_every_rung_at_the_same_noise(
    packed: Packed, alone: Callable[[int], Path]
) -> None:
    """Paired: each trial is asked the very question that its own run is asked, and that the others are."""
    folder, director, _, _ = packed
    for number in WHOLE:
        last = director.records[number].schedule.steps
        told = {step: loss for trial, step, loss in director.told if trial == number}
        assert list(told) == sorted({2, last})
        if number != FIRST:
            continue
        (own,) = [
            row for row in read_metrics(alone(number) / "metrics.jsonl", VALIDATION) if row["step"] == last
        ]
        assert told[last] == pytest.approx(own["validation_loss"], rel=1e-6)
    bases = {
        tuple(read_metrics(folder / f"{number:03d}" / "metrics.jsonl", VALIDATION)[0]["pictures"])
        for number in (0, 1, 2)
    }
    assert len(bases) == 1


def test_a_pruned_trial_keeps_what_it_was(packed: Packed) -> None:
    folder, director, result, _ = packed
    run_folder = folder / f"{PRUNED:03d}"
    record = read_record(run_folder)
    assert PACKED in record.notes
    assert record.state == "pruned" and record.step == 2 and result.pruned == (PRUNED,)
    assert [(entry.step, entry.path) for entry in record.checkpoints] == [
        (2, f"checkpoints/{PRUNED:03d}-step00000002.safetensors")
    ]
    assert PRUNED not in director.records


@pytest.mark.slow
def test_a_pruned_trial_goes_on_alone_where_it_was_ended(
    packed: Packed, alone: Callable[[int], Path]
) -> None:
    run_folder = packed[0] / f"{PRUNED:03d}"
    assert_equal_to(run_folder, alone(PRUNED), 2)
    resumed = maquette.train(resume=run_folder)
    assert resumed.record.state == "finished" and resumed.record.resumed_at_steps == (2,)
    assert_equal_to(run_folder, alone(PRUNED), 3)


def test_what_fails_fails_alone_and_in_words(packed: Packed) -> None:
    folder, director, result, events = packed
    assert set(director.problems) == {BROKEN, MISFIT} == set(result.failed)
    assert "no finite number" in director.problems[BROKEN] or "finite number" in director.problems[BROKEN]
    assert "the same for all trials over one base" in director.problems[MISFIT]
    assert read_record(folder / f"{BROKEN:03d}").state == "failed"
    assert not (folder / f"{MISFIT:03d}").exists()
    told = [event.text for event in events if isinstance(event, Message)]
    assert any(text.startswith(f"trial {BROKEN} failed: step") for text in told)


def test_places_are_refilled_and_passes_shared(packed: Packed) -> None:
    folder, _, result, events = packed
    assert set(result.finished) == set(WHOLE) and result.places == 3
    trained = [read_record(folder / f"{number:03d}") for number in (*WHOLE, PRUNED, BROKEN)]
    assert result.passes < sum(record.step * record.schedule.accumulation for record in trained)
    shown = [event for event in events if isinstance(event, Progress) and event.stage == "pack"]
    assert shown[-1].done == result.steps and {"trials", "speed", "left"} <= shown[-1].values.keys()
    at_work = [int(str(event.values["trials"]).split()[2]) for event in shown]
    assert max(at_work) == 3 and at_work[-1] == 0


def test_pictures_are_encoded_once_for_all_trials(packed: Packed) -> None:
    """Four pictures for the trials of each of two seeds, of which each has a sample of its own, and two that are measured."""
    assert 0 < sum(ENCODED) <= 4 + 4 + 2


def test_as_many_places_are_planned_as_memory_holds(settings_of: Any) -> None:
    with prepare(load_settings(None, settings_of(name="planned")), judge=judge) as job:
        asked = asked_memory(job)
        assert asked is not None
        asked = asked.changed(keeps_vae=True, cached_texts=False)
        need = [needed_bytes(asked, places) for places in (1, 2, 3)]
        assert need[0] < need[1] < need[2]
        for room, places in ((need[2], 3), (need[2] - 1, 2), (need[1] - 1, 1), (need[0] // 2, 1)):
            training = job.settings.training.model_copy(update={"fit_memory_gib": room / 2**30})
            limited = replace(job, settings=job.settings.model_copy(update={"training": training}))
            planned, told = planned_places(limited, 3)
            assert planned == places and (told is None) == (places == 3)


# --- ending and going on ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pack_that_is_left_goes_on_and_a_lane_goes_on_alone(
    settings_of: Any, alone: Callable[[int], Path], tmp_path: Path
) -> None:
    chosen = [settings_of(**OWN[number]) for number in (0, 1, 2)]
    shared = load_settings(None, settings_of())

    def late(event: Event) -> bool:
        return isinstance(event, Progress) and event.stage == "pack" and event.done >= 2

    run(Script(trials_of(tmp_path, chosen)), shared, 2, until=late)
    records = [read_record(tmp_path / f"{number:03d}") for number in (0, 1)]
    assert [record.state for record in records] == ["interrupted"] * 2

    asked = Stop()
    with pytest.raises(Stopped):
        for event in run_pack(shared, Script(trials_of(tmp_path, chosen)), places=2, judge=judge, stop=asked):
            if late(event):
                asked.ask("somebody asked")
    records = [read_record(tmp_path / f"{number:03d}") for number in (0, 1)]
    assert [(record.state, record.error) for record in records] == [("stopped", "somebody asked")] * 2
    assert all(0 < record.step < record.schedule.steps for record in records)
    maquette.train(resume=tmp_path / "000")
    assert_equal_to(tmp_path / "000", alone(0), 4)

    director = Script(trials_of(tmp_path, chosen))
    result, _ = run(director, shared, 2)
    # The one that was finished meanwhile is told, not trained.
    assert director.records.keys() == {0, 1, 2} and result is not None and set(result.finished) == {0, 1, 2}
    assert (0, 4) in {(number, step) for number, step, _ in director.told}
    for number in (1, 2):
        assert_equal_to(tmp_path / f"{number:03d}", alone(number), 3)


@pytest.mark.slow
def test_a_pack_that_is_killed_goes_on_to_the_same_weights(
    settings_of: Any, alone: Callable[[int], Path], tmp_path: Path
) -> None:
    """SIGKILL gives no chance to clean up; what lies on the disk must be enough."""
    chosen = [settings_of(**OWN[number]) for number in (0, 2)]
    code = """
import json, sys
import pytest
from tests.training.pack_director import *

double_precision(pytest.MonkeyPatch())
folder, chosen = json.loads(sys.argv[1])
run(Script(trials_of(Path(folder), chosen)), load_settings(None, chosen[0]), 2)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, json.dumps([str(tmp_path), chosen], default=str)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = tmp_path / "001" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not read_metrics(metrics) and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [read_record(tmp_path / name).state for name in ("000", "001")] == ["running"] * 2
    director = Script(trials_of(tmp_path, chosen))
    result, _ = run(director, load_settings(None, settings_of()), 2)
    assert result is not None and set(result.finished) == {0, 1}
    for number, (own, steps) in enumerate(((0, 4), (2, 3))):
        assert_equal_to(tmp_path / f"{number:03d}", alone(own), steps)


@pytest.mark.slow
def test_a_full_device_takes_fewer_trials_and_loses_nothing(
    settings_of: Any, alone: Callable[[int], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device stands in for a card: it has room for two rows with a backward pass."""
    predict = LatentDiffusionModel.predict
    refused: list[int] = []

    def small(model: Any, noisy: torch.Tensor, *given: Any) -> torch.Tensor:
        if torch.is_grad_enabled() and len(noisy) > 2:
            refused.append(len(noisy))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return predict(model, noisy, *given)

    monkeypatch.setattr(LatentDiffusionModel, "predict", small)
    director = Script(trials_of(tmp_path, [settings_of(**OWN[number]) for number in (0, 1, 2)]))
    result, events = run(director, load_settings(None, settings_of()), 3)
    assert result is not None and result.places == 2 and set(result.finished) == {0, 1, 2}
    assert refused == [3]
    assert any("2 trials at once from here on" in getattr(event, "text", "") for event in events)
    for number, steps in ((0, 4), (1, 3), (2, 3)):
        assert_equal_to(tmp_path / f"{number:03d}", alone(number), steps)


@pytest.mark.slow
def test_a_trial_that_another_has_taken_over_is_let_go(settings_of: Any, tmp_path: Path) -> None:
    director = Script(trials_of(tmp_path, [settings_of(**OWN[1]), settings_of(**OWN[2])]))
    director.gone = [1]
    result, _ = run(director, load_settings(None, settings_of()), 2)
    assert result is not None and result.let_go == (1,) and result.finished == (0,)
    assert read_record(tmp_path / "001").state == "running"  # whoever has it now writes there

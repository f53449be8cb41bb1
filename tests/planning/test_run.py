"""A plan is training's own arithmetic: the seeds' sums, random datasets, and what `prepare` then does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maquette.cli.plan import command
from maquette.dataset.strict import sized_dataset
from maquette.errors import ConfigError, DatasetError, MaquetteError
from maquette.events import Message
from maquette.footprint.timing import StepTime, TimePlan
from maquette.planning.options import PlanOptions
from maquette.planning.requests import settings_for
from maquette.planning.run import PlanResult, plan, plan_events
from maquette.planning.show import plan_lines
from maquette.project.machine import Disk, Machine
from maquette.rules.verdict import judge
from maquette.training.prepare import prepare
from tests.conftest import shared_data
from tests.dataset.making import dataset_at, facts_of
from tests.planning.making import answer, folder

QUIET = PlanOptions(measure=False)


def planned(target: Path, **flags: Any) -> PlanResult:
    output = target.parent / "runs"
    return plan(
        settings_for(target, {"resolution": 64, "bucket_step_px": 16, "output": output, **flags}), QUIET
    )


# --- the seeds' sums -----------------------------------------------------------------------------------------


def test_the_first_run_of_the_field_notes_took_1840_steps_because_of_its_regularization_set(
    tmp_path: Path,
) -> None:
    """23 pictures × 10 and 100 regularization pictures, topped up to 230: 460 an epoch; 920 were planned."""
    train, regs = (
        folder(tmp_path / "train" / "10_zkw", 23).parent,
        folder(tmp_path / "reg" / "1_man", 100).parent,
    )
    result = planned(train, epochs=4, regularization=regs, save_every_steps=200, name="zkw_v1")
    assert (result.schedule.train_items, result.schedule.regularization_items) == (230, 230)
    assert (result.schedule.steps_per_epoch, result.schedule.steps) == (460, 1840)
    assert (
        result.schedule.explain()
        == "(23 × 10 + 230 regularization) / batch 1 = 460 steps × 4 epochs = 1,840 steps"
    )
    names = [f"zkw_v1-step{step:08d}.safetensors" for step in range(200, 1840, 200)]
    assert [entry.file_name for entry in result.checkpoints] == [*names, "zkw_v1.safetensors"]
    assert any("2 times as long" in text for text in result.advice)
    assert planned(train, epochs=4).schedule.steps == 920


def test_fifteen_pictures_with_as_many_of_the_class_take_1200_steps(tmp_path: Path) -> None:
    train, regs = (
        folder(tmp_path / "train" / "10_zkw", 15).parent,
        folder(tmp_path / "reg" / "1_man", 100).parent,
    )
    assert planned(train, epochs=4, regularization=regs).schedule.steps == 1200


def test_eight_pictures_with_three_of_the_class_twice_give_160_batches(tmp_path: Path) -> None:
    train, regs = (
        folder(tmp_path / "train" / "10_sks", 8).parent,
        folder(tmp_path / "reg" / "2_dog", 3).parent,
    )
    result = planned(train, epochs=3, regularization=regs)
    assert (result.schedule.batches_per_epoch, result.schedule.regularization_items) == (160, 80)


def test_the_pixel_portraits_take_10150_steps_and_ten_checkpoints() -> None:
    result = plan(
        settings_for(
            shared_data("pixel_portraits"),
            {
                "epochs": 10,
                "batch_size": 2,
                "save_every_epochs": 1,
                "name": "bespoke_baby_sdxl",
                "resolution": 1024,
            },
        ),
        PlanOptions(kind="style", measure=False),
    )
    assert (result.schedule.steps_per_epoch, result.schedule.steps) == (1015, 10150)
    names = [f"bespoke_baby_sdxl-{epoch:06d}.safetensors" for epoch in range(1, 10)]
    assert [entry.file_name for entry in result.checkpoints] == [*names, "bespoke_baby_sdxl.safetensors"]
    assert result.target.low <= 10150 <= result.target.high
    assert result.proposals == () and result.assumed is not None and result.info.resolution == 1024


def test_four_hundred_film_frames_take_20_epochs(tmp_path: Path) -> None:
    """Field notes: 413 frames, batch 4, accumulation 2, 20 epochs."""
    result = planned(
        folder(tmp_path / "film", 413),
        epochs=20,
        batch_size=4,
        accumulation=2,
        save_every_epochs=2,
        name="film",
    )
    assert (result.schedule.steps_per_epoch, result.schedule.steps) == (52, 1040)
    assert len(result.checkpoints) == 10
    assert result.target.low <= 1040 <= result.target.high


# --- the same as training -----------------------------------------------------------------------------------


SIZES = st.sampled_from([(64, 64), (64, 96), (128, 64)])
LENGTHS = st.one_of(
    st.tuples(st.just("epochs"), st.integers(1, 9)), st.tuples(st.just("steps"), st.integers(1, 60))
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    folders=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5), SIZES), min_size=1, max_size=3),
    regs=st.one_of(st.none(), st.tuples(st.integers(1, 4), st.integers(1, 3))),
    batch=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    length=LENGTHS,
    every=st.tuples(st.one_of(st.none(), st.integers(1, 30)), st.one_of(st.none(), st.integers(1, 4))),
)
def test_what_is_planned_is_what_training_prepares(
    tiny_base: Path,
    tmp_path: Path,
    folders: Any,
    regs: Any,
    batch: int,
    accumulation: int,
    length: Any,
    every: Any,
) -> None:
    root = tmp_path / "example"
    shutil.rmtree(root, ignore_errors=True)
    for index, (repeats, count, size) in enumerate(folders):
        folder(root / "train" / f"{repeats}_part{index}", count, size)
    regularization = folder(root / "reg" / f"{regs[0]}_class", regs[1]).parent if regs else None
    flags = {
        "base": str(tiny_base), "trigger": "zkw", "resolution": 64, "bucket_step_px": 16, "batch_size": batch,
        "accumulation": accumulation, length[0]: length[1], "save_every_steps": every[0], "save_every_epochs": every[1],
        "regularization": regularization, "output": root / "runs", "device": "cpu", "precision": "no", "rank": 2,
    }  # fmt: skip
    wanted = settings_for(root / "train", flags)
    result, job = plan(wanted, QUIET), prepare(wanted, judge=judge)
    assert result.schedule == job.schedule
    assert result.checkpoints == job.trials[0].checkpoints
    assert result.info == job.info


def test_a_file_of_the_run_is_as_large_as_planned(
    tiny_base: Path, pictures: Path, short_run: Callable[..., dict], tmp_path: Path
) -> None:
    import maquette

    values = short_run(save_precision="fp16")
    result = plan(
        settings_for(pictures, {name: value for name, value in values.items() if name != "images"}), QUIET
    )
    done = maquette.train(**values)
    assert done.lora.name == result.checkpoints[-1].file_name
    tensors = result.checkpoint_bytes
    assert (
        tensors < done.lora.stat().st_size < tensors * 1.35 + 20_000
    )  # the metadata, large beside so small a LoRA


def test_pictures_are_found_as_the_full_look_finds_them(tmp_path: Path) -> None:
    root = folder(tmp_path / "train" / "3_a", 4, (64, 96)).parent
    folder(root / "2_b", 3)
    quick, full = sized_dataset(facts_of(root, "headers")), dataset_at(root)
    assert [(p.path, p.size_wh, p.subset) for p in quick.pictures] == [
        (p.path, p.size_wh, p.subset) for p in full.pictures
    ]


def test_a_picture_that_cannot_be_opened_is_not_counted_and_said(tmp_path: Path) -> None:
    root = folder(tmp_path / "pictures", 3)
    (root / "p001.png").write_bytes(b"no picture")
    events = list(plan_events(settings_for(root, {"resolution": 64}), QUIET))
    assert len(sized_dataset(facts_of(root, "headers")).pictures) == 2
    said = [event.text for event in events if isinstance(event, Message)]
    assert any("p001.png" in text and "check" in text for text in said), said


def test_no_pictures_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="empty"):
        planned(tmp_path / "empty", epochs=1)


def test_base_and_pictures_are_both_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MaquetteError) as caught:
        planned(tmp_path / "empty", base=str(tmp_path / "none.safetensors"), epochs=1)
    assert len(caught.value.problems) == 2


# --- proposals and advice -----------------------------------------------------------------------------------


def test_proposals_reach_the_target_by_epochs_or_by_repeats(tmp_path: Path) -> None:
    result = planned(folder(tmp_path / "4_zkw", 20), epochs=2)
    assert result.schedule.steps == 160
    by_name = {proposal.setting: proposal for proposal in result.proposals}
    assert 800 <= by_name["epochs"].steps <= 1200 and by_name["epochs"].how == "--epochs 12"
    assert 800 <= by_name["repeats"].steps <= 1200 and by_name["repeats"].how == "rename 4_zkw to 25_zkw"
    assert (
        planned(tmp_path / "4_zkw", epochs=by_name["epochs"].value).schedule.steps == by_name["epochs"].steps
    )


def test_asked_for_steps_are_the_target(tmp_path: Path) -> None:
    wanted = settings_for(
        folder(tmp_path / "pictures", 20), {"epochs": 1, "resolution": 64, "bucket_step_px": 16}
    )
    result = plan(wanted, PlanOptions(target_steps=2000, measure=False))
    assert [proposal.value for proposal in result.proposals] == [100, 100]


def test_few_checkpoints_are_warned_of_with_an_interval_that_gives_enough(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "pictures", 10)
    few = planned(pictures, epochs=100)
    assert len(few.checkpoints) == 1
    advice = next(text for text in few.advice if "--save-every-steps" in text)
    every = int(advice.rstrip(".").rpartition(" ")[2])
    enough = planned(pictures, epochs=100, save_every_steps=every)
    assert len(enough.checkpoints) >= 5 and not any("checkpoint" in text for text in enough.advice)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    wanted = settings_for(
        folder(tmp_path / "pictures", 10), {"epochs": 100, "save_every_steps": 10, "rank": 64}
    )
    machine = Machine(
        system="Linux",
        ram_bytes=2**34,
        disks={Path("/"): Disk(total_bytes=2**33, free_bytes=10**9, mount="/")},
    )
    result = plan(wanted, QUIET, machine)
    assert result.disk.free_bytes == 10**9 and any("1.0 GB free" in text for text in result.advice)


def test_what_training_refuses_is_said_before(tmp_path: Path) -> None:
    result = planned(folder(tmp_path / "pictures", 3), steps=10, warmup_steps=20)
    assert any(text.startswith("Training will refuse") and "20" in text for text in result.advice)


def test_a_device_that_is_elsewhere_can_be_planned_for(tmp_path: Path) -> None:
    pictures = folder(tmp_path / "pictures", 20)
    found = answer(
        pictures, "--epochs", 50, "--device-like", "RTX 3090 Ti", "--resolution", 1024, "--rank", 32
    )
    assert found["device"]["memory_bytes"] == 24 << 30 and found["device"]["precision"] == "bf16"
    assert (
        found["time"]["seconds_per_step"] == pytest.approx(1.12, rel=0.01)
        and "sd-scripts#827" in found["time"]["source"]
    )
    unknown = CliRunner().invoke(
        command, [str(pictures), "--device-like", "RTX 3090Tea", "--resolution", "1024"]
    )
    assert unknown.exit_code == 2 and "RTX 3090 Ti" in unknown.output


# --- the command ---------------------------------------------------------------------------------------------


def test_the_command_answers_with_the_contract_s_keys(tiny_base: Path, tmp_path: Path) -> None:
    train, regs = (
        folder(tmp_path / "train" / "10_zkw", 6).parent,
        folder(tmp_path / "reg" / "1_fox", 2).parent,
    )
    found = answer(
        train, "--epochs", 3, "--batch", 2, "--accumulation", 2, "--regularization", regs, "--base", tiny_base,
        "--resolution", 64, "--bucket-step-px", 16, "--device", "cpu", "--output", tmp_path / "runs",
    )  # fmt: skip
    assert (found["train_items"], found["regularization_items"]) == (60, 60)
    assert (found["steps_per_epoch"], found["steps"]) == (30, 90)
    assert found["checkpoints"] == ["lora-001.safetensors"]
    for name in ("memory_bytes", "disk_bytes", "seconds"):
        assert found[name] > 0


def test_two_batch_sizes_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        command, [str(folder(tmp_path / "p", 2)), "--batch", "2", "--batch-size", "3"]
    )
    assert result.exit_code == 2 and "--batch-size 3" in result.output


def test_nothing_to_plan_for_is_a_clear_error() -> None:
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 2 and "PATH" in result.output


@pytest.mark.parametrize(
    ("text", "size"), [("16GB", 16 << 30), ("12 GiB", 12 << 30), ("512m", 512 << 20), ("1.5g", 3 << 29)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert PlanOptions(memory_bytes=text).memory_bytes == size


@pytest.mark.parametrize("text", ["much", "", "-3GB", "0GB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="16GB"):
        PlanOptions(memory_bytes=text)


def test_a_time_that_nobody_waits_for_is_doubted(tmp_path: Path) -> None:
    result = planned(folder(tmp_path / "pictures", 3), steps=10)
    step = StepTime(seconds=1090.0, source="this machine's speed", share_off=0.6)
    long = replace(result, time=TimePlan(seconds=3028 * 3600, parts={"steps": 3028 * 3600}, step=step))
    text = "\n".join(plan_lines(long))
    assert "about 126 days (50 days to 202 days), 1,090 s a step" in text and "too slow" in text
    short = replace(result, time=TimePlan(seconds=7200, parts={"steps": 7200}, step=step))
    assert "about 2.0 h" in "\n".join(plan_lines(short)) and "too slow" not in "\n".join(plan_lines(short))

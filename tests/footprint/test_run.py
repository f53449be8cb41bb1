"""One footprint: whatever describes a run, `check` and `plan` work out the same memory and the same disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maquette import families
from maquette.dataset.planned import schedule_of
from maquette.dataset.reading import read_dataset
from maquette.footprint.disk import full_disks
from maquette.footprint.run import (
    checkpoints_of,
    disk_parts,
    footprint_of_facts,
    items_of,
    sample_draws,
    trained_parts,
)
from maquette.planning.options import PlanOptions
from maquette.planning.run import plan
from maquette.project.config_file import load_settings
from maquette.project.machine import Disk, Machine
from maquette.project.request import TrainingRequest
from maquette.project.request_maquette import request_of
from maquette.training.prepare import dataset_input
from tests.planning.making import folder

SDXL = replace(families.published_info("sdxl"), path="a base that is not here")
QUIET = PlanOptions(measure=False)
NO_GPU = Machine(system="Linux", gpus=(), ram_bytes=2**36, packages={})


def settings_in(root: Path, **changes: Any) -> Any:
    """Return the settings of twenty pictures in two buckets, and what `changes` over them."""
    if not root.exists():
        folder(root / "10_zkw", 12, (1024, 1024))
        folder(root / "1_zkw", 8, (1024, 768))
    flags = {
        "images": root, "base": "", "trigger": "zkw", "resolution": 1024, "steps": 500, "rank": 32,
        "output": root.parent / "runs", "device": "cpu", "save_every_steps": 100, "sample_prompts": ("a", "b"),
    }  # fmt: skip
    return load_settings(None, {**flags, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": 40},
        {"batch_size": 4, "accumulation": 3, "epochs": 2, "steps": None, "precision": "bf16"},
        {"conv_rank": 8, "text_encoder_lr": 0.0, "gradient_checkpointing": True, "cache_latents": False},
        {"sample_prompts": (), "max_token_length": 225, "optimizer": "sgd", "save_precision": "fp32"},
        {"cache_folder": "cache", "sample_every_steps": 50, "bucketing": False},
    ],
    ids=["plain", "batch above pictures", "accumulated", "unet alone", "long captions", "cached on disk"],
)
def test_check_and_plan_agree_to_the_byte(tmp_path: Path, changes: dict[str, Any]) -> None:
    settings = settings_in(tmp_path / "train", **changes)
    planned = plan(settings, QUIET, NO_GPU)
    request = request_of(settings, tmp_path / "maquette.toml")
    facts = read_dataset(dataset_input(settings), "headers")
    footprint = footprint_of_facts(request, planned.info, facts, NO_GPU)
    assert footprint is not None
    memory = footprint.memory
    assert (memory.peak_bytes, memory.stages, memory.parts) == (
        planned.memory.peak_bytes,
        planned.memory.stages,
        planned.memory.parts,
    )
    schedule = schedule_of(facts, request)
    assert schedule == planned.schedule
    parts = disk_parts(request, planned.info, schedule, items_of(facts, request))
    assert {part.name: part.bytes for part in parts if part.bytes} == planned.disk.parts
    assert sum(part.bytes for part in parts) == planned.disk.total_bytes


def test_a_batch_holds_no_more_than_there_are_pictures_whoever_trains(tmp_path: Path) -> None:
    """Batches of 40 with 20 pictures need what batches of 20 need, from a project and from a command alike."""
    folder(tmp_path / "train", 20, (1024, 1024))

    def peaks(batch: int) -> set[int]:
        settings = settings_in(tmp_path / "train", batch_size=batch, precision="bf16", max_bucket_px=1024)
        project = request_of(settings, tmp_path / "maquette.toml")
        facts = read_dataset(dataset_input(settings), "headers")
        runs = (project, replace(project, trainer="sd-scripts", no_half_vae=False))
        found = [footprint_of_facts(run, SDXL, facts, NO_GPU) for run in runs]
        return {each.memory.peak_bytes for each in found if each is not None}

    assert peaks(40) == peaks(20) and len(peaks(40)) == 1
    assert max(peaks(8)) < min(peaks(20))


def test_a_run_that_trains_nothing_has_no_memory_to_tell(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "train", unet_lr=0.0, text_encoder_lr=0.0)
    request = request_of(settings, tmp_path / "maquette.toml")
    assert trained_parts(request) == ()
    facts = read_dataset(dataset_input(settings), "headers")
    assert footprint_of_facts(request, SDXL, facts, NO_GPU) is None


def test_each_disk_is_held_against_what_goes_there(tmp_path: Path) -> None:
    settings = settings_in(tmp_path / "train", cache_folder=Path("/cache"), output=Path("/out"))
    request = request_of(settings, tmp_path / "maquette.toml")
    facts = read_dataset(dataset_input(settings), "headers")
    schedule = schedule_of(facts, request)
    assert schedule is not None
    parts = disk_parts(request, SDXL, schedule, items_of(facts, request))
    room = {
        Path("/out"): Disk(total_bytes=2**40, free_bytes=2**40, mount="/out"),
        Path("/cache"): Disk(total_bytes=2**20, free_bytes=2**20, mount="/cache"),
    }
    (full,) = full_disks(parts, replace(NO_GPU, disks=room))
    assert [part.name for part in full.parts] == ["latents"] and full.disk.mount == "/cache"


def test_samples_come_with_checkpoints_unless_told_otherwise(tmp_path: Path) -> None:
    def draws(**changes: Any) -> int:
        settings = settings_in(tmp_path / "train", **changes)
        request: TrainingRequest = request_of(settings, tmp_path / "maquette.toml")
        facts = read_dataset(dataset_input(settings), "headers")
        schedule = schedule_of(facts, request)
        assert schedule is not None
        return sample_draws(request, schedule, checkpoints_of(request, schedule))

    assert draws() == 5
    assert draws(sample_every_steps=250) == 2
    assert draws(sample_prompts=()) == 0

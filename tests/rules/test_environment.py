"""What the field notes' machines did to their runs, found beforehand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maquette.footprint.memory import MemoryPlan
from maquette.project.machine import Disk, Gpu
from tests.rules.rule_cases import (
    CHARACTER_RUN,
    GIB,
    MAC,
    PIXEL_ART_RUN,
    RENTED,
    SD1,
    SDXL,
    codes,
    command,
    found,
    schedule,
)


def needing(num_bytes: int, note: str = "", share_off: float = 0.0) -> MemoryPlan:
    """Return the memory of a run that peaks there."""
    return MemoryPlan(
        peak_bytes=num_bytes,
        stage="train",
        stages={},
        parts={},
        device="cuda",
        share_off=share_off,
        note=note,
    )


def test_the_character_run_that_worked_raises_nothing_about_its_machine(tmp_path: Path) -> None:
    assert codes(command(tmp_path, CHARACTER_RUN), MAC, SD1, only="ENV") == {}


def test_the_character_run_as_first_planned_stops_on_apple_silicon(tmp_path: Path) -> None:
    """fp16 and 8-bit Adam came from settings for CUDA; python3 took 33 to 83 seconds a step."""
    text = CHARACTER_RUN.replace('"no"', '"fp16"').replace('"AdamW"', '"AdamW8bit"')
    text = text.replace("export PYTORCH_ENABLE_MPS_FALLBACK=1\n", "").replace(
        "accelerate launch \\\n  --num_cpu_threads_per_process=4 \\\n", "python3 \\\n"
    )
    said = codes(command(tmp_path, text), MAC, SD1, only="ENV")
    assert said == {"ENV001": "error", "ENV002": "error", "ENV004": "warning", "ENV006": "warning"}


def test_fp16_on_a_processor_is_an_error_and_bf16_is_not(tmp_path: Path) -> None:
    processor = replace(RENTED, gpus=())
    fp16 = command(tmp_path, CHARACTER_RUN.replace('"no"', '"fp16"'))
    assert "ENV001" in codes(fp16, processor)
    assert "bf16" not in next(f.remedy for f in found(fp16, processor, only="ENV001"))
    assert "ENV001" not in codes(command(tmp_path, CHARACTER_RUN.replace('"no"', '"bf16"')), processor)


@pytest.mark.parametrize(
    ("flags", "speaks"), [((), True), (("avx512_bf16",), False), (("bf16",), False), (None, False)]
)
def test_bf16_on_a_processor_is_judged_by_its_flags(
    tmp_path: Path, flags: tuple[str, ...] | None, speaks: bool
) -> None:
    """90 times slower where there is no arithmetic for it; unknown flags are no ground for blame."""
    processor = replace(RENTED, gpus=(), bf16_arithmetic=flags)
    asked = command(tmp_path, CHARACTER_RUN.replace('"no"', '"bf16"'))
    assert ("ENV016" in codes(asked, processor)) is speaks
    assert "ENV016" not in codes(asked, replace(processor, gpus=RENTED.gpus))


@pytest.mark.parametrize(
    ("macos", "speaks"), [("13.6.9", True), ("14.0", False), ("15.5", False), ("26.0", False), ("", False)]
)
def test_bf16_on_apples_gpu_is_judged_by_the_release_of_macos(
    tmp_path: Path, macos: str, speaks: bool
) -> None:
    asked = command(tmp_path, CHARACTER_RUN.replace('"no"', '"bf16"'))
    assert ("ENV017" in codes(asked, replace(MAC, system_version=macos))) is speaks


def test_xformers_on_an_rtx_5080_is_told_to_be_sdpa(tmp_path: Path) -> None:
    card = Gpu(kind="cuda", name="NVIDIA GeForce RTX 5080", total_bytes=16 * GIB, compute_capability=(12, 0))
    (finding,) = found(command(tmp_path, PIXEL_ART_RUN), replace(RENTED, gpus=(card,)), only="ENV003")
    assert "12.0" in finding.message and "--sdpa" in finding.remedy
    assert not found(command(tmp_path, PIXEL_ART_RUN), RENTED, only="ENV003")


@pytest.mark.parametrize(
    ("changes", "speaks"),
    [
        ('--mixed_precision="fp16"', True),
        ('--mixed_precision="fp16" --no_half_vae', False),
        ('--mixed_precision="fp16" --vae=madebyollin/sdxl-vae-fp16-fix', False),
        ('--mixed_precision="fp16" --vae=other.safetensors', True),
        ('--mixed_precision="bf16"', False),
    ],
)
def test_the_vae_of_sdxl_overflows_in_fp16_only(changes: str, speaks: bool, tmp_path: Path) -> None:
    request = command(tmp_path, PIXEL_ART_RUN.replace('--mixed_precision="bf16"', changes))
    assert bool(found(request, RENTED, SDXL, only="ENV005")) is speaks
    assert not found(request, RENTED, SD1, only="ENV005")


def test_without_mixed_precision_the_vae_is_in_float32_anyway(tmp_path: Path) -> None:
    text = CHARACTER_RUN.replace("  --no_half_vae \\\n", "")
    assert not found(command(tmp_path, text), MAC, SD1, only="ENV005")


def test_an_empty_submodule_is_named_with_the_command_that_fills_it(tmp_path: Path) -> None:
    (tmp_path / "sd-scripts").mkdir()
    (finding,) = found(command(tmp_path, CHARACTER_RUN), only="ENV007")
    assert "git submodule update --init --recursive" in finding.remedy
    (tmp_path / "sd-scripts" / "train_netwrk.py").touch()
    (finding,) = found(command(tmp_path, CHARACTER_RUN), only="ENV007")
    assert "train_netwrk.py" in finding.remedy


def test_a_download_to_the_10_gb_root_is_an_error_and_to_the_workspace_is_not(tmp_path: Path) -> None:
    """The rented machine: 10 GB root, at 105 %, and 50 GB /workspace."""
    assert not found(command(tmp_path, PIXEL_ART_RUN), RENTED, only="ENV008")
    unset = PIXEL_ART_RUN.replace("export HF_HOME=/workspace/.cache/huggingface\n", "")
    (finding,) = found(command(tmp_path, unset), RENTED, only="ENV008")
    assert finding.place == "HF_HOME is not set" and "10.7 GB" in finding.message
    shell = replace(RENTED, environment={"HF_HOME": "/workspace/hf"})
    assert not found(command(tmp_path, unset), shell, only="ENV008")


def test_ten_checkpoints_of_870_mb_need_a_disk_of_nine_gigabytes(tmp_path: Path) -> None:
    request = command(tmp_path, PIXEL_ART_RUN)
    run = schedule(10150, 1015)
    small = replace(RENTED, disks={Path("/"): Disk(total_bytes=50 * GIB, free_bytes=8 * GIB)})
    (finding,) = found(request, small, run, SDXL, only="ENV009")
    assert "10 checkpoints 9.1 GB" in finding.message
    assert not found(request, RENTED, run, SDXL, only="ENV009")


def test_states_weigh_six_times_a_half_precision_checkpoint(tmp_path: Path) -> None:
    """Weight and two moments in float32 against two bytes; 8-bit moments make it half."""
    eight_bit = replace(command(tmp_path, PIXEL_ART_RUN), save_state=True)
    little = replace(RENTED, disks={Path("/"): Disk(total_bytes=99 * GIB, free_bytes=20 * GIB)})
    for request, states in ((replace(eight_bit, optimizer="AdamW"), "54.7"), (eight_bit, "27.4")):
        (finding,) = found(request, little, schedule(10150, 1015), SDXL, only="ENV009")
        assert f"10 states {states} GB" in finding.message


def test_comfyui_on_a_16_gb_card_is_in_the_way_only_of_what_no_longer_fits(tmp_path: Path) -> None:
    card = Gpu(
        kind="cuda",
        name="RTX 5080",
        total_bytes=16 * GIB,
        free_bytes=8 * GIB,
        processes=("python3 (7.6 GiB)",),
    )
    machine = replace(RENTED, gpus=(card,))
    request = command(tmp_path, PIXEL_ART_RUN)
    (finding,) = found(request, machine, only="ENV010")
    assert "python3 (7.6 GiB)" in finding.message
    assert found(request, machine, needing(14 * GIB), only="ENV010")
    assert not found(request, machine, needing(6 * GIB), only="ENV010")


@pytest.mark.parametrize(
    ("system", "need_gib", "said"),
    [
        ("Windows", 15.0, {"ENV011"}),
        ("Windows", 14.0, set()),
        ("Windows", 20.0, {"ENV011"}),
        ("Linux", 15.0, set()),
        ("Linux", 17.0, {"ENV012"}),
    ],
)
def test_windows_spills_where_others_stop(
    system: str, need_gib: float, said: set[str], tmp_path: Path
) -> None:
    card = Gpu(kind="cuda", name="RTX 5080", total_bytes=16 * GIB)
    machine = replace(RENTED, system=system, gpus=(card,))  # type: ignore[arg-type]
    estimate = needing(int(need_gib * GIB), "Worked out from shapes.")
    assert set(codes(command(tmp_path, PIXEL_ART_RUN), machine, estimate, only="ENV011 ENV012")) == said


def test_packages_are_judged_only_where_they_are_known(tmp_path: Path) -> None:
    request = command(tmp_path, PIXEL_ART_RUN)
    ours = replace(RENTED, packages={"torch": "2.9.0"}, packages_of="maquette")
    assert not found(request, ours, only="ENV014")
    theirs = replace(ours, packages_of="sd-scripts")
    missing = found(request, theirs, only="ENV014")
    assert {"bitsandbytes", "xformers"} == {finding.message.split()[4].rstrip(",") for finding in missing}


def test_memory_is_an_error_only_where_the_estimate_s_own_error_leaves_no_doubt(tmp_path: Path) -> None:
    card = Gpu(kind="cuda", name="RTX 5080", total_bytes=16 * GIB)
    machine = replace(RENTED, gpus=(card,))
    request = command(tmp_path, PIXEL_ART_RUN)
    said = {
        need: [f.severity for f in found(request, machine, needing(need * GIB, "", 0.2), only="ENV012")]
        for need in (15, 17, 21)
    }
    assert said == {15: [], 17: ["warning"], 21: ["error"]}

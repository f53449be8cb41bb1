"""Rules about room: disks for caches and checkpoints, memory of the device and who else holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from maquette.dataset.facts import DatasetFacts
from maquette.dataset.repeats import Schedule
from maquette.families import FAMILIES
from maquette.families.names import specs_named
from maquette.families.protocol import ModelInfo
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.footprint.advice import SMALL_CARD_BYTES
from maquette.footprint.disk import full_disks
from maquette.footprint.memory import INT8_BYTES, WEIGHT_BYTES, MemoryPlan
from maquette.footprint.run import device_kind, device_of, disk_parts, items_of, precision_on, trained_parts
from maquette.project.machine import Machine
from maquette.project.request import TrainingRequest
from maquette.rules.wording import asking, device_words, gpu_of, joined, savings
from maquette.spoken import GIB, disk_size, memory_size

HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
HELD_SHARE, HELD_BYTES = 0.1, 2 * GIB
"""Memory of a card that others hold: below a tenth, or 2 GB, it is the desktop's."""
SPILL_SHARE = 0.92
"""Windows' driver begins to move memory to RAM before the card is full."""


@rule("ENV008", "cache-on-small-disk", "error", since="0.2")
def cache_on_small_disk(
    request: TrainingRequest, machine: Machine, info: ModelInfo | None, report: Report
) -> Iterator[Finding]:
    """The base model would be downloaded to a disk that has no room for it.

    Why: Hugging Face keeps downloads under the home folder. On rented machines that is a system disk of 10 GB: one project's
    stood at 105 % used, and the run had failed, while 50 GB lay free on /workspace.
    Found by: a base named on the hub, and the disk of HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface, as the script or the
    shell sets them, with less room than the family's download: at least 4.3 GB for SD 1.5, 6.9 GB for SDXL (13.9 GB where
    the trainer takes the float32 weights). A model already in that cache needs none.
    Do: Put `export HF_HOME=/workspace/.cache/huggingface` (a folder on the large disk) before the command, or free space.
    Fault: `--pretrained_model_name_or_path=stabilityai/stable-diffusion-xl-base-1.0` with 3 GB free in the home folder
    Instead: `export HF_HOME=/workspace/.cache/huggingface` before it
    Source: field notes of a pixel-art LoRA on a rented GPU (10 GB root, 50 GB /workspace).
    """
    if not request.base or not HUB_NAME.match(request.base) or Path(request.base).exists():
        return
    cache, variable = hub_cache(request, machine)
    if machine.disks is None and (cache / f"models--{request.base.replace('/', '--')}").is_dir():
        return
    disk = machine.disk_of(cache)
    specs = [FAMILIES[info.family].spec] if info is not None else specs_named(request.base)
    needed = max((spec.download_bytes for spec in specs), default=0) or min(
        family.spec.download_bytes for family in FAMILIES.values()
    )
    if disk is None or disk.free_bytes >= needed:
        return
    yield report(
        request.file,
        variable,
        f"{request.base} would be downloaded to {cache}, and takes {disk_size(needed)} at least; that disk has "
        f"{disk_size(disk.free_bytes)} free of {disk_size(disk.total_bytes)}.",
        "Set HF_HOME to a folder on a larger disk before the command: export HF_HOME=/workspace/.cache/huggingface",
    )


def hub_cache(request: TrainingRequest, machine: Machine) -> tuple[Path, str]:
    """Return the folder that hub downloads go to, and the variable that decides it."""
    variables = {**machine.environment, **request.environment}
    for name, below in (
        ("HF_HUB_CACHE", ""),
        ("HUGGINGFACE_HUB_CACHE", ""),
        ("HF_HOME", "hub"),
        ("XDG_CACHE_HOME", "huggingface/hub"),
    ):
        value = variables.get(name, "").strip().strip("\"'")
        if value:
            folder = Path(value.replace("~", str(machine.home), 1) if value.startswith("~") else value)
            return folder / below, name
    return machine.home / ".cache" / "huggingface" / "hub", "HF_HOME is not set"


@rule("ENV009", "disk-too-small", "error", since="0.2")
def disk_too_small(
    request: TrainingRequest,
    machine: Machine,
    schedule: Schedule,
    info: ModelInfo | None,
    facts: DatasetFacts | None,
    report: Report,
) -> Iterator[Finding]:
    """Checkpoints, states, cached latents and samples do not fit on the disk.

    Why: The disk fills at night in the middle of the run; the checkpoint being written is lost, and often the run.
    Found by: the sum of what will be written (checkpoints × the LoRA's exact size, resumable states of 12 bytes a trained
    value, 16 bytes a latent cell and picture, 1.7 bytes a sample's pixel, logs) against the free space of the output folder's
    disk. An SD 1.5 LoRA of rank 32 takes 72 MB in float32 and 36 MB in fp16, an SDXL LoRA of rank 128 870 MB.
    Do: Save less often, as fp16, or without states; or write to another disk.
    Fault: `--save_every_n_steps=10` for 1,000 steps and 1 GB free
    Instead: `--save_every_n_steps=200`
    Source: the sizes of real checkpoints in field notes (ten files of 72 MB; 140 MB and 800 MB at rank 128).
    """
    if info is None or request.output_dir is None or not trained_parts(request):
        return
    items = items_of(facts, request, info.vae_factor) if facts is not None else ()
    for full in full_disks(disk_parts(request, info, schedule, items), machine):
        listed = ", ".join(f"{part.words} {disk_size(part.bytes)}" for part in full.parts if part.bytes)
        yield report(
            request.file,
            request.said("output_dir"),
            f"The run will write {disk_size(full.bytes)} ({listed}); the disk of {full.folder} has "
            f"{disk_size(full.disk.free_bytes)} free.",
            f"Save less often{_smaller_files(request)}, or choose an output folder on another disk.",
        )


def _smaller_files(request: TrainingRequest) -> str:
    """Return what makes the files smaller and is not asked for yet."""
    ways = (
        []
        if request.save_precision in ("fp16", "bf16")
        else [f"in fp16 ({asking(request, save_precision='fp16')})"]
    )
    ways += ["without states"] if request.save_state else []
    return f", {joined(ways)}" if ways else ""


@rule("ENV010", "memory-held-by-others", "warning", since="0.2")
def memory_held_by_others(
    request: TrainingRequest, machine: Machine, estimate: MemoryPlan | None, report: Report
) -> Iterator[Finding]:
    """Another program holds a good part of the card's memory.

    Why: A drawing program that stays open keeps its model loaded: an SDXL model's weights alone take 6.9 GB of a 16 GB card.
    The same settings that trained yesterday then run out of memory, or spill to RAM and crawl.
    Found by: more than a tenth of the card's memory, and more than 2 GB, is not free. Where the run's need is estimated and
    fits into what is free, nothing is said.
    Do: Close the program, or let it unload its models, before training.
    Fault: a run of 9 GB while ComfyUI holds 8 of the card's 12 GB
    Instead: ComfyUI closed, or its models unloaded
    Source: field notes of film-frame LoRAs (SDXL on 16 GB: 'kill unused processes first', peak 14 GB); kohya_ss#1730.
    """
    gpu = gpu_of(request, machine)
    if gpu is None or gpu.free_bytes is None:
        return
    held = gpu.total_bytes - gpu.free_bytes
    if held <= max(HELD_BYTES, HELD_SHARE * gpu.total_bytes):
        return
    if estimate is not None and estimate.peak_bytes <= gpu.free_bytes:
        return
    by = f" by {', '.join(gpu.processes[:3])}" if gpu.processes else ""
    need = f"; this run needs about {memory_size(estimate.peak_bytes)}" if estimate is not None else ""
    yield report(
        request.file,
        gpu.name,
        f"{memory_size(held)} of the card's {memory_size(gpu.total_bytes)} are held{by}, "
        f"{memory_size(gpu.free_bytes)} are free{need}.",
        "Close the program that holds it before training, then check again.",
    )


@rule("ENV011", "memory-spills-to-ram", "warning", since="0.2")
def memory_spills_to_ram(
    request: TrainingRequest, machine: Machine, estimate: MemoryPlan, report: Report
) -> Iterator[Finding]:
    """On Windows a run that does not fit the card does not stop: it moves to RAM and becomes a hundred times slower.

    Why: NVIDIA's driver for Windows lends system memory to a full card. No error appears; steps take minutes. One user went
    from 200 seconds a step to 1.2 by lowering the rank from 32 to 8.
    Found by: a Windows machine with a CUDA card, and an estimated need above 92 % of the card's memory (the driver starts
    before the last byte).
    Do: Make it fit: gradient checkpointing, cached latents, bf16, batch 1 with accumulation, a smaller rank; `maquette plan`
    lists them in order of their cost. Or forbid the loan: NVIDIA control panel, CUDA - Sysmem Fallback Policy, 'Prefer No
    Sysmem Fallback'. Then the run stops with an honest error.
    Fault: a run of 11.5 GB on Windows with a card of 12 GB
    Instead: `--gradient_checkpointing`
    Source: kohya_ss#1730; NVIDIA's notes on the system memory fallback (driver 536.40 and later).
    """
    gpu = gpu_of(request, machine)
    if machine.system != "Windows" or gpu is None or gpu.kind != "cuda":
        return
    if estimate.peak_bytes <= SPILL_SHARE * gpu.total_bytes:
        return
    yield report(
        request.file,
        gpu.name,
        f"The run needs about {memory_size(estimate.peak_bytes)} and the card has "
        f"{memory_size(gpu.total_bytes)}: Windows will move part of it to "
        "RAM without a word, and a step can take a hundred times as long.",
        "Make it fit (see `maquette plan`), or set NVIDIA's 'CUDA - Sysmem Fallback Policy' to 'Prefer No Sysmem Fallback'.",
    )


@rule("ENV012", "memory-too-small", "error", since="0.2")
def memory_too_small(
    request: TrainingRequest, machine: Machine, estimate: MemoryPlan, report: Report
) -> Iterator[Finding]:
    """The run does not fit into the device's memory.

    Why: It would stop with an out-of-memory error, at the first step or at the first sample. SDXL LoRA training peaks at 14
    to 15 GB with every saving at 1024 px, SD 1.5 at 10 to 12 GB with batch 4.
    Found by: the estimated peak against the card's memory, or on a processor against all of the RAM. An error where it does
    not fit even if the estimate is as much too high as its stated error allows, otherwise a warning. Windows with a CUDA card
    is left to memory-spills-to-ram, since it does not stop there.
    Do: In order of what it costs: 8-bit optimizer, bf16, gradient checkpointing, cached latents, batch 1 with accumulation
    8, then 768 px, then frozen text encoders. `maquette plan` shows what each saves.
    Fault: SDXL at batch 8 on a card of 8 GB
    Instead: batch 1, accumulation 8, `--gradient_checkpointing`
    Source: field notes of film-frame LoRAs (SDXL on 16 GB); kohya_ss#3329 (out of memory without advice).
    """
    gpu = gpu_of(request, machine)
    device = device_of(request, machine)
    if gpu is None and device != "cpu":
        return
    total = gpu.total_bytes if gpu is not None else machine.ram_bytes
    if not total or estimate.peak_bytes <= total or (machine.system == "Windows" and device == "cuda"):
        return
    off = f" ± {estimate.share_off:.0%}" if estimate.share_off else ""
    yield report(
        request.file,
        gpu.name if gpu is not None else "memory",
        f"The run needs about {memory_size(estimate.peak_bytes)}{off} and {device_words(request, machine)} has "
        f"{memory_size(total)}."
        + (f" {estimate.note[:1].upper()}{estimate.note[1:]}." if estimate.note else ""),
        _to_fit(request, machine),
        severity="error" if estimate.least_bytes > total else "warning",
    )


@rule("ENV025", "int8-base-not-needed", "warning", since="0.2")
def int8_base_not_needed(
    request: TrainingRequest, machine: Machine, estimate: MemoryPlan, report: Report
) -> Iterator[Finding]:
    """The frozen base is held in int8 on a card that would hold it whole.

    Why: Every layer's weight is made whole again each time that it computes, which is published as 2.6 to 2.9 times the time of
    a step, and weights are rounded to one of 255 values. It pays where nothing else makes the run fit.
    Found by: `base_precision = "int8"` on a card of 8 GB or more, where the estimated peak and what int8 saves are together less
    than the card's memory, the estimate's error on top.
    Do: Leave it out.
    Fault: `base_precision = "int8"` for SD 1.5 on a card of 24 GB
    Instead: `base_precision = "same"`
    Source: SimpleTuner's published times on an H100: SDXL LoKr at 1024 px 0.606 s a step in bf16, 1.741 s in int8; with
    checkpointing 1.080 and 2.820 s.
    """
    gpu = gpu_of(request, machine)
    if request.base_precision != "int8" or gpu is None or gpu.total_bytes < SMALL_CARD_BYTES:
        return
    value_bytes = WEIGHT_BYTES.get(
        precision_on(device_kind(request, machine), request, gpu.compute_capability), 2
    )
    saved = round(estimate.parts["denoiser"] * (value_bytes / INT8_BYTES - 1))
    if estimate.needed_bytes + saved > gpu.total_bytes:
        return
    yield report(
        request.file,
        request.said("base_precision"),
        f"The frozen base is held in int8, which saves {memory_size(saved)}, and {device_words(request, machine)} has room for "
        "it as it is: a step takes 2.6 to 2.9 times as long (published) for nothing.",
        "Leave base_precision out.",
    )


def _to_fit(request: TrainingRequest, machine: Machine) -> str:
    """Return what to turn on, which is not on yet; else what else makes a run smaller."""
    free = savings(request, machine)
    first = f"Use {free}" if free else "Use a lower rank or a lower resolution"
    return f"{first}; `maquette plan` shows what each step saves."

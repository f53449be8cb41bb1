"""What a run writes: LoRA files, the state for resuming, cached latents, samples, logs; against the free space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.records import Item
from maquette.project.machine import Disk, Machine
from maquette.project.optimizers import DEFAULT_OPTIMIZER, saved_bytes

KEPT_STATES = 3
"""Two are kept, and the newest is written before the oldest goes."""
SAMPLE_BYTES_PER_PIXEL = 1.7
"""Of a PNG drawn by a diffusion model; noise would take 3."""
LOG_BYTES_PER_STEP = 500
"""A line of metrics.jsonl and TensorBoard's records of its values."""
RECORD_BYTES_PER_PICTURE = 600
"""What the run's record keeps of each picture and its caption."""


@dataclass(frozen=True, kw_only=True)
class DiskPlan:
    """Bytes that a run will have written, and where they do not fit."""

    total_bytes: int
    parts: Mapping[str, int]
    free_bytes: int | None
    """On the disk of the run's folder; None when unknown."""
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {"total_bytes": self.total_bytes, "parts": dict(self.parts), "free_bytes": self.free_bytes}


@dataclass(frozen=True, kw_only=True)
class DiskRequest:
    """What decides how much a run writes."""

    checkpoints: int
    checkpoint_bytes: int
    trainable: int
    items: Sequence[Item]
    cache_folder: Path | None
    latent_channels: int
    vae_factor: int
    samples: int
    sample_pixels: int
    steps: int
    output: Path
    optimizer: str = DEFAULT_OPTIMIZER


def estimate_disk(request: DiskRequest, machine: Machine) -> DiskPlan:
    """Return what the run writes, and what the disks of its folders have."""
    cache = (
        latent_bytes(request.items, request.latent_channels, request.vae_factor)
        if request.cache_folder
        else 0
    )
    pictures = len({item.picture.path for item in request.items})
    parts = {
        "checkpoints": request.checkpoints * request.checkpoint_bytes,
        "state for resuming": round(KEPT_STATES * request.trainable * saved_bytes(request.optimizer)),
        "cached latents": cache,
        "samples": round(request.samples * request.sample_pixels * SAMPLE_BYTES_PER_PIXEL),
        "logs and records": request.steps * LOG_BYTES_PER_STEP + pictures * RECORD_BYTES_PER_PICTURE,
    }
    disk = machine.disk_of(request.output)
    return DiskPlan(
        total_bytes=sum(parts.values()),
        parts={name: size for name, size in parts.items() if size},
        free_bytes=disk.free_bytes if disk else None,
        problems=tuple(_problems(request, parts, machine)),
    )


def latent_bytes(items: Sequence[Item], channels: int, factor: int) -> int:
    """Return the bytes of all latents, float32: each picture once in its size, twice where it is mirrored too."""
    shown = {}
    for item in items:
        assert item.fit is not None, "assign_buckets comes before planning"
        width, height = item.fit.bucket_wh
        copies = 2 if item.picture.subset.options.flip_aug else 1
        shown[item.picture.path, item.fit.bucket_wh] = (
            copies * 4 * channels * (width // factor) * (height // factor)
        )
    return sum(shown.values())


def _problems(request: DiskRequest, parts: Mapping[str, int], machine: Machine) -> list[str]:
    """Return a sentence for each disk that does not hold what goes there."""
    wanted = [(request.output, sum(size for name, size in parts.items() if name != "cached latents"))]
    if request.cache_folder is not None:
        wanted.append((request.cache_folder, parts["cached latents"]))
    totals: dict[str, tuple[Disk, int]] = {}
    for folder, size in wanted:
        disk = machine.disk_of(folder)
        if disk is not None:
            totals[disk.mount] = (disk, totals.get(disk.mount, (disk, 0))[1] + size)
    return [
        f"{mount or 'The disk'} has {disk.free_bytes / 1e9:.1f} GB free, and the run writes {size / 1e9:.1f} GB. "
        "Choose another --output, or save fewer checkpoints."
        for mount, (disk, size) in totals.items()
        if size > disk.free_bytes
    ]

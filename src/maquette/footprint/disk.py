"""What a run writes, part by part, and where the disks do not hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.dataset.records import Item
from maquette.project.machine import Disk, Machine
from maquette.spoken import disk_size

KEPT_STATES = 3
"""Two are kept, and the newest is written before the oldest goes."""
SAMPLE_BYTES_PER_PIXEL = 1.7
"""Of a PNG drawn by a diffusion model; noise would take 3."""
LOG_BYTES_PER_STEP = 500
"""A line of metrics.jsonl and TensorBoard's records of its values."""
LOG_BYTES_PER_SHOWING = 24
"""A picture's place, timestep and loss in that line."""
RECORD_BYTES_PER_PICTURE = 600
"""What the run's record keeps of each picture and its caption."""


@dataclass(frozen=True, kw_only=True)
class DiskPart:
    """One kind of file that a run writes."""

    name: str
    bytes: int
    folder: Path
    count: int | None = None
    """How many files; None where that says nothing."""

    @property
    def words(self) -> str:
        """Return `10 checkpoints`, or the name alone."""
        return self.name if self.count is None else f"{self.count} {self.name}"


@dataclass(frozen=True, kw_only=True)
class FullDisk:
    """A disk that does not hold what goes there."""

    disk: Disk
    folder: Path
    parts: tuple[DiskPart, ...]

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)


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


def disk_plan(parts: Sequence[DiskPart], output: Path, machine: Machine) -> DiskPlan:
    """Return what the run writes, and what the disks of its folders have."""
    disk = machine.disk_of(output)
    return DiskPlan(
        total_bytes=sum(part.bytes for part in parts),
        parts={part.name: part.bytes for part in parts if part.bytes},
        free_bytes=disk.free_bytes if disk else None,
        problems=tuple(
            f"{full.disk.mount or 'The disk'} has {disk_size(full.disk.free_bytes)} free, and the run writes "
            f"{disk_size(full.bytes)}. Choose another --output, or save fewer checkpoints."
            for full in full_disks(parts, machine)
        ),
    )


def full_disks(parts: Sequence[DiskPart], machine: Machine) -> list[FullDisk]:
    """Return each disk that does not hold what goes there."""
    by_mount: dict[str, tuple[Disk, list[DiskPart]]] = {}
    for part in parts:
        disk = machine.disk_of(part.folder)
        if disk is not None:
            by_mount.setdefault(disk.mount, (disk, []))[1].append(part)
    found = [
        FullDisk(disk=disk, folder=some[0].folder, parts=tuple(some)) for disk, some in by_mount.values()
    ]
    return [full for full in found if full.bytes > full.disk.free_bytes]


def latent_bytes(items: Sequence[Item], channels: int, factor: int) -> int:
    """Return the bytes of all latents, float32: each picture once in its size, twice where it is mirrored too.

    Pictures that change from showing to showing are not kept.
    """
    shown = {}
    for item in items:
        assert item.fit is not None, "assign_buckets comes before planning"
        if item.varies:
            continue
        width, height = item.fit.bucket_wh
        copies = 2 if item.picture.subset.options.flip_aug else 1
        shown[item.picture.path, item.fit.bucket_wh] = (
            copies * 4 * channels * (width // factor) * (height // factor)
        )
    return sum(shown.values())

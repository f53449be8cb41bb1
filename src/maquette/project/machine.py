"""The machine that a run would use: devices, memory, disks, packages, variables. Rules read the record, never the system.

`look_at_machine()` fills it for this machine; tests and `--machine FILE` give another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from maquette.project.request import Trainer
from maquette.project.validation import checked

GpuKind = Literal["cuda", "mps", "rocm", "xpu"]
System = Literal["Linux", "Darwin", "Windows"]
Bytes = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One accelerator."""

    kind: GpuKind
    name: str
    total_bytes: Bytes
    """Memory; on Apple silicon what the GPU may use of the shared memory."""
    free_bytes: Bytes | None = None
    compute_capability: tuple[int, int] | None = None
    processes: tuple[str, ...] = ()
    """Other programs that hold its memory, as `name (x.x GiB)`."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The file system that a path lies on."""

    total_bytes: Bytes
    free_bytes: Bytes
    mount: str = ""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What rules about the environment read."""

    system: System
    gpus: tuple[Gpu, ...] = ()
    system_version: str = ""
    """Release of macOS, such as 14.5; empty elsewhere and where it is not known."""
    bf16_arithmetic: tuple[str, ...] | None = None
    """Flags by which the processor says that it multiplies in bf16 (avx512_bf16, amx_bf16, bf16 on Arm): none where it cannot;
    None where it is not known."""
    ram_bytes: Bytes = 0
    free_ram_bytes: Bytes = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that matter here: PYTORCH_*, HF_*, TRANSFORMERS_CACHE, CUDA_VISIBLE_DEVICES."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Installed distributions that matter here, name → version: torch, bitsandbytes, xformers, accelerate."""
    packages_of: Trainer | None = None
    """Whose Python environment `packages` was read from; None: whichever trainer runs (a machine from a file)."""
    disks: Mapping[Path, Disk] | None = None
    """Known disks by the folder they are mounted on; None: ask the system."""
    home: Path = field(default_factory=Path.home)

    @property
    def device(self) -> str:
        """The kind of device that a trainer would take: cuda, mps, rocm, xpu or cpu."""
        return self.gpus[0].kind if self.gpus else "cpu"

    def packages_for(self, trainer: Trainer) -> Mapping[str, str] | None:
        """Return the packages that `trainer` finds, None where they are not known."""
        known = self.packages and self.packages_of in (None, trainer)
        return self.packages if known else None

    def disk_of(self, path: Path) -> Disk | None:
        """Return the disk that `path` (which need not exist yet) lies or would lie on."""
        if self.disks is None:
            return _disk_of(path)
        absolute = path.expanduser().absolute()
        mounts = [folder for folder in self.disks if absolute.is_relative_to(folder)]
        return self.disks[max(mounts, key=lambda folder: len(folder.parts))] if mounts else None


def _disk_of(path: Path) -> Disk | None:
    import shutil

    absolute = path.expanduser().absolute()
    for folder in (absolute, *absolute.parents):
        if folder.is_dir():
            usage = shutil.disk_usage(folder)
            return Disk(total_bytes=usage.total, free_bytes=usage.free, mount=str(folder))
    return None


# --- as a file -------------------------------------------------------------------------------------------


def machine_to_json(machine: Machine) -> dict[str, Any]:
    """Return plain values that `machine_from_json` reads back: every key, the root's disk where the system is to be asked."""
    root = Path(Path.cwd().anchor)
    found = _disk_of(root) if machine.disks is None else None
    disks = machine.disks if machine.disks is not None else {root: found} if found else {}
    values = asdict(machine)
    values["home"] = str(machine.home)
    values["disks"] = {str(path): asdict(disk) for path, disk in disks.items()}
    return values


def machine_from_json(values: Any, where: str = "machine.json") -> Machine:
    """Return the machine that a file describes. Raises ConfigError with every problem, unknown keys included.

    `{"system": "Linux", "gpus": [{"kind": "cuda", "name": "RTX 4090", "total_bytes": 25757220864,
    "compute_capability": [8, 9]}], "ram_bytes": 67430000000, "disks": {"/": {"total_bytes": …, "free_bytes": …}}}`.
    Disks that it does not name are unknown, never those of this machine.
    """
    otherwise = {"system": "Linux", "home": "/root", "disks": {}}
    return checked(Machine, otherwise | values if isinstance(values, dict) else values, where)

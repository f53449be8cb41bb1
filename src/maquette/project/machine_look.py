"""Looking at this machine without loading torch: accelerators, memory, packages, variables.

Every probe is quiet: what it cannot find out stays unknown, and nothing here ever raises.
"""

from __future__ import annotations

import csv
import io
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from maquette.precisions import bf16_arithmetic
from maquette.project.machine import Gpu, Machine, System, machine_from_json
from maquette.project.request import TrainingRequest
from maquette.reading import FileKind, read_table

FILE = FileKind("a machine as JSON", "Write it, or leave it out.")
PROBE_SECONDS = 5.0
MIB, GIB = 2**20, 2**30

PACKAGES = (
    "torch", "accelerate", "diffusers", "transformers", "bitsandbytes", "xformers", "triton", "lion-pytorch",
    "prodigyopt", "dadaptation", "schedulefree", "safetensors", "voluptuous",
)  # fmt: skip
"""Distributions that rules ask about. `voluptuous` reads sd-scripts' dataset TOML: where it is, sd-scripts can run."""
VARIABLES = (
    "PYTORCH_ENABLE_MPS_FALLBACK", "PYTORCH_MPS_HIGH_WATERMARK_RATIO", "PYTORCH_CUDA_ALLOC_CONF", "HF_HOME",
    "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_CACHE", "XDG_CACHE_HOME",
    "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
VENV_NAMES = ("venv", ".venv")
SMALL_MAC_BYTES = 36 * GIB
"""Up to this much memory macOS lets the GPU use two thirds, above it three quarters (Metal's
recommendedMaxWorkingSetSize: 10.7 of 16 GB, 21.3 of 32 GB, 48 of 64 GB)."""

T = TypeVar("T")


def look_at_machine() -> Machine:
    """Return what this machine is. Takes some hundredths of a second, nvidia-smi's time where there is a card."""
    nothing: dict[str, str] = {}
    total, free = _quietly((0, 0), _memory)
    packages = _quietly(nothing, installed_packages)
    return Machine(
        system=_system(),
        system_version=platform.mac_ver()[0],
        bf16_arithmetic=_quietly(None, _bf16_arithmetic),
        gpus=tuple(_gpus(packages)),
        ram_bytes=total,
        free_ram_bytes=free,
        environment={name: os.environ[name] for name in VARIABLES if name in os.environ},
        packages=packages,
        packages_of=None if "voluptuous" in packages else "maquette",
        home=_quietly(Path("/"), Path.home),
    )


def read_machine(path: Path) -> Machine:
    """Return the machine that a JSON file describes (`machine_from_json`). Raises ConfigError for one that does not."""
    return machine_from_json(read_table(path.expanduser(), FILE), str(path))


def machine_for(machine: Machine, request: TrainingRequest) -> Machine:
    """Return the machine with the packages of the environment beside the trainer's script, where there is one.

    A kohya checkout keeps its packages in a `venv` folder beside or above `sd-scripts`.
    """
    if (
        request.trainer == "other"
        or request.script_path is None
        or machine.packages_of in (None, request.trainer)
    ):
        return machine
    nothing: dict[str, str] = {}
    for folder in request.script_path.absolute().parents[:3]:
        for name in VENV_NAMES:
            found = _quietly(nothing, packages_in, folder / name)
            if found:
                return replace(machine, packages=found, packages_of=request.trainer)
    return machine


def installed_packages() -> dict[str, str]:
    """Return the distributions of PACKAGES that this Python has, name → version."""
    found = {}
    for name in PACKAGES:
        version = _quietly("", metadata.version, name)
        if version:
            found[name] = version
    return found


def packages_in(venv: Path) -> dict[str, str]:
    """Return the distributions of PACKAGES in a virtual environment, by the names of their folders."""
    sites = [*venv.glob("lib/python3*/site-packages"), venv / "Lib" / "site-packages"]
    found = {}
    for site in sites:
        for folder in site.glob("*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").partition("-")
            plain = name.lower().replace("_", "-")
            if plain in PACKAGES:
                found[plain] = version
    return found


def _quietly(otherwise: T, probe: Callable[..., T], *arguments: Any) -> T:
    """Return what `probe` finds, or `otherwise` whatever goes wrong: a look must never stop a check."""
    try:
        return probe(*arguments)
    except Exception:
        return otherwise


def _system() -> System:
    name = platform.system()
    return "Darwin" if name == "Darwin" else "Windows" if name == "Windows" else "Linux"


def _bf16_arithmetic() -> tuple[str, ...] | None:
    """Return the processor's flags for bf16; None where the system does not tell them."""
    if platform.system() == "Darwin":
        known = _quietly("0", _output, "sysctl", "-n", "hw.optional.arm.FEAT_BF16")
        return ("bf16",) if known.strip() == "1" else ()
    return parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))


def parse_cpuinfo(text: str) -> tuple[str, ...] | None:
    """Return the flags for bf16 of Linux's /proc/cpuinfo (`flags` on x86, `Features` on Arm); None where it has neither."""
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return bf16_arithmetic(flags.split())
    return None


def _memory() -> tuple[int, int]:
    import psutil

    memory = psutil.virtual_memory()
    return int(memory.total), int(memory.available)


# --- accelerators ----------------------------------------------------------------------------------------


def _gpus(packages: Mapping[str, str]) -> list[Gpu]:
    nothing: list[Gpu] = []
    if platform.system() == "Darwin":
        return _quietly(nothing, _apple_gpu)
    return _quietly(nothing, _rocm_gpus if "rocm" in packages.get("torch", "") else _cuda_gpus)


def _apple_gpu() -> list[Gpu]:
    """Return the GPU of Apple silicon; an Intel Mac has none that trains."""
    if platform.machine() != "arm64":
        return []
    total = int(_output("sysctl", "-n", "hw.memsize"))
    name = _quietly("", _output, "sysctl", "-n", "machdep.cpu.brand_string").strip() or "Apple silicon"
    return [Gpu(kind="mps", name=name, total_bytes=apple_gpu_bytes(total))]


def apple_gpu_bytes(total_bytes: int) -> int:
    """Return how much of `total_bytes` of shared memory macOS lets the GPU use."""
    return total_bytes * 2 // 3 if total_bytes <= SMALL_MAC_BYTES else total_bytes * 3 // 4


def _rocm_gpus() -> list[Gpu]:
    found = []
    for total in sorted(Path("/sys/class/drm").glob("card*/device/mem_info_vram_total")):
        size = int(total.read_text())
        used = int(_quietly("0", total.with_name("mem_info_vram_used").read_text))
        found.append(Gpu(kind="rocm", name="AMD GPU", total_bytes=size, free_bytes=size - used))
    return found


def _cuda_gpus() -> list[Gpu]:
    """Return NVIDIA's cards as CUDA_VISIBLE_DEVICES lets a program see them."""
    if shutil.which("nvidia-smi") is None:
        return []
    cards = parse_cards(
        _output(
            "nvidia-smi",
            "--query-gpu=uuid,name,memory.total,memory.free,compute_cap",
            "--format=csv,noheader,nounits",
        )
    )
    asked = "--query-compute-apps=gpu_uuid,pid,process_name,used_memory"
    programs = parse_programs(_quietly("", _output, "nvidia-smi", asked, "--format=csv,noheader,nounits"))
    gpus = {uuid: replace(gpu, processes=tuple(programs.get(uuid, ()))) for uuid, gpu in cards.items()}
    return visible_cards(gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))


def parse_cards(text: str) -> dict[str, Gpu]:
    """Return the cards of nvidia-smi's `uuid,name,memory.total,memory.free,compute_cap` (MiB), by their uuid."""
    cards = {}
    for uuid, name, total, free, capability in _rows(text, 5):
        major, _, minor = capability.partition(".")
        known = major.isdigit() and minor.isdigit()
        cards[uuid] = Gpu(
            kind="cuda",
            name=name,
            total_bytes=int(total) * MIB,
            free_bytes=int(free) * MIB if free.isdigit() else None,
            compute_capability=(int(major), int(minor)) if known else None,
        )
    return cards


def parse_programs(text: str) -> dict[str, list[str]]:
    """Return what holds each card's memory, largest first, as `name (x.x GiB)`; this process is left out."""
    held: dict[str, list[tuple[int, str]]] = {}
    for uuid, pid, path, used in _rows(text, 4):
        if pid == str(os.getpid()):
            continue
        name = path.replace("\\", "/").rpartition("/")[2] or path
        size = int(used) * MIB if used.isdigit() else 0  # Windows does not tell how much each program holds
        held.setdefault(uuid, []).append((size, f"{name} ({size / GIB:.1f} GiB)" if size else name))
    return {uuid: [words for _, words in sorted(rows, reverse=True)] for uuid, rows in held.items()}


def visible_cards(cards: Mapping[str, Gpu], visible: str | None) -> list[Gpu]:
    """Return the cards that CUDA_VISIBLE_DEVICES names, in its order: all for None, none from the first unknown one."""
    if visible is None:
        return list(cards.values())
    chosen: list[Gpu] = []
    for part in (piece.strip() for piece in visible.split(",")):
        by_number = dict(zip((str(number) for number in range(len(cards))), cards.values(), strict=True))
        found = by_number.get(part) or next(
            (gpu for uuid, gpu in cards.items() if part and uuid.startswith(part)), None
        )
        if found is None:
            break
        chosen.append(found)
    return chosen


def _rows(text: str, columns: int) -> Iterable[list[str]]:
    for row in csv.reader(io.StringIO(text), skipinitialspace=True):
        if len(row) == columns:
            yield [cell.strip() for cell in row]


def _output(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout

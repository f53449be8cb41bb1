"""What decides which numbers come out of a run beside its settings: versions, processor, threads, variables.

Two machines of one kind agree to the last bit; where they do not, the difference stands here (`maquette diff`, `reproduce`).
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

RECORDED_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "pillow")
INSTRUCTIONS = (
    "sse4_1", "avx", "f16c", "fma", "avx2", "avx512f", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16",
    "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2",
)  # fmt: skip
"""Flags of a processor by which libraries choose another order of adding up."""
VARIABLES = (
    "ATEN_CPU_CAPABILITY", "CUBLAS_WORKSPACE_CONFIG", "MKL_CBWR", "MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS",
    "ONEDNN_MAX_CPU_ISA", "PYTORCH_ENABLE_MPS_FALLBACK",
)  # fmt: skip
CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, kw_only=True)
class EnvironmentRecord:
    """The versions and the machine that decide what numbers come out. Records of older releases lack the last five."""

    python: str
    platform: str
    packages: Mapping[str, str]
    processor: str = ""
    """Its name as the system tells it; empty where that is not known."""
    instructions: tuple[str, ...] = ()
    """Those of INSTRUCTIONS that it has."""
    capability: str = ""
    """Which of its kernels torch takes: AVX2, AVX512, DEFAULT, NO AVX."""
    threads: int | None = None
    """How many of them torch computes with."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Those of VARIABLES that were set."""


def environment() -> EnvironmentRecord:
    """Return what decides here and now what numbers come out."""
    import torch

    processor, flags = processor_in(_cpuinfo())
    return EnvironmentRecord(
        python=platform.python_version(),
        platform=platform.platform(),
        packages={package: _version(package) for package in RECORDED_PACKAGES},
        processor=processor or platform.processor() or platform.machine(),
        instructions=tuple(each for each in INSTRUCTIONS if each in flags),
        capability=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        variables={name: os.environ[name] for name in VARIABLES if name in os.environ},
    )


def processor_in(cpuinfo: str) -> tuple[str, frozenset[str]]:
    """Return the processor's name and flags in the text of Linux's /proc/cpuinfo; empty where it has none."""
    found: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        name, separator, value = line.partition(":")
        if separator:
            found.setdefault(name.strip(), value.strip())
    flags = found.get("flags") or found.get("Features") or ""
    return found.get("model name", ""), frozenset(flags.split())


def _cpuinfo() -> str:
    if sys.platform != "linux":
        return ""
    try:
        return CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

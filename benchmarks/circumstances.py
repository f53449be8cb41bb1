"""What a result file says of the circumstances: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from maquette import __version__


def circumstances(benchmark: str, *, load: str, device: str = "cpu", **packages: str) -> dict[str, Any]:
    """Return how a result file begins. `load`: what else the machine had to do; `packages`: further versions that decide."""
    return {
        "benchmark": benchmark,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "hardware": hardware(device),
        "load": load,
        "software": software() | packages,
    }


def hardware(device: str) -> dict[str, Any]:
    """Return what the numbers were measured on."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    accelerator = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": memory_bytes,
        "accelerator": accelerator,
    }


def commit() -> str:
    """Return the short commit, with + when the tree has changes."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def software() -> dict[str, str]:
    """Return the versions that decide a measurement."""
    return {"python": platform.python_version(), "torch": torch.__version__, "maquette": __version__}

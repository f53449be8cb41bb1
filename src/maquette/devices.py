"""Which device and arithmetic a run uses, and what it has used."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from maquette.errors import Problem
from maquette.precisions import Automatic, automatic_precision

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

SIGNS_OF_FULL_MEMORY = ("out of memory", "can't allocate memory", "could not create a primitive")
"""What MPS, torch's allocator for processors, and oneDNN (which has no words of its own for it) say."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A resolved device and precision."""

    device: torch.device
    precision: str

    @property
    def weight_dtype(self) -> torch.dtype:
        """The dtype of the frozen base."""
        return DTYPES[self.precision]

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a forward pass: nothing in float32, else mixed precision over float32 masters."""
        if self.precision == "no":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.weight_dtype)


def resolve_device(device: str) -> str:
    """Return the device that `auto` means here; other names come back as they are."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_problem(device: str) -> Problem | None:
    """Return what keeps `device` from being used here, None when nothing does."""
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(device.partition(":")[2] or 0)
        if index < count:
            return None
        found = f"{count} CUDA device{'s' if count != 1 else ''}"
        return Problem(
            "device", f"{device}, but {found} found", "a device of this machine", "Use --device auto."
        )
    if device == "mps" and not torch.backends.mps.is_available():
        return Problem(
            "device",
            "mps, which this machine does not have",
            "a device of this machine",
            "Use --device auto.",
        )
    return None


def resolve_precision(precision: str, device: str) -> str:
    """Return the precision that `auto` means on the resolved `device`; other names come back as they are."""
    return precision_here(device).precision if precision == "auto" else precision


def precision_here(device: str) -> Automatic:
    """Return what `auto` means on the resolved `device` of this machine, and why."""
    kind = device.partition(":")[0]
    if kind != "cuda":
        return automatic_precision(kind)
    if torch.version.hip:
        return automatic_precision("rocm")
    return automatic_precision(kind, torch.cuda.get_device_capability(device))


def place(device: str, precision: str) -> Placement:
    """Return the placement for a resolved `device` and `precision`."""
    return Placement(device=torch.device(device), precision=precision)


def chosen(device: str, precision: str) -> Placement:
    """Return the placement that `device` and `precision` mean here, `auto` included."""
    resolved = resolve_device(device)
    return place(resolved, resolve_precision(precision, resolved))


def device_name(device: torch.device) -> str:
    """Return a name that a person recognises: the card's, or the device type."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory used so far: the card's on CUDA, the process's resident set elsewhere."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given, so that clocks tell the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def free_memory_bytes(device: str) -> int:
    """Return the memory that a run may still take on `device`, with what this process holds there already."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(free + torch.cuda.memory_reserved(torch.device(device)))
    if device == "mps":
        return int(torch.mps.recommended_max_memory())
    import psutil

    return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)


def unused_memory_bytes(device: torch.device) -> int:
    """Return the memory of a CUDA card that nobody uses: neither other programs nor tensors of this one."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` says that a device or the machine has no memory left; only CUDA has a type for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS_OF_FULL_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give back what the allocator holds and nothing uses."""
    import gc

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()

"""Which device a run is planned for, what memory it has, and whether it is here to be measured."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.footprint.known_times import published_memory
from maquette.footprint.memory import DeviceKind
from maquette.footprint.run import device_kind, device_memory_bytes, precision_on
from maquette.planning.options import PlanOptions
from maquette.precisions import half_precision
from maquette.project.machine import Machine
from maquette.project.request import TrainingRequest


@dataclass(frozen=True, kw_only=True)
class PlannedDevice:
    """The device of a planned run."""

    kind: DeviceKind
    name: str
    precision: str
    """no, bf16 or fp16."""
    memory_bytes: int | None
    """What a run may use; None when unknown."""
    memory_source: str
    is_here: bool
    """Whether this machine has it."""
    bf16: bool = True
    """Whether it computes in bf16, as far as is known."""

    def to_json(self) -> dict[str, object]:
        return dict(vars(self))


def planned_device(
    request: TrainingRequest, machine: Machine, options: PlanOptions, native_px: int
) -> PlannedDevice:
    """Return the device that `request` asks for; `device_like` and a stated memory come before this machine's."""
    from maquette.devices import device_problem, resolve_device

    asked, like = request.device or "auto", options.device_like
    kind = device_kind(request, machine)
    if like is not None and asked == "auto":
        kind = "mps" if like.upper().startswith("M") and like[1:2].isdigit() else "cuda"
    here = like is None and device_problem(asked) is None and resolve_device(asked).startswith(kind)
    memory, source = _memory(kind, machine, options, native_px)
    return PlannedDevice(
        kind=kind,
        name=like or _name(kind, machine, here),
        precision=precision_on(kind, request, None if like else _capability(kind, machine)),
        bf16=_half(kind, machine, here) == "bf16",
        memory_bytes=memory,
        memory_source=source,
        is_here=here,
    )


def _capability(kind: DeviceKind, machine: Machine) -> tuple[int, int] | None:
    return next((gpu.compute_capability for gpu in machine.gpus if gpu.kind == kind), None)


def _half(kind: DeviceKind, machine: Machine, here: bool) -> str | None:
    """Return the half precision that pays on the device; of one that is elsewhere nothing is known."""
    if not here:
        return half_precision(kind)
    return half_precision(
        kind,
        capability=_capability(kind, machine),
        bf16_flags=machine.bf16_arithmetic,
        macos=machine.system_version,
    )


def _memory(
    kind: DeviceKind, machine: Machine, options: PlanOptions, native_px: int
) -> tuple[int | None, str]:
    if options.memory_bytes is not None:
        return options.memory_bytes, "as stated"
    if options.device_like is not None:
        return published_memory(options.device_like), f"the memory of a {options.device_like}"
    total = device_memory_bytes(kind, machine)
    if kind == "cpu":
        return total, "this machine's memory"
    gpu = next((gpu for gpu in machine.gpus if gpu.kind == kind), None)
    return total, f"{gpu.name}'s memory" if gpu is not None else "unknown: say --memory 16GB"


def _name(kind: DeviceKind, machine: Machine, here: bool) -> str:
    gpu = next((gpu for gpu in machine.gpus if gpu.kind == kind), None)
    if gpu is not None and here:
        return f"{kind} ({gpu.name})"
    return kind if here or kind == "cpu" else f"{kind}, which this machine does not have"

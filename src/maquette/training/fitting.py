"""Recomputed blocks that make a run fit its device, and more of them when the device still runs full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maquette.events import Event, Message
from maquette.footprint.recomputing import Recomputed, blocks_by_worth, blocks_to_fit
from maquette.footprint.run import memory_request
from maquette.project.request_maquette import UNSAVED, request_of
from maquette.spoken import GIB, memory_size

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.footprint.memory import DeviceKind, MemoryRequest
    from maquette.training.job import Job

MORE_SHARE = 0.15
"""Share of all blocks that are recomputed in addition each time that the device is full."""


class FittedBlocks:
    """Which blocks of the base a run computes again in its backward pass: all, none, or as few as memory asks for."""

    def __init__(self, job: Job) -> None:
        training = job.settings.training
        self._everything = training.gradient_checkpointing
        self._limit_gib = training.fit_memory_gib
        self._asked = asked_memory(job) if self._limit_gib is not None else None
        self._device = job.device
        self._names: tuple[str, ...] = ()
        self._count = 0

    def apply(self, model: BaseModel) -> Iterator[Event]:
        """Have `model`, just loaded, recompute what is due; say what that is where it was worked out."""
        from maquette.devices import free_memory_bytes

        if self._asked is None or self._limit_gib is None:
            if self._everything:
                model.set_gradient_checkpointing(True)
            return
        budget_bytes = round(self._limit_gib * GIB) or free_memory_bytes(self._device)
        found = blocks_to_fit(self._asked, budget_bytes)
        self._names = blocks_by_worth(self._asked)
        self._recompute(model, len(found.blocks))
        yield Message(_told(found, budget_bytes), "info" if found.fits else "warning")

    def more(self, model: BaseModel) -> str | None:
        """Recompute more blocks than before, after the device was full; say how many, None where all are already."""
        if self._count >= len(self._names):
            return None
        further = max(1, round(MORE_SHARE * len(self._names)))
        self._recompute(model, min(len(self._names), self._count + further))
        return f"{self._count} of {len(self._names)} blocks"

    def _recompute(self, model: BaseModel, count: int) -> None:
        self._count = count
        model.set_gradient_checkpointing(count > 0, frozenset(self._names[:count]))


def asked_memory(job: Job) -> MemoryRequest | None:
    """Return what decides the memory of `job`: all its trials' rows count as one batch."""
    kind: DeviceKind = "cpu" if job.device == "cpu" else "mps" if job.device == "mps" else "cuda"
    request = request_of(job.settings, UNSAVED)
    asked = memory_request(request, job.info, job.dataset.items, job.schedule, kind, job.precision)
    return None if asked is None else asked.changed(batch=asked.batch * len(job.trials))


def _told(found: Recomputed, budget_bytes: int) -> str:
    room = memory_size(budget_bytes)
    if not found.fits:
        return (
            f"Even with all {found.num_blocks} blocks computed again the run may need more than {room}. "
            "maquette plan lists what else saves memory."
        )
    if not found.blocks:
        return f"Nothing has to be computed again: the run is expected to fit into {room}."
    return f"{found.text} are computed again in the backward pass, so that the run fits into {room}."

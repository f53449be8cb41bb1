"""How many trials a device holds at once: planned from what a trial adds, and fewer where it runs full all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.events import Message
from maquette.footprint.memory import MemoryRequest, estimate_memory
from maquette.spoken import GIB, memory_size
from maquette.training.fitting import asked_memory

if TYPE_CHECKING:
    from maquette.training.job import Job

OF_A_TRIAL = ("LoRA", "LoRA gradients", "optimizer", "average")
"""Parts of a training's memory that each trial has for itself, beside what its rows take in a pass."""


def planned_places(job: Job, most: int) -> tuple[int, Message | None]:
    """Return how many trials like `job` the device is expected to hold, at most `most`; and what a person should know of it.

    Where the base's family tells nothing of its memory, as many as are asked for.
    """
    from maquette.devices import free_memory_bytes

    asked = asked_memory(job)
    if asked is None or most == 1:
        return most, None
    limit_gib = job.settings.training.fit_memory_gib
    room_bytes = round(limit_gib * GIB) if limit_gib else free_memory_bytes(job.device)
    asked = asked.changed(keeps_vae=True, cached_texts=False)
    places = next((each for each in range(most, 1, -1) if needed_bytes(asked, each) <= room_bytes), 1)
    if places == most:
        return most, None
    told = (
        f"{places} of {most} trials at once: each adds about "
        f"{memory_size(needed_bytes(asked, 2) - needed_bytes(asked, 1))}, and about {memory_size(room_bytes)} can be had."
    )
    return places, Message(told)


def needed_bytes(asked: MemoryRequest, places: int) -> int:
    """Return what the device should have for a pass of so many trials of one size."""
    plan = estimate_memory(asked.changed(batch=asked.batch * places))
    own = sum(plan.parts.get(part, 0) for part in OF_A_TRIAL)
    return plan.needed_bytes + round(own * (places - 1) * (1 + plan.share_off))

"""A full device: the step is taken again where the run may trade time for room, else its remedies are told, cheapest first."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from maquette.errors import Problem, TrainingError
from maquette.footprint.advice import changes_to_fit
from maquette.footprint.memory import estimate_memory
from maquette.precisions import automatic_precision
from maquette.spoken import memory_size
from maquette.training.fitting import asked_memory

if TYPE_CHECKING:
    from maquette.training.job import Job

SHOWN_CHANGES = 3


def out_of_memory(job: Job, step: int) -> TrainingError:
    """Return the error of a step (0-based) for which `job`'s device had no room left."""
    from maquette.devices import free_memory_bytes, peak_memory_bytes, place

    peak_bytes = peak_memory_bytes(place(job.device, job.precision).device)
    room_bytes = free_memory_bytes(job.device)
    return TrainingError(
        Problem(
            f"step {step + 1}",
            f"{job.device} has no memory left (up to {memory_size(peak_bytes)} were used, about "
            f"{memory_size(room_bytes)} can be had)",
            "room for one step",
            remedies(job, room_bytes),
        )
    )


def remedies(job: Job, room_bytes: int) -> str:
    """Return what to do, in the order of its cost: going on in less memory, then the changes of a new run."""
    training = job.settings.training
    said = []
    if not training.gradient_checkpointing and training.fit_memory_gib is None and job.smoke_steps is None:
        go_on = shlex.join(["maquette", "train", "--resume", str(job.folder.path), "--fit-memory-gib", "0"])
        said.append(f"Close other programs that use the device, then go on with recomputed blocks: {go_on}")
    else:
        said.append("Close other programs that use the device, and resume the run.")
    asked = asked_memory(job)
    if asked is not None:
        asked = asked.changed(checkpointing=True)
        # The estimate held the run to fit: what is needed is less than the room that it was counted against.
        budget_bytes = min(room_bytes, estimate_memory(asked).needed_bytes - 1)
        bf16 = automatic_precision(asked.device).precision == "bf16"
        changes = [change for change in changes_to_fit(asked, budget_bytes, bf16=bf16) if change.applies]
        if changes:
            listed = ", ".join(change.setting for change in changes[:SHOWN_CHANGES])
            said.append(f"A new run takes less with, cheapest first: {listed}.")
    return " ".join(said)

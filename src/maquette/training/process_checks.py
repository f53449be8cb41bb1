"""Whether a run can have the processes that it asks for: known before anything is loaded or started.

Whether the machine has a GPU for each is a rule's (ENV024).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, Problem

if TYPE_CHECKING:
    from maquette.project.settings import Settings


def require_processes(settings: Settings) -> None:
    """Raise ConfigError, with every problem, where a run cannot have the processes that it asks for."""
    training, problems = settings.training, []
    world = os.environ.get("WORLD_SIZE", "1")
    if world.isdecimal() and int(world) > 1:
        required = "one process: `train` starts the others itself"
        remedy = f"Start `maquette train` without torchrun or accelerate launch, with --processes {world}."
        problems.append(Problem("WORLD_SIZE", f"{world}: a launcher started this process", required, remedy))
    if training.processes > 1:
        if training.device.startswith("cuda:"):
            given = f"{training.device} with {training.processes} processes"
            required = "device auto or cuda: each process takes the GPU of its number"
            remedy = "Leave --device out; CUDA_VISIBLE_DEVICES chooses the GPUs."
            problems.append(Problem("--device", given, required, remedy))
        if training.fit_memory_gib is not None:
            remedy = "Use --gradient-checkpointing, or one process."
            given = f"{training.processes} with fit_memory_gib"
            required = "one of both: what fits is worked out for a whole batch on one device"
            problems.append(Problem("--processes", given, required, remedy))
    if problems:
        raise ConfigError(problems)

"""Whether a run can have the processes that it asks for: known before anything is loaded or started."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
        problems += _of_the_device(training.device, training.processes, training.batch_size)
        if training.fit_memory_gib is not None:
            remedy = "Use --gradient-checkpointing, or one process."
            given = f"{training.processes} with fit_memory_gib"
            problems.append(Problem("--processes", given, "either of both", remedy))
    if problems:
        raise ConfigError(problems)


def _of_the_device(device: str, processes: int, batch_size: int) -> Iterator[Problem]:
    from torch.cuda import device_count

    from maquette.devices import resolve_device

    resolved = resolve_device(device)
    one = f"Leave --processes out and set --batch-size {processes * batch_size}, or multiply --accumulation by {processes}."
    if resolved.startswith("cuda:"):
        required = "device auto or cuda: each process takes the GPU of its number"
        remedy = "Leave --device out; CUDA_VISIBLE_DEVICES chooses the GPUs."
        yield Problem("--device", f"{device} with {processes} processes", required, remedy)
    elif resolved == "cuda" and device_count() < processes:
        given = f"{processes}, and this machine has {device_count()} CUDA GPU(s)"
        yield Problem("--processes", given, "a GPU for each", one)
    elif resolved == "mps":
        yield Problem("--processes", f"{processes} on mps", "1: a Mac has one GPU", one)

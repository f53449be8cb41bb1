"""Weights and gradients between the processes of one run, by torch.distributed.

A process enters a collective only when it knows that the others are about to: so a short time limit holds there, and nobody
waits in one for a process that validates, draws samples or has died.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from maquette.training.engine import Engine

LIMIT = timedelta(seconds=120)
"""For one exchange of weights or gradients, and for the processes to find each other."""
LEAD = 0
"""The process that runs the job; the others help."""


def join(store: str, process: int, processes: int, device: torch.device) -> None:
    """Meet the other processes of a run."""
    backend = "nccl" if device.type == "cuda" and dist.is_nccl_available() else "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device.index or 0)
        # A process that dies is then an error here after LIMIT; by its default NCCL would end this one too, state unsaved.
        os.environ.setdefault("TORCH_NCCL_BLOCKING_WAIT", "1")
    dist.init_process_group(
        backend, store=dist.FileStore(store, processes), rank=process, world_size=processes, timeout=LIMIT
    )


def leave() -> None:
    """Part from the other processes, where they were met."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def share_weights(engine: Engine) -> None:
    """Give every process the lead's weights."""
    parameters = parameters_of(engine)
    flat = _flat(parameters, lambda each: each.detach())
    dist.broadcast(flat, LEAD)
    if dist.get_rank() != LEAD:
        with torch.no_grad():
            for parameter, values in zip(parameters, _split(flat, parameters), strict=True):
                parameter.copy_(values)


def gather_gradients(engine: Engine) -> None:
    """Leave the sum of all processes' gradients in the lead's parameters.

    A parameter without a gradient there keeps none: what is left out of a pass is left out in all processes alike.
    """
    parameters = parameters_of(engine)
    flat = _flat(
        parameters, lambda each: torch.zeros_like(each) if each.grad is None else each.grad.to(each.dtype)
    )
    dist.reduce(flat, LEAD)
    if dist.get_rank() == LEAD:
        for parameter, summed in zip(parameters, _split(flat, parameters), strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(summed)


def parameters_of(engine: Engine) -> list[torch.nn.Parameter]:
    """Return the parameters of all trials, in one order in every process."""
    return [
        parameter
        for index in range(len(engine.trials))
        for parameter in engine.adapter.named_parameters_of(index).values()
    ]


def _flat(
    parameters: list[torch.nn.Parameter], values_of: Callable[[torch.nn.Parameter], torch.Tensor]
) -> torch.Tensor:
    flat = torch.cat([values_of(each).reshape(-1) for each in parameters])
    # gloo computes in main memory.
    return flat if dist.get_backend() == "nccl" else flat.cpu()


def _split(flat: torch.Tensor, parameters: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    parts = flat.split([each.numel() for each in parameters])
    return [part.view(each.shape) for part, each in zip(parts, parameters, strict=True)]

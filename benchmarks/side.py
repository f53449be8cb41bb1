"""What each side of `train_step.py` does alike: the same noise and latents for each step, and telling what a step took.

A side tells one JSON line a step and ends after the last: `{"step", "cpu_s", "wall_s", "loss", "peak_memory_bytes"}`, counted
from the start of its process. Seconds of the processor include what the system does for it.
"""

from __future__ import annotations

import json
import os
import resource
import time
from typing import Any

STARTED = time.time()
FIRST_SEED = 1000


def told_of_step(step: int, loss: float, last: int) -> None:
    """Tell that `step` (from 1) is done; the process ends with the last."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "step": step,
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.time() - STARTED,
        "loss": loss,
        "peak_memory_bytes": used.ru_maxrss * 1024,
    }
    print(json.dumps(told), flush=True)
    if step >= last:
        os._exit(0)


def noise_of(step: int, shape: Any) -> tuple[Any, Any]:
    """Return the noise and the timestep of a step (from 0) of one picture, the same on every side."""
    import torch

    generator = torch.Generator().manual_seed(FIRST_SEED + step)
    return torch.randn(tuple(shape), generator=generator), torch.randint(0, 1000, (1,), generator=generator)

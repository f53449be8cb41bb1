"""How long a training takes: a start, each picture encoded once, so many steps, checkpoints and samples.

Where a step's time comes from, best first, and which it was is always said:
    1. a published figure for a named card (`--device-like`), scaled by the work
    2. a finished run of the same base, device and precision in the project's runs/, scaled by the work where it differs
    3. this machine's speed at the model's own layers (speed.py), times what the model computes
"""

from __future__ import annotations

from dataclasses import dataclass

from maquette.families import Layout, parts_of
from maquette.footprint.memory import WEIGHT_BYTES, MemoryRequest
from maquette.footprint.speed import Speed
from maquette.footprint.workload import Op, Workload

BEGIN_S = 2.5
"""Importing libraries and looking at pictures before the base loads (measured on a CPU)."""
VALUES_LOADED_PER_S = 1.6e8
"""Values of the base read and converted a second (measured on a CPU, from disk cache)."""
POINTWISE_PASSES = 6.0
"""Times that a kept value of a pointwise operation goes through memory, forward and backward."""
OPTIMIZER_BYTES = 40
"""Bytes that an update moves for each trained value: weight, gradient and two moments, read and written; clipping."""
STEP_SHARE_OFF = 0.6
"""How far a computed step time may be off: 14 of 16 measured runs were within it, on a machine that other programs used
too (benchmarks/plan_error.py)."""


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """Seconds of one optimizer step, and where they come from."""

    seconds: float
    source: str
    share_off: float
    """How far it may be off, as a share."""


@dataclass(frozen=True, kw_only=True)
class TimePlan:
    """The expected duration, part by part, seconds."""

    seconds: float
    parts: dict[str, float]
    step: StepTime

    def to_json(self) -> dict[str, object]:
        return {
            "seconds": round(self.seconds, 1),
            "parts": {name: round(value, 1) for name, value in self.parts.items()},
            "seconds_per_step": round(self.step.seconds, 4),
            "source": self.step.source,
            "share_off": self.step.share_off,
        }


def computed_step(request: MemoryRequest, speed: Speed) -> float:
    """Return the seconds of one optimizer step at this machine's measured speed."""
    work = request.work()
    micro = micro_step_seconds(work, request, speed)
    update = work.trainable * OPTIMIZER_BYTES / speed.read_bytes_per_s
    return micro * request.accumulation + update


def micro_step_seconds(work: Workload, request: MemoryRequest, speed: Speed) -> float:
    """Return the seconds of one forward and backward pass of a batch, with its share of preservation's second one."""
    size = WEIGHT_BYTES[request.precision]
    seconds = sum(op.times * _op_seconds(op, request, speed, size) for op in work.ops)
    if request.preservation_every is None:
        return seconds
    alone = request.changed(checkpointing=False)
    base = sum(op.times * _op_seconds(op, alone, speed, size, backward=False) for op in base_pass(work))
    return seconds + (seconds + base) / request.preservation_every


def base_pass(work: Workload) -> list[Op]:
    """Return what the base computes for preservation's target: its denoiser; what it reads in a caption is kept."""
    return [op for op in work.ops if op.part == "denoiser"]


def _op_seconds(op: Op, request: MemoryRequest, speed: Speed, size: int, *, backward: bool = True) -> float:
    """A layer takes as long as its arithmetic or the reading of its weights, whichever is longer, and a call."""
    again = 1.0 if request.checkpointing and op.again else 0.0
    if op.kind in ("norm", "pointwise"):
        moved = (op.kept + op.kept_by_norms) * request.batch * size
        passes = POINTWISE_PASSES * (1 + again / 2) if backward else POINTWISE_PASSES / 2
        return moved * passes / speed.read_bytes_per_s
    back = (2.5 if op.kind == "attention" else 1.0) if op.with_gradient and backward else 0.0
    passes = 1.0 + back + again
    arithmetic = op.flops * request.batch * passes / speed.rate(op)
    reading = op.weights * size * passes / speed.read_bytes_per_s
    made = _made_whole(op, request, size) * passes / speed.read_bytes_per_s
    return max(arithmetic, reading) + made + speed.call_s * passes / 2


def _made_whole(op: Op, request: MemoryRequest, size: int) -> float:
    """Return the bytes that go through memory while an int8 weight is made whole; on a processor in float32 first."""
    if not request.int8_base or op.part != "denoiser" or op.kind not in ("conv", "linear"):
        return 0.0
    through_float32 = 1 + 3 * 4 + (0 if size == 4 else 4 + size)
    return op.weights * (through_float32 if request.device == "cpu" else 1 + size)


def start_seconds(layout: Layout) -> float:
    """Return the seconds until the base is loaded."""
    counts = parts_of(layout)
    return BEGIN_S + (counts.denoiser + counts.text_encoders + counts.vae) / VALUES_LOADED_PER_S

"""How long a training takes: a start, each picture encoded once, so many steps, checkpoints and samples.

Where a step's time comes from, best first, and which it was is always said:
    1. a published figure for a named card (`--device-like`), scaled by the work
    2. a finished run of the same base, device and precision in the project's runs/, scaled by the work where it differs
    3. this machine's speed at the model's own layers (speed.py), times what the model computes
"""

from __future__ import annotations

from dataclasses import dataclass

from maquette.families import ModelLayout
from maquette.families.common.layout import VaeLayout
from maquette.footprint.memory import WEIGHT_BYTES, MemoryRequest
from maquette.footprint.speed import Speed
from maquette.footprint.weights import weight_counts
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
    """Return the seconds of one forward and backward pass of a batch."""
    size = WEIGHT_BYTES[request.precision]
    return sum(_op_seconds(op, request, speed, size) for op in work.ops)


def _op_seconds(op: Op, request: MemoryRequest, speed: Speed, size: int) -> float:
    """A layer takes as long as its arithmetic or the reading of its weights, whichever is longer, and a call."""
    again = 1.0 if request.checkpointing and op.group is not None else 0.0
    if op.kind == "pointwise":
        moved = (op.kept + op.kept_by_norms) * request.batch * size
        return moved * POINTWISE_PASSES * (1 + again / 2) / speed.read_bytes_per_s
    backward = (2.5 if op.kind == "attention" else 1.0) if op.with_gradient else 0.0
    passes = 1.0 + backward + again
    arithmetic = op.flops * request.batch * passes / speed.rate(op)
    reading = op.weights * size * passes / speed.read_bytes_per_s
    return max(arithmetic, reading) + speed.call_s * passes / 2


def start_seconds(layout: ModelLayout) -> float:
    """Return the seconds until the base is loaded."""
    counts = weight_counts(layout)
    return BEGIN_S + (counts.unet + counts.texts + counts.vae) / VALUES_LOADED_PER_S


def encoder_flops(vae: VaeLayout, size_wh: tuple[int, int]) -> float:
    """Return the floating-point operations of encoding one picture."""
    channels = vae.block_channels
    positions = float(size_wh[0] * size_wh[1])
    total = 2 * 9 * vae.pixel_channels * channels[0] * positions
    entering = channels[0]
    for level, own in enumerate(channels):
        for number in range(vae.layers_per_block):
            total += _residual_flops(entering if number == 0 else own, own, positions)
        entering = own
        if level < len(channels) - 1:
            positions /= 4
            total += 18 * own * own * positions
    return total + _middle_flops(channels[-1], positions)


def decoder_flops(vae: VaeLayout, size_wh: tuple[int, int]) -> float:
    """Return the floating-point operations of decoding one latent."""
    channels = tuple(reversed(vae.block_channels))
    positions = float(size_wh[0] * size_wh[1]) / vae.factor**2
    total = _middle_flops(channels[0], positions)
    entering = channels[0]
    for level, own in enumerate(channels):
        for number in range(vae.layers_per_block + 1):
            total += _residual_flops(entering if number == 0 else own, own, positions)
        entering = own
        if level < len(channels) - 1:
            positions *= 4
            total += 18 * own * own * positions
    return total


def _residual_flops(inputs: int, outputs: int, positions: float) -> float:
    shortcut = 2 * inputs * outputs if inputs != outputs else 0
    return (18 * inputs * outputs + 18 * outputs * outputs + shortcut) * positions


def _middle_flops(width: int, positions: float) -> float:
    return (
        2 * _residual_flops(width, width, positions)
        + 8 * width * width * positions
        + 4 * positions**2 * width
    )

"""Step times that somebody measured: this project's earlier runs, and figures published for named cards."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import ConfigError, OutputError, Problem, did_you_mean
from maquette.footprint.memory import MemoryRequest
from maquette.footprint.timing import StepTime
from maquette.footprint.workload import Workload
from maquette.runs.folder import RECORD_NAME
from maquette.runs.record import RunRecord, read_record

SAME_OFF, SCALED_OFF, PUBLISHED_OFF = 0.1, 0.25, 0.5
"""How far a time may be off: of the same settings, scaled by the work, published for a card."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A figure that somebody reported for a card. `native_px` tells the family; sizes are squares, pixels."""

    card: str
    gigabytes: int
    """The card's memory; on Apple silicon what the GPU may use of 16 GB."""
    native_px: int
    px: int
    batch: int
    rank: int
    checkpointing: bool
    seconds: float
    source: str


PUBLISHED = (
    Published(
        card="RTX 3090 Ti", gigabytes=24, native_px=1024, px=1024, batch=1, rank=32, checkpointing=False, seconds=1.12,
        source="sd-scripts#827: 1.12 s a step, rank 32, 1024 px, bf16",
    ),
    Published(
        card="RTX 3060", gigabytes=12, native_px=1024, px=1024, batch=1, rank=32, checkpointing=True, seconds=2.4,
        source="kohya_ss#1288: 2.4 s a step, 1024 px; rank and checkpointing not stated, taken as 32 and on",
    ),
    Published(
        card="RTX 4090", gigabytes=24, native_px=1024, px=1024, batch=1, rank=32, checkpointing=True, seconds=1.0,
        source="SimpleTuner#1184: 1.0 step a second with every block checkpointed; rank not stated, taken as 32",
    ),
    Published(
        card="RTX 2080 Ti", gigabytes=11, native_px=512, px=512, batch=1, rank=32, checkpointing=False, seconds=0.3,
        source="a report of 3.3 pictures a second, 512 px; rank not stated, taken as 32",
    ),
    Published(
        card="M1 Pro", gigabytes=10, native_px=512, px=512, batch=1, rank=32, checkpointing=True, seconds=2.05,
        source="field notes: 1,200 steps in 41 minutes on an M1 Pro of 16 GB, rank 32, 512 px, float32",
    ),
)  # fmt: skip


def published_memory(card: str) -> int | None:
    """Return the memory of a card of the table in bytes, None for another."""
    found = next((entry for entry in PUBLISHED if _plain(entry.card) == _plain(card)), None)
    return found.gigabytes << 30 if found else None


def _plain(card: str) -> str:
    return card.lower().removeprefix("nvidia ").removeprefix("geforce ").replace(" ", "")


def from_published(card: str, request: MemoryRequest, work: Workload, native_px: int) -> StepTime:
    """Return the step time of the named card, scaled by the work. ConfigError when no figure is known."""
    known = {_plain(entry.card): entry for entry in PUBLISHED if entry.native_px == native_px}
    found = known.get(_plain(card))
    if found is None:
        names = [entry.card for entry in known.values()]
        raise ConfigError(
            Problem(
                "--device-like",
                card,
                "a card with a published figure for this kind of base",
                did_you_mean(card, names),
            )
        )
    then = request.changed(
        size_wh=(found.px, found.px), batch=found.batch, rank=found.rank, conv_rank=None, accumulation=1,
        checkpointing=found.checkpointing, parts=("text_encoder", "denoiser"), preservation_every=None,
    )  # fmt: skip
    share = step_flops(work, request) / step_flops(then.work(), then)
    return StepTime(
        seconds=found.seconds * share,
        source=f"published for {found.card} ({found.source}), times {share:.2f} for the work; not measured here",
        share_off=PUBLISHED_OFF,
    )


def from_past_runs(
    output: Path, base: str, request: MemoryRequest, work: Workload, precision: str
) -> StepTime | None:
    """Return the step time of the project's latest run on the same base, device and precision; None without one."""
    for record in _finished_runs(output):
        then = _request_of(record, base, request, precision)
        seconds = record.timings.get("seconds_per_step")
        if then is None or not seconds:
            continue
        if _alike(then, request):
            return StepTime(
                seconds=seconds,
                source=f"the run {record.run} of the same settings on this device",
                share_off=SAME_OFF,
            )
        share = step_flops(work, request) / step_flops(then.work(), then)
        return StepTime(
            seconds=seconds * share,
            source=f"the run {record.run} on this device, times {share:.2f} for the work",
            share_off=SCALED_OFF,
        )
    return None


def step_flops(work: Workload, request: MemoryRequest) -> float:
    """Return the floating-point operations of one optimizer step."""
    again = sum(op.flops * op.times for op in work.ops if op.again) if request.checkpointing else 0.0
    micro = work.forward_flops() + work.backward_flops() + again
    if request.preservation_every is not None:
        micro += (micro + work.forward_flops("denoiser")) / request.preservation_every
    return micro * request.batch * request.accumulation


def _finished_runs(output: Path) -> Iterable[RunRecord]:
    """Yield the records of finished runs below `output`, newest first; unreadable ones are no help and skipped."""
    found = []
    for path in output.glob(f"*/{RECORD_NAME}") if output.is_dir() else ():
        with suppress(OutputError):
            found.append(read_record(path))
    finished = [record for record in found if record.state == "finished"]
    return sorted(finished, key=lambda record: record.finished_at or "", reverse=True)


def _request_of(record: RunRecord, base: str, now: MemoryRequest, precision: str) -> MemoryRequest | None:
    """Return what a run asked for, or None where its base, device or precision was another."""
    settings, device = record.settings, record.device
    same = Path(settings.model.base).name == Path(base).name
    same = same and (settings.training.base_precision == "int8") == now.int8_base
    if not same or device is None or (device.kind, device.precision) != (now.device, precision):
        return None
    rate = settings.training.text_encoder_lr
    return now.changed(
        size_wh=settings.dataset.resolution,
        batch=settings.training.batch_size,
        accumulation=settings.training.accumulation,
        rank=settings.lora.rank,
        conv_rank=settings.lora.conv_rank,
        checkpointing=settings.training.gradient_checkpointing,
        parts=("text_encoder", "denoiser") if rate is None or rate > 0 else ("denoiser",),
        preservation_every=settings.objective.preservation_every if settings.objective.preservation else None,
    )


def _alike(then: MemoryRequest, now: MemoryRequest) -> bool:
    names = ("size_wh", "batch", "accumulation", "rank", "conv_rank", "checkpointing", "parts",
             "preservation_every")  # fmt: skip
    return all(getattr(then, name) == getattr(now, name) for name in names)

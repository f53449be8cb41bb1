"""The duration of a planned run, put together from whatever knows the time of a step."""

from __future__ import annotations

from dataclasses import dataclass

from maquette.dataset.buckets import items_by_bucket
from maquette.dataset.records import Item
from maquette.dataset.repeats import Schedule
from maquette.families.protocol import ModelInfo
from maquette.footprint.known_times import from_past_runs, from_published, step_flops
from maquette.footprint.memory import MemoryRequest
from maquette.footprint.speed import measure_speed
from maquette.footprint.timing import (
    STEP_SHARE_OFF,
    StepTime,
    TimePlan,
    computed_step,
    start_seconds,
)
from maquette.footprint.workload import decoding, encoding
from maquette.kohya.drawn_prompts import drawn_prompt
from maquette.planning.device import PlannedDevice
from maquette.planning.options import PlanOptions
from maquette.project.settings import Settings


@dataclass(frozen=True, kw_only=True)
class TimeRequest:
    """What decides how long a run takes."""

    settings: Settings
    info: ModelInfo
    items: tuple[Item, ...]
    schedule: Schedule
    memory: MemoryRequest
    draws: int
    """How often samples are drawn."""
    validation_passes: int = 0
    """Pictures that validation puts forward through the model."""


def estimate_time(request: TimeRequest, device: PlannedDevice, options: PlanOptions) -> TimePlan | None:
    """Return how long the run takes, or None when nothing tells how long a step takes on that device."""
    usual = usual_request(request)
    step = _step_time(request, usual, device, options)
    if step is None:
        return None
    work = usual.work()
    flops_per_s = step_flops(work, usual) / step.seconds
    micro_share = (
        request.schedule.batches_per_epoch / max(1, request.schedule.steps_per_epoch) / usual.accumulation
    )
    parts = {
        "start": start_seconds(usual.layout),
        "encoding pictures": _encoding_flops(request) / flops_per_s,
        "steps": request.schedule.steps * step.seconds * min(1.0, micro_share),
        "samples": _sampling_flops(request, work.forward_flops("denoiser")) / flops_per_s,
    }
    if request.validation_passes:
        parts["validation"] = request.validation_passes * work.forward_flops() / flops_per_s
    return TimePlan(seconds=sum(parts.values()), parts=parts, step=step)


def usual_request(request: TimeRequest) -> MemoryRequest:
    """Return the request with the size that most pictures are trained at."""
    groups = items_by_bucket(request.items)
    bucket = max(groups, key=lambda bucket: len(groups[bucket]))
    batch = request.schedule.batch_of_one(bucket.dataset, len(groups[bucket]))
    if request.memory.device == "cpu":  # its cores are divided among the processes
        batch *= request.schedule.processes
    return request.memory.changed(size_wh=(bucket.width_px, bucket.height_px), batch=batch)


def _step_time(
    request: TimeRequest, usual: MemoryRequest, device: PlannedDevice, options: PlanOptions
) -> StepTime | None:
    work = usual.work()
    if options.device_like is not None and usual.int8_base:
        return None  # nothing is published of a card for such a base
    if options.device_like is not None:
        return from_published(options.device_like, usual, work, request.info.resolution)
    past = from_past_runs(
        request.settings.saving.output, request.settings.model.base, usual, work, device.precision
    )
    if past is not None or not device.is_here or not options.measure:
        return past
    speed = measure_speed(
        work, device=device.kind, precision=device.precision, rank=usual.rank, batch=usual.batch
    )
    return StepTime(
        seconds=computed_step(usual, speed),
        source=f"this machine's speed at the model's own layers, measured in {speed.measured_s:.1f} s",
        share_off=STEP_SHARE_OFF,
    )


def _encoding_flops(request: TimeRequest) -> float:
    """Return the operations of encoding every picture once, or at every showing where its latent is not kept."""
    layout, schedule = request.memory.layout, request.schedule
    cached = request.settings.dataset.cache_latents
    kept = {(each.picture.path, _size(each)) for each in request.items if cached and not each.varies}
    anew = [_size(each) for each in request.items if not cached or each.varies]
    epochs = schedule.steps / max(1, schedule.steps_per_epoch)
    flops = {size_wh: encoding(layout, size_wh).flops for size_wh in {*anew, *(size for _, size in kept)}}
    return sum(flops[size_wh] for _, size_wh in kept) + epochs * sum(flops[size_wh] for size_wh in anew)


def _size(item: Item) -> tuple[int, int]:
    assert item.fit is not None, "assign_buckets comes before planning"
    return item.fit.bucket_wh


def _sampling_flops(request: TimeRequest, forward_flops: float) -> float:
    """Return the operations of drawing all samples: guidance doubles each denoising step."""
    samples = request.settings.samples
    width_px, height_px = request.settings.dataset.resolution
    flops = 0.0
    for prompt in map(drawn_prompt, samples.sample_prompts):
        size_wh = (prompt.width_px or width_px, prompt.height_px or height_px)
        guidance = samples.guidance if prompt.guidance is None else prompt.guidance
        passes = (prompt.steps or samples.sample_steps) * (2 if guidance != 1.0 else 1)
        larger = size_wh[0] * size_wh[1] / (width_px * height_px)
        flops += passes * forward_flops * larger + decoding(request.memory.layout, size_wh).flops
    return request.draws * flops

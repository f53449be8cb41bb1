"""What a run takes, from the one description of it, whichever trainer it is for: what `plan` shows is what rules judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette import families
from maquette.dataset.buckets import items_by_bucket
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.planned import DEFAULT_GRID_PX, bucketed, epoch_items, schedule_of
from maquette.dataset.records import LATENTS_IN_MEMORY_BYTES, Item
from maquette.dataset.repeats import Schedule
from maquette.errors import MaquetteError
from maquette.families.protocol import LoraPart, ModelInfo
from maquette.footprint.disk import (
    KEPT_STATES,
    LOG_BYTES_PER_SHOWING,
    LOG_BYTES_PER_STEP,
    RECORD_BYTES_PER_PICTURE,
    SAMPLE_BYTES_PER_PIXEL,
    DiskPart,
    latent_bytes,
)
from maquette.footprint.memory import WEIGHT_BYTES, DeviceKind, MemoryPlan, MemoryRequest, estimate_memory
from maquette.footprint.recomputing import blocks_to_fit
from maquette.kohya.prompt_tables import prompts_of_file
from maquette.lora.choosing import LayerChoice, LayerSize, choice_of
from maquette.lora.config import TrialSpec
from maquette.lora.matching import layers_of, sizes_on
from maquette.lora.reading import read_lora_facts
from maquette.lora.size import Precision, lora_file_bytes, lora_parameters
from maquette.precisions import automatic_precision
from maquette.project.adapter_kinds import ADAPTER_KINDS, DEFAULT_ADAPTER_KIND
from maquette.project.checkpoints import PlannedCheckpoint, is_due, plan_checkpoints
from maquette.project.layer_blocks import parse_blocks
from maquette.project.machine import Machine
from maquette.project.optimizers import DEFAULT_OPTIMIZER, saved_bytes
from maquette.project.request import TrainingRequest
from maquette.project.request_maquette import default_of
from maquette.reading import Unreadable
from maquette.spoken import GIB

SAVED: dict[str, Precision] = {"fp16": "fp16", "bf16": "bf16"}
UNKNOWN_NAME = "lora"


def trained_parts(request: TrainingRequest) -> tuple[LoraPart, ...]:
    """Return the parts of the model that the run adapts."""
    text: tuple[LoraPart, ...] = () if request.value("train_text_encoder") is False else ("text_encoder",)
    denoiser: tuple[LoraPart, ...] = () if request.value("train_denoiser") is False else ("denoiser",)
    return text + denoiser


def adapter_kind(request: TrainingRequest) -> str:
    """Return what the run trains, as far as it is a kind that Maquette knows; else plain LoRA stands for it."""
    return request.adapter if request.adapter and request.adapter in ADAPTER_KINDS else DEFAULT_ADAPTER_KIND


def layer_choice(request: TrainingRequest, family: str) -> LayerChoice:
    """Return which layers the run adapts, and what holds for some of them."""
    try:
        blocks = parse_blocks(request.blocks)
    except ValueError:
        blocks = ()
    sets = families.FAMILIES[family].spec.layer_sets
    return choice_of(request.include_layers, request.exclude_layers, blocks, sets)


def adapter_of(request: TrainingRequest, info: ModelInfo) -> TrialSpec:
    """Return the adapter that the run trains."""
    return TrialSpec(
        kind=adapter_kind(request),
        factor=request.lokr_factor or -1,
        rank=request.value("rank") or 1,
        conv_rank=request.conv_rank or None,
        parts=trained_parts(request),
        choice=layer_choice(request, info.family),
        modules=_sizes_of_file(request, info),
    )


def _sizes_of_file(request: TrainingRequest, info: ModelInfo) -> Mapping[str, LayerSize] | None:
    """Return the sizes that a LoRA file decides, by kohya key; None where the settings do, or nothing is known of it."""
    if not request.dim_from_weights or request.network_weights is None:
        return None
    facts = read_lora_facts(request.network_weights, depth="header")
    return sizes_on(layers_of(info), facts) or None


def items_of(
    facts: DatasetFacts, request: TrainingRequest, grid_px: int = DEFAULT_GRID_PX
) -> tuple[Item, ...]:
    """Return what one epoch shows, in its buckets; empty where the settings make no buckets.

    grid_px: what the base model needs sides to be a multiple of.
    """
    try:
        return bucketed(epoch_items(facts), facts.plan.datasets, request, grid_px)[0]
    except MaquetteError:
        return ()


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What one run takes, except time. Sizes are bytes."""

    memory: MemoryPlan
    memory_request: MemoryRequest
    """What the memory was worked out from, for questions of the kind `what if`."""
    disk: tuple[DiskPart, ...]
    checkpoints: tuple[PlannedCheckpoint, ...]
    checkpoint_bytes: int
    draws: int
    """At how many steps samples are drawn."""
    steps: int


def footprint_of(
    request: TrainingRequest,
    info: ModelInfo,
    items: Sequence[Item],
    schedule: Schedule,
    *,
    device: DeviceKind,
    name: str = UNKNOWN_NAME,
    memory_bytes: int | None = None,
) -> Footprint | None:
    """Return what the run of `request` takes over `items`, which have buckets.

    name: what its files are called. memory_bytes: what the device has, where that is known. None where nothing is trained,
    or in an arithmetic that is unknown here.
    """
    asked = memory_request(request, info, items, schedule, device, precision_on(device, request))
    if asked is None:
        return None
    asked = fitted(request, asked, memory_bytes)
    checkpoints = checkpoints_of(request, schedule, name)
    return Footprint(
        memory=estimate_memory(asked),
        memory_request=asked,
        disk=disk_parts(request, info, schedule, items),
        checkpoints=checkpoints,
        checkpoint_bytes=checkpoint_bytes(request, info),
        draws=sample_draws(request, schedule, checkpoints),
        steps=schedule.steps,
    )


def footprint_of_facts(
    request: TrainingRequest, info: ModelInfo, facts: DatasetFacts, machine: Machine
) -> Footprint | None:
    """Return what the run takes, None where its pictures or settings do not allow to say."""
    items, schedule = items_of(facts, request, info.vae_factor), schedule_of(facts, request, info.vae_factor)
    if not items or schedule is None:
        return None
    kind = device_kind(request, machine)
    return footprint_of(
        request, info, items, schedule, device=kind, memory_bytes=device_memory_bytes(kind, machine)
    )


def device_of(request: TrainingRequest, machine: Machine) -> str:
    """Return the kind of device that the run would use: cuda, mps, rocm, xpu or cpu."""
    asked = (request.device or "auto").partition(":")[0]
    if asked != "auto":
        return asked
    return "cpu" if "cpu" in request.launcher_options else machine.device


def device_kind(request: TrainingRequest, machine: Machine) -> DeviceKind:
    """Return whose rules of memory hold on that device: every accelerator but Apple's is counted as CUDA."""
    kind = device_of(request, machine)
    return "cpu" if kind == "cpu" else "mps" if kind == "mps" else "cuda"


def device_memory_bytes(kind: DeviceKind, machine: Machine) -> int | None:
    """Return the memory of that device of the machine, None where it has none or it is not known."""
    if kind == "cpu":
        return machine.ram_bytes or None
    return next((gpu.total_bytes for gpu in machine.gpus if gpu.kind == kind), None)


def fitted(request: TrainingRequest, asked: MemoryRequest, device_bytes: int | None) -> MemoryRequest:
    """Return what decides the memory once blocks are chosen to fit, where the run asks for that; else as it is."""
    if request.fit_memory_gib is None:
        return asked
    budget_bytes = round(request.fit_memory_gib * GIB) or device_bytes
    if budget_bytes is None:
        return asked
    return asked.changed(checkpointing=blocks_to_fit(asked, budget_bytes).blocks)


def precision_on(
    kind: DeviceKind, request: TrainingRequest, capability: tuple[int, int] | None = None
) -> str:
    """Return the arithmetic of the frozen base: as asked, else what `auto` means on such a device."""
    asked = request.value("precision") or "no"
    return automatic_precision(kind, capability).precision if asked == "auto" else str(asked)


def memory_request(
    request: TrainingRequest,
    info: ModelInfo,
    items: Sequence[Item],
    schedule: Schedule,
    device: DeviceKind,
    precision: str,
) -> MemoryRequest | None:
    """Return what decides the run's memory: its settings, and the batch with the most pixels.

    None where nothing is trained, or in an arithmetic that is unknown here.
    """
    parts = trained_parts(request)
    if not parts or precision not in WEIGHT_BYTES:
        return None
    size_wh, batch = fullest_batch(items, schedule)
    cached = bool(request.value("cache_latents") or request.value("cache_latents_to_disk"))
    return MemoryRequest(
        layout=families.layout_of(info),
        size_wh=size_wh,
        batch=batch,
        accumulation=schedule.accumulation,
        precision=precision,
        int8_base=_int8_base(request),
        device=device,
        rank=request.value("rank") or 1,
        conv_rank=request.conv_rank,
        parts=parts,
        kind=adapter_kind(request),
        factor=request.lokr_factor or -1,
        choice=layer_choice(request, info.family),
        modules=_sizes_of_file(request, info),
        text_tokens=_text_tokens(request, info),
        plain_attention=request.attention == "math",
        checkpointing=bool(request.value("gradient_checkpointing")),
        optimizer=request.value("optimizer") or DEFAULT_OPTIMIZER,
        preservation_every=_preservation_every(request),
        averages=request.other.get("ema_decay") is not None,
        half_adapter=request.full_precision in ("fp16", "bf16"),
        cached_latents=cached,
        cached_texts=bool(request.value("cache_text_encoder_outputs")),
        keeps_vae=bool(request.sample_prompts),
        encodes_anew=any(item.varies for item in items),
        cache_bytes=_latents_in_memory(request, info, items) if cached else 0,
        half_vae=_half_vae(request, info, precision),
    )


def _int8_base(request: TrainingRequest) -> bool:
    """Whether the denoiser takes a byte a value while it trains; sd-scripts' fp8 does where blocks are computed again, else the
    whole weights are kept for the backward pass.
    """
    fp8 = request.full_precision == "fp8" and bool(request.value("gradient_checkpointing"))
    return request.base_precision == "int8" or fp8


def _preservation_every(request: TrainingRequest) -> int | None:
    """Return every how many forward passes a second one holds the class to the base."""
    if not request.other.get("preservation"):
        return None
    return int(request.other.get("preservation_every") or default_of("preservation_every"))


def _text_tokens(request: TrainingRequest, info: ModelInfo) -> int:
    """Return how many tokens of a caption are read: as asked where the family has such a setting, else its own number."""
    spec = families.FAMILIES[info.family].spec
    option, asked = spec.option("max_token_length"), request.value("max_token_length")
    if option is None:
        return spec.text_unit
    return int(asked if asked and option.takes(asked) else option.default)


def fullest_batch(items: Sequence[Item], schedule: Schedule) -> tuple[tuple[int, int], int]:
    """Return size and number of pictures of the batch with the most pixels: a batch never holds more than its bucket.

    Of several processes, the part that one of them has.
    """
    batches = [
        ((bucket.width_px, bucket.height_px), schedule.batch_of_one(bucket.dataset, len(group)))
        for bucket, group in items_by_bucket(tuple(items)).items()
    ]
    return max(batches, key=lambda entry: entry[0][0] * entry[0][1] * entry[1])


def _latents_in_memory(request: TrainingRequest, info: ModelInfo, items: Sequence[Item]) -> int:
    """Return the bytes of latents held. sd-scripts holds none that are on a disk; ours stay as far as they fit."""
    latents = latent_bytes(items, info.latent_channels, info.vae_factor)
    if not request.value("cache_latents_to_disk"):
        return latents
    return 0 if request.trainer == "sd-scripts" else min(latents, LATENTS_IN_MEMORY_BYTES)


def _half_vae(request: TrainingRequest, info: ModelInfo, precision: str) -> bool:
    """Whether the VAE follows a half precision: sd-scripts' does unless told otherwise, ours where it can."""
    if request.trainer == "sd-scripts":
        return not request.no_half_vae
    return families.FAMILIES[info.family].spec.half_precision_vae or precision != "fp16"


def checkpoints_of(
    request: TrainingRequest, schedule: Schedule, name: str = UNKNOWN_NAME
) -> tuple[PlannedCheckpoint, ...]:
    """Return the LoRA files that the run writes, the final one included."""
    return plan_checkpoints(
        name,
        total_steps=schedule.steps,
        steps_per_epoch=max(1, schedule.steps_per_epoch),
        every_steps=request.save_every_steps,
        every_epochs=request.save_every_epochs,
    )


def checkpoint_bytes(request: TrainingRequest, info: ModelInfo) -> int:
    """Return the size of one saved LoRA file."""
    precision = SAVED.get(request.save_precision or request.value("precision") or "", "fp32")
    return lora_file_bytes(info, adapter_of(request, info), precision=precision)


def sample_draws(
    request: TrainingRequest, schedule: Schedule, checkpoints: Sequence[PlannedCheckpoint]
) -> int:
    """Return at how many steps samples are drawn: every N, else with each checkpoint."""
    if not request.sample_prompts:
        return 0
    every = (request.sample_every_steps, request.sample_every_epochs)
    if every == (None, None):
        return len({planned.step for planned in checkpoints})
    per_epoch = max(1, schedule.steps_per_epoch)
    return sum(is_due(step, schedule.steps, per_epoch, *every) for step in range(1, schedule.steps + 1))


def num_prompts(request: TrainingRequest) -> int:
    """Return how many pictures one draw makes; a prompt file that cannot be read counts as one prompt."""
    text = request.sample_prompts or ""
    if request.trainer == "sd-scripts":
        try:
            return max(1, len(prompts_of_file(absolute(request, Path(text)))))
        except Unreadable:
            return 1
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return max(1, len(lines))


def disk_parts(
    request: TrainingRequest, info: ModelInfo, schedule: Schedule, items: Sequence[Item] = ()
) -> tuple[DiskPart, ...]:
    """Return what the run writes and where: LoRA files, states, latents on disk, samples, logs."""
    output = absolute(request, request.output_dir or Path())
    checkpoints = checkpoints_of(request, schedule)
    values = lora_parameters(info, adapter_of(request, info))
    states = _num_states(request, len(checkpoints))
    to_disk = bool(request.value("cache_latents_to_disk"))
    latents = latent_bytes(items, info.latent_channels, info.vae_factor) if to_disk else 0
    width, height = request.resolution_wh or (512, 512)
    drawn = sample_draws(request, schedule, checkpoints) * num_prompts(request)
    pictures = len({item.picture.path for item in items})
    shown = schedule.steps * schedule.accumulation * max(schedule.batch_sizes, default=1)
    logs = schedule.steps * LOG_BYTES_PER_STEP + shown * LOG_BYTES_PER_SHOWING
    logs += pictures * RECORD_BYTES_PER_PICTURE
    return (
        DiskPart(
            name="checkpoints",
            count=len(checkpoints),
            bytes=len(checkpoints) * checkpoint_bytes(request, info),
            folder=output,
        ),
        DiskPart(
            name="states",
            count=states,
            bytes=round(states * values * _state_bytes(request)),
            folder=output,
        ),
        DiskPart(name="latents", bytes=latents, folder=_latents_folder(request, output)),
        DiskPart(name="samples", bytes=round(drawn * width * height * SAMPLE_BYTES_PER_PIXEL), folder=output),
        DiskPart(name="logs and records", bytes=logs, folder=output),
    )


def _state_bytes(request: TrainingRequest) -> float:
    """Return what a state holds of each trained value: itself, what the optimizer keeps, and the average where there is one."""
    average = 4 if request.other.get("ema_decay") is not None else 0
    return saved_bytes(request.value("optimizer") or DEFAULT_OPTIMIZER) + average


def _num_states(request: TrainingRequest, checkpoints: int) -> int:
    """sd-scripts keeps a state with every checkpoint, on request; Maquette always, and the two newest."""
    if request.trainer == "sd-scripts":
        return checkpoints if request.save_state else 0
    return KEPT_STATES


def _latents_folder(request: TrainingRequest, output: Path) -> Path:
    """sd-scripts writes latents beside the pictures, Maquette into its cache folder."""
    folder = request.cache_folder if request.trainer == "maquette" else request.images
    return absolute(request, folder) if folder is not None else output


def absolute(request: TrainingRequest, path: Path) -> Path:
    """Return a path that a run names, relative to the file that names it."""
    path = path.expanduser()
    return path if path.is_absolute() else request.file.absolute().parent / path

"""Facts that follow from others: how much memory a run needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maquette.dataset.buckets import assign_buckets
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.planned import bucket_settings_of, epoch_items
from maquette.families.protocol import LoraPart, ModelInfo
from maquette.footprint.estimate import MemoryEstimate
from maquette.project.machine import Machine
from maquette.project.optimizers import DEFAULT_OPTIMIZER
from maquette.project.request import TrainingRequest

if TYPE_CHECKING:
    from maquette.footprint.memory import DeviceKind, MemoryRequest


def memory_estimate(
    request: TrainingRequest, info: ModelInfo, dataset: DatasetFacts, machine: Machine
) -> MemoryEstimate | None:
    """Return the memory that the run is expected to need, None where its pictures or settings do not allow to say."""
    from maquette.footprint.memory import CHECKED, SHARE_OFF, estimate_memory

    asked = _memory_request(request, info, dataset, machine)
    if asked is None:
        return None
    note, peak_bytes = CHECKED[asked.device], estimate_memory(asked).peak_bytes
    return MemoryEstimate(peak_bytes, f"{note[:1].upper()}{note[1:]}.", SHARE_OFF[asked.device])


def _memory_request(
    request: TrainingRequest, info: ModelInfo, dataset: DatasetFacts, machine: Machine
) -> MemoryRequest | None:
    from maquette import families
    from maquette.errors import MaquetteError
    from maquette.footprint.memory import WEIGHT_BYTES, MemoryRequest

    device = _device(request, machine)
    precision = request.value("precision") or "no"
    precision = ("bf16" if device == "cuda" else "no") if precision == "auto" else precision
    try:
        items = assign_buckets(epoch_items(dataset), bucket_settings_of(dataset, request))
    except MaquetteError:
        return None
    if not items or precision not in WEIGHT_BYTES:
        return None
    largest = max((item.bucket for item in items), key=lambda bucket: bucket.width_px * bucket.height_px)
    source = dataset.plan.datasets[largest.dataset]
    return MemoryRequest(
        layout=families.layout_of(info),
        size_wh=(largest.width_px, largest.height_px),
        batch=source.batch_size or request.value("batch_size") or 1,
        accumulation=request.value("accumulation") or 1,
        precision=precision,
        device=device,
        rank=request.value("rank") or 1,
        conv_rank=request.conv_rank,
        parts=_parts(request),
        text_tokens=request.value("max_token_length") or 75,
        checkpointing=bool(request.gradient_checkpointing),
        optimizer=request.value("optimizer") or DEFAULT_OPTIMIZER,
        half_adapter=request.full_precision in ("fp16", "bf16"),
        cached_latents=bool(request.value("cache_latents")),
        keeps_vae=request.sample_prompts is not None,
        half_vae=families.FAMILIES[info.family].spec.half_precision_vae and not request.no_half_vae,
    )


def _device(request: TrainingRequest, machine: Machine) -> DeviceKind:
    asked = (request.device or machine.device).partition(":")[0]
    asked = machine.device if asked == "auto" else asked
    if asked in ("cpu", "mps"):
        return "mps" if asked == "mps" else "cpu"
    return "cuda"


def _parts(request: TrainingRequest) -> tuple[LoraPart, ...]:
    text: tuple[LoraPart, ...] = () if request.train_text_encoder is False else ("text_encoder",)
    denoiser: tuple[LoraPart, ...] = () if request.train_denoiser is False else ("denoiser",)
    return text + denoiser

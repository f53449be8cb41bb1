"""Facts that follow from others: who curation found in the pictures, how much memory a run needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.curate.decisions import DECISIONS_NAME, Decision, Decisions, read_decisions
from maquette.curate.records import YOU
from maquette.dataset.buckets import assign_buckets
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.identity_facts import IdentityFacts
from maquette.dataset.measures import Measured
from maquette.dataset.planned import bucket_settings_of, epoch_items
from maquette.families.protocol import LoraPart, ModelInfo
from maquette.project.machine import Machine
from maquette.project.request import TrainingRequest
from maquette.training.memory_fact import MemoryEstimate

if TYPE_CHECKING:
    from maquette.plan.memory import DeviceKind, MemoryRequest

LEVELS_ABOVE = 3
"""How far above a picture a curation.json may lie: curation may have begun at the folder of the folders."""


def identity_facts(dataset: DatasetFacts) -> IdentityFacts | None:
    """Return what curation found out about these pictures, or None where it has not compared them with anything.

    Raises DatasetError for a damaged curation.json.
    """
    known: dict[Path, Decisions | None] = {}
    scores: dict[Path, float] = {}
    faces: dict[Path, int] = {}
    said: Decisions | None = None
    for picture in dataset.pictures:
        found = _decided(picture, known)
        if found is None:
            continue
        decisions, decision = found
        if decision.similarity is not None and decisions.threshold is not None:
            scores[picture.path], said = decision.similarity, decisions
        if decision.faces is not None:
            faces[picture.path], said = decision.faces, decisions
    if said is None:
        return None
    return IdentityFacts(
        scores=scores, threshold=said.threshold or 0.0, encoder=said.encoder, faces=faces or None
    )


def _decided(picture: Measured, known: dict[Path, Decisions | None]) -> tuple[Decisions, Decision] | None:
    """Return the decision about a picture that is still the same and that no person has settled."""
    for folder in _folders(picture.path):
        if folder not in known:
            known[folder] = read_decisions(folder) if (folder / DECISIONS_NAME).is_file() else None
        decisions = known[folder]
        if decisions is None:
            continue
        decision = decisions.pictures.get(picture.path.absolute().relative_to(folder).as_posix())
        if decision is None or decision.decided_by == YOU:
            return None
        same = picture.is_sound and picture.measures.sha256 == decision.sha256
        return (decisions, decision) if same else None
    return None


def _folders(path: Path) -> Iterable[Path]:
    return path.absolute().parents[: LEVELS_ABOVE + 1]


def memory_estimate(
    request: TrainingRequest, info: ModelInfo, dataset: DatasetFacts, machine: Machine
) -> MemoryEstimate | None:
    """Return the memory that the run is expected to need, None where its pictures or settings do not allow to say."""
    from maquette.plan.memory import CHECKED, SHARE_OFF, estimate_memory

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
    from maquette.plan.memory import WEIGHT_BYTES, MemoryRequest

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
        optimizer="adamw8bit" if "8bit" in (request.optimizer or "") else "adamw",
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

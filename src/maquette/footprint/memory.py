"""How much memory a training needs at its peak, part by part, from sizes alone.

    while the base loads   program + all weights
    while pictures encode  program + all weights + the VAE's first level
    while it trains        program + denoiser and text encoders + adapter (weights, moments, gradients)
                           + what the backward pass needs + working space
    while samples decode   program + all weights + adapter + the VAE's last level

The peak is the largest of these. What the backward pass needs is traced operation by operation (trace.py, workload.py);
four constants are fitted to measured runs (`benchmarks/plan_error.py`, whose result states the error). On a CPU the
figure is the process's resident memory, on a GPU what the card has to give, the driver's context included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from maquette.families import Layout, ModelParts, parts_of
from maquette.families.protocol import LoraPart
from maquette.footprint.workload import AttentionKind, Workload, decoding, encoding, workload
from maquette.lora.choosing import ALL_LAYERS, LayerChoice, LayerSize
from maquette.lora.config import TrialSpec
from maquette.lora.kinds import DEFAULT_KIND
from maquette.lora.size import change_values, sizes_of_layer
from maquette.project.optimizers import DEFAULT_OPTIMIZER, state_bytes

DeviceKind = Literal["cpu", "cuda", "mps"]

WEIGHT_BYTES = {"no": 4, "bf16": 2, "fp16": 2}
PROGRAM_BYTES: dict[DeviceKind, int] = {"cpu": 530_000_000, "cuda": 600_000_000, "mps": 600_000_000}
"""Python with its libraries and what the first steps set up (measured); on a GPU its context and kernels (as
published, not measured here)."""
INT8_BYTES = 1.004
"""A value of a denoiser held in int8, with its share of scales, biases and norms (SD 1.5 and SDXL: 1.002 to 1.004)."""
LOADING_REST_PER_VALUE, LOADING_REST_BYTES = 0.2, 120_000_000
"""What reading the base leaves in a CPU's heap: a share of its values, and at most so much (measured)."""
HEAP_SHARE: dict[DeviceKind, float] = {"cpu": 0.10, "cuda": 0.10, "mps": 0.15}
"""Memory that the allocator holds beyond what tensors use, as a share of what comes and goes."""
WORKING_COPIES = 9.0
"""Copies of the largest activation that a layer's forward or backward pass holds besides what is kept."""
ENCODER_COPIES = 6.0
"""Copies of the VAE's widest activation while it encodes one picture."""
DECODER_COPIES, DECODED_PX = 4.5, 1024 * 1024
"""Copies of the VAE's widest activation while it decodes, and about how many pixels it decodes at once (not measured)."""

SHARE_OFF: dict[DeviceKind, float] = {"cpu": 0.06, "cuda": 0.2, "mps": 0.25}
"""How far the peak may be off: on a CPU the largest error over measured runs (0.049), rounded up; elsewhere how far field reports
lie above it (whole cards, desktop and fragments included)."""
CHECKED: dict[DeviceKind, str] = {
    "cpu": "checked against measured runs on a CPU",
    "cuda": "not measured on CUDA: the same counting, with CUDA's rules for mixed precision",
    "mps": "not measured on Apple silicon: the same counting, attention without a fused kernel",
}


@dataclass(frozen=True, kw_only=True)
class MemoryRequest:
    """Everything that decides the memory of a training. Sizes are pixels (width, height)."""

    layout: Layout
    size_wh: tuple[int, int] = (512, 512)
    """The bucket that needs the most."""
    batch: int = 1
    accumulation: int = 1
    precision: str = "no"
    """no, bf16 or fp16: of the frozen base and of activations."""
    int8_base: bool = False
    """The denoiser's weights are held in int8, and made whole layer by layer."""
    device: DeviceKind = "cpu"
    rank: int = 16
    conv_rank: int | None = None
    parts: tuple[LoraPart, ...] = ("text_encoder", "denoiser")
    kind: str = DEFAULT_KIND
    """What is trained: a name of `lora/kinds/`."""
    factor: int = -1
    """LoKr's."""
    choice: LayerChoice = ALL_LAYERS
    """Which layers carry it, and what holds for some of them."""
    modules: Mapping[str, LayerSize] | None = None
    """Sizes by kohya key, where a file decides them."""
    text_tokens: int = 75
    plain_attention: bool = False
    """Attention by matrix products, not by a fused kernel."""
    checkpointing: bool | frozenset[str] = False
    """Whether blocks are computed again in the backward pass: all, none, or those of these names."""
    optimizer: str = DEFAULT_OPTIMIZER
    """Maquette's or another trainer's, by name; see `project/optimizers.py`."""
    preservation_every: int | None = None
    """Every how many forward passes a second one holds the class to the base; None where none does."""
    averages: bool = False
    """A moving average of the weights is kept (ema_decay)."""
    half_adapter: bool = False
    """The adapter itself and its gradients in half precision (sd-scripts' full_bf16)."""
    cached_latents: bool = True
    cached_texts: bool = False
    """Captions are encoded before training, and the text encoders leave the device."""
    keeps_vae: bool = False
    """The VAE stays loaded while training, for samples."""
    encodes_anew: bool = False
    """Some pictures change from showing to showing and are encoded at every step, whatever is cached."""
    cache_bytes: int = 0
    """Latents held in this machine's memory."""
    half_vae: bool = True
    """Whether the VAE follows a half precision (SDXL's cannot in fp16); else it computes in float32."""
    weight_bytes: Mapping[str, int] | None = None
    """Bytes of a value by part (denoiser, text, vae), where they differ from the precision's."""

    def changed(self, **changes: object) -> MemoryRequest:
        """Return a copy with `changes`."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def value_bytes(self) -> int:
        return WEIGHT_BYTES[self.precision]

    @property
    def attention(self) -> AttentionKind:
        """MPS has no fused attention with a backward pass, plain products have none anywhere: every weight is kept."""
        return "math" if self.plain_attention or self.device == "mps" else "fused"

    @property
    def spec(self) -> TrialSpec:
        """The adapter."""
        return TrialSpec(
            kind=self.kind,
            factor=self.factor,
            rank=self.rank,
            conv_rank=self.conv_rank,
            parts=self.parts,
            choice=self.choice,
            modules=self.modules,
        )

    def work(self) -> Workload:
        """Return what one picture costs."""
        work = workload(
            self.layout,
            self.size_wh,
            self.spec,
            text_tokens=self.text_tokens,
            attention=self.attention,
        )
        return work if isinstance(self.checkpointing, bool) else work.recomputing(self.checkpointing)


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The expected peak and what it is made of, bytes."""

    peak_bytes: int
    stage: str
    """When the peak comes: load, encode, train or samples."""
    stages: Mapping[str, int]
    parts: Mapping[str, int]
    """What the peak of training is made of."""
    device: DeviceKind
    share_off: float
    """How far the peak may be off, as a share."""
    note: str

    @property
    def needed_bytes(self) -> int:
        """What the device should have: the peak with its error on top."""
        return round(self.peak_bytes * (1 + self.share_off))

    @property
    def least_bytes(self) -> int:
        """What the run needs if the figure is as much too high as it may be."""
        return round(self.peak_bytes * (1 - self.share_off))

    def to_json(self) -> dict[str, object]:
        return {
            "peak_bytes": self.peak_bytes,
            "stage": self.stage,
            "stages": dict(self.stages),
            "parts": dict(self.parts),
            "share_off": self.share_off,
            "needed_bytes": self.needed_bytes,
            "note": self.note,
        }


def estimate_memory(request: MemoryRequest) -> MemoryPlan:
    """Return the peak memory of the training that `request` describes."""
    counts = parts_of(request.layout)
    sizes = _weight_sizes(request, counts)
    program = PROGRAM_BYTES[request.device]
    if request.device == "cpu":
        values = counts.denoiser + counts.text_encoders + counts.vae
        program += request.cache_bytes + min(round(LOADING_REST_PER_VALUE * values), LOADING_REST_BYTES)
    everything = program + sum(sizes.values())
    # A processor's memory holds the whole base before it is made int8; a card gets it as int8.
    loading = everything + (_int8_saves(request, counts) if request.device == "cpu" else 0)
    parts = {
        "program": program,
        "denoiser": sizes["denoiser"],
        **_texts_while_training(request, sizes),
        **_vae_while_training(request, sizes),
        **_adapter(request),
        **_activations(request),
    }
    stages = {
        "load": loading,
        "encode": everything + _encoding(request),
        "train": _training_peak(parts, holds_gradients=request.preservation_every is not None),
    }
    if request.keeps_vae:
        stages["samples"] = everything + sum(_adapter(request).values()) + _decoding(request)
    stage = max(stages, key=lambda name: stages[name])
    return MemoryPlan(
        peak_bytes=stages[stage],
        stage=stage,
        stages=stages,
        parts=parts,
        device=request.device,
        share_off=SHARE_OFF[request.device],
        note=CHECKED[request.device],
    )


def _weight_sizes(request: MemoryRequest, counts: ModelParts) -> dict[str, int]:
    """Return the bytes of each part of the base."""
    vae_bytes = request.value_bytes if request.half_vae else 4
    each = {
        "denoiser": request.value_bytes,
        "text": request.value_bytes,
        "vae": vae_bytes,
        **(request.weight_bytes or {}),
    }
    values = {"denoiser": counts.denoiser, "text": counts.text_encoders, "vae": counts.vae}
    sizes = {part: values[part] * each[part] for part in values}
    sizes["denoiser"] -= _int8_saves(request, counts)
    return sizes


def _int8_saves(request: MemoryRequest, counts: ModelParts) -> int:
    """Return what int8 takes from the denoiser: all but a byte of each value; scales, biases and norms are next to nothing."""
    each = (request.weight_bytes or {}).get("denoiser", request.value_bytes)
    return round(counts.denoiser * (each - INT8_BYTES)) if request.int8_base else 0


def _vae_while_training(request: MemoryRequest, sizes: Mapping[str, int]) -> dict[str, int]:
    """The VAE goes once latents are cached. On a CPU its memory stays with the process, in pieces for small tensors."""
    anew = request.encodes_anew or not request.cached_latents
    stays = request.keeps_vae or anew or request.device == "cpu"
    return {"VAE": sizes["vae"]} if stays else {}


def _texts_while_training(request: MemoryRequest, sizes: Mapping[str, int]) -> dict[str, int]:
    """Text encoders go like the VAE, where nothing of them trains or draws."""
    goes = request.cached_texts and not request.keeps_vae and "text_encoder" not in request.parts
    return {} if goes and request.device != "cpu" else {"text encoders": sizes["text"]}


def _adapter(request: MemoryRequest) -> dict[str, int]:
    """Weights, gradients and optimizer state of the LoRA; copies in half precision that autocast makes for the layers."""
    trainable = request.work().trainable
    own = 2 if request.half_adapter else 4
    copies = 0 if request.precision == "no" or request.half_adapter else 2
    return {
        "LoRA": trainable * (own + copies),
        "LoRA gradients": trainable * own,
        "optimizer": round(trainable * state_bytes(request.optimizer)),
        # While it is drawn with, the weights that training goes on with are kept beside it.
        **({"average": 2 * 4 * trainable} if request.averages else {}),
    }


def _activations(request: MemoryRequest) -> dict[str, int]:
    """What the backward pass needs of a whole batch, and the working space of the layer at work."""
    work = request.work()
    plain, norms = work.kept_values(checkpointing=bool(request.checkpointing))
    size, norm_size = request.value_bytes, _norm_bytes(request)
    kept = plain * size + norms * norm_size
    if request.checkpointing:
        block_plain, block_norms = work.largest_group()
        kept += block_plain * size + block_norms * norm_size
    largest = work.widest() * size * request.batch
    kept = kept * request.batch + _changes(request, work) + _whole_weight(request)
    coming_and_going = kept + WORKING_COPIES * largest
    return {
        "activations": round(kept),
        "working space": round(WORKING_COPIES * largest + HEAP_SHARE[request.device] * coming_and_going),
    }


def _changes(request: MemoryRequest, work: Workload) -> float:
    """Return the bytes of whole changes of weights, float32, that some kinds of adapters make; of one block where blocks are
    computed again.
    """
    values = change_values(parts_of(request.layout).modules, request.spec)
    blocks = sum(block.times for block in work.blocks) if request.checkpointing else 1
    return 4 * values / max(blocks, 1)


def _whole_weight(request: MemoryRequest) -> float:
    """Return the bytes of the largest weight while it is made whole of int8; a processor makes it in float32 first."""
    if not request.int8_base:
        return 0.0
    layers = [layer for layer in parts_of(request.layout).modules if layer.part == "denoiser"]
    largest = max(math.prod(sizes_of_layer(layer).weight) for layer in layers)
    by_float32 = 4 if request.device == "cpu" and request.value_bytes != 4 else 0
    return largest * (request.value_bytes + by_float32)


def _norm_bytes(request: MemoryRequest) -> int:
    """CUDA's autocast normalizes in float32 and keeps that; the CPU's keeps the precision of the model."""
    return 4 if request.device == "cuda" and not request.half_adapter else request.value_bytes


def _training_peak(parts: Mapping[str, int], *, holds_gradients: bool = False) -> int:
    """Gradients fill up while activations drain: the larger of both stands, not their sum.

    holds_gradients: whether a second pass begins while the first one's gradients are there.
    """
    coming = {"LoRA gradients", "activations", "working space"}
    stays = sum(size for name, size in parts.items() if name not in coming)
    draining = parts["activations"] + parts["working space"]
    if holds_gradients:
        return stays + draining + parts["LoRA gradients"]
    return stays + max(draining, parts["LoRA gradients"] + parts["working space"])


def _encoding(request: MemoryRequest) -> int:
    """Return what encoding one picture takes beside the weights."""
    values = encoding(request.layout, request.size_wh).widest
    return round(ENCODER_COPIES * values * (request.value_bytes if request.half_vae else 4))


def _decoding(request: MemoryRequest) -> int:
    """Return what decoding samples takes beside the weights."""
    width, height = request.size_wh
    values = decoding(request.layout, request.size_wh).widest * max(1.0, DECODED_PX / (width * height))
    return round(DECODER_COPIES * values * (request.value_bytes if request.half_vae else 4))

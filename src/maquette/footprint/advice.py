"""What to change when a training does not fit, in the order of what it costs in quality, and only as much as is needed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maquette.footprint.memory import MemoryRequest, estimate_memory
from maquette.footprint.recomputing import blocks_to_fit
from maquette.project.request import Trainer


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing to change, with the memory that it saves by the model and what it costs."""

    name: str
    setting: str
    """As the trainer spells it."""
    saves_bytes: int
    before_bytes: int
    """What the device should have without this change, those before it made: the peak with its error on top."""
    needed_bytes: int
    """The same with this change."""
    cost: str
    applies: bool = True
    """False where only another trainer has it: then it is not counted."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The settings that make the change, by name; empty where another trainer is meant."""

    def to_json(self) -> dict[str, object]:
        return {**vars(self), "values": dict(self.values)}


LEAST_SAVING = 0.03
"""A change that saves less than this share of the memory is not worth its price, unless it is all that is missing."""
LOWEST_RANK, RANK_STEP = 8, 8


@dataclass(frozen=True)
class _Step:
    name: str
    change: Callable[[MemoryRequest, int], MemoryRequest]
    """The request after it; the second argument is the memory to fit into."""
    maquette: Callable[[MemoryRequest], dict[str, Any]] | None
    """Maquette's settings for the changed request; None where it has no such thing."""
    sd_scripts: Callable[[MemoryRequest], str]
    cost: str
    change_here: Callable[[MemoryRequest, int], MemoryRequest] | None = None
    """The same where Maquette has a gentler way."""
    cost_here: Callable[[MemoryRequest], str] | None = None
    halves: bool = False
    """Whether it computes in half precision, which not every device does."""

    def changed(self, request: MemoryRequest, budget_bytes: int, trainer: Trainer) -> MemoryRequest:
        """Return the request after the step, as `trainer` takes it."""
        own = self.change_here if trainer == "maquette" else None
        return (own or self.change)(request, budget_bytes)

    def price(self, changed: MemoryRequest, trainer: Trainer) -> str:
        """Return what the step costs, in words."""
        own = self.cost_here if trainer == "maquette" else None
        return own(changed) if own else self.cost


def _some_blocks_again(request: MemoryRequest, budget_bytes: int) -> MemoryRequest:
    return request.changed(checkpointing=blocks_to_fit(request, budget_bytes).blocks)


def _price_of_blocks(request: MemoryRequest) -> str:
    """Return what computing blocks again costs: its share of a step's arithmetic."""
    work = request.work()
    again = sum(op.flops * op.times for op in work.ops if op.again)
    share = again / (work.forward_flops() + work.backward_flops())
    names = request.checkpointing if isinstance(request.checkpointing, frozenset) else ()
    return f"Time: {len(names)} blocks are computed again, {share:.0%} more arithmetic. The weights come out the same."


def _lower_rank(request: MemoryRequest, budget_bytes: int) -> MemoryRequest:
    """Return the highest rank that fits, in steps of 8; where none does, the lowest that is worth training."""
    lowest = min(request.rank, max(LOWEST_RANK, request.rank // 8))
    ranks = [lowest, *range(lowest // RANK_STEP * RANK_STEP + RANK_STEP, request.rank, RANK_STEP)]
    fitting = bisect_right(
        ranks, budget_bytes, key=lambda rank: estimate_memory(_with_rank(request, rank)).needed_bytes
    )
    return _with_rank(request, ranks[max(0, fitting - 1)])


def _with_rank(request: MemoryRequest, rank: int) -> MemoryRequest:
    """Return the request at `rank`, convolutions in proportion."""
    conv = request.conv_rank and max(1, request.conv_rank * rank // request.rank)
    return request.changed(rank=rank, conv_rank=conv)


def _smaller(request: MemoryRequest) -> MemoryRequest:
    """Return three quarters of the resolution, in steps of 64."""
    width, height = (max(64, round(side * 3 / 4 / 64) * 64) for side in request.size_wh)
    return request.changed(size_wh=(width, height))


def _resolution(request: MemoryRequest) -> int:
    return round((request.size_wh[0] * request.size_wh[1]) ** 0.5 / 64) * 64


def _spelled(values: Mapping[str, Any]) -> str:
    """Return settings as flags, lists as the file has them."""
    told = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        told.append(
            f"{name} = {value}" if isinstance(value, list) else flag if value is True else f"{flag} {value}"
        )
    return " ".join(told)


INT8_BASE = _Step(
    "int8 base",
    lambda request, _: request.changed(int8_base=request.device != "mps"),
    lambda request: {"base_precision": "int8"},
    lambda request: "--fp8_base",
    "Time: a step takes 2.6 to 2.9 times as long (published, of another trainer; not measured on a GPU here). Weights are off by "
    "up to half a 127th of the largest of their output.",
)
"""The denoiser's weights in a byte each: on a small card before rank and pictures shrink, elsewhere the last of all."""
SMALL_CARD_BYTES = 8_000_000_000

STEPS: tuple[_Step, ...] = (
    _Step(
        "8-bit optimizer",
        lambda request, _: request.changed(
            optimizer="adamw8bit"
            if request.device == "cuda" and "adamw" in request.optimizer
            else request.optimizer
        ),
        lambda request: {"optimizer": "adamw8bit"},
        lambda request: "--optimizer_type AdamW8bit",
        "Little: field notes trained their best runs with it, at learning rates up to 1.2e-4. It needs bitsandbytes.",
    ),
    _Step(
        "bf16",
        lambda request, _: request.changed(
            precision="bf16" if request.precision == "no" else request.precision
        ),
        lambda request: {"precision": "bf16"},
        lambda request: "--mixed_precision bf16",
        "Little: loss 0.1 %, gradient norm 0.4 % off float32 (measured).",
        halves=True,
    ),
    _Step(
        "gradient checkpointing",
        lambda request, _: request.changed(checkpointing=True),
        lambda request: {"fit_memory_gib": 0},
        lambda request: "--gradient_checkpointing",
        "Time: a step takes 1.23 times as long (measured). The weights come out the same.",
        _some_blocks_again,
        _price_of_blocks,
    ),
    _Step(
        "cached latents",
        lambda request, _: request.changed(cached_latents=True),
        lambda request: {"cache_latents": True},
        lambda request: "--cache_latents",
        "None, and a step is faster; random crops are no longer possible.",
    ),
    _Step(
        "no samples on the way",
        lambda request, _: request.changed(keeps_vae=False),
        lambda request: {"sample_prompts": []},
        lambda request: "without --sample_prompts",
        "None: maquette evaluate draws with every checkpoint afterwards.",
    ),
    _Step(
        "batch 1 with accumulation",
        lambda request, _: request.changed(batch=1, accumulation=request.batch * request.accumulation),
        lambda request: {"batch_size": 1, "accumulation": request.accumulation},
        lambda request: f"--train_batch_size 1 --gradient_accumulation_steps {request.accumulation}",
        "Time: the effective batch stays, but small batches use the device less well.",
    ),
    _Step(
        "lower rank",
        _lower_rank,
        lambda request: {
            "rank": request.rank,
            **({"conv_rank": request.conv_rank} if request.conv_rank else {}),
        },
        lambda request: (
            f"--network_dim {request.rank}"
            + (f" --network_args conv_dim={request.conv_rank}" if request.conv_rank else "")
        ),
        "Capacity: lower alpha in the same proportion. One character was learned well at rank 32, one of a film at 64.",
    ),
    _Step(
        "smaller pictures",
        lambda request, _: _smaller(request),
        lambda request: {"resolution": _resolution(request)},
        lambda request: f"--resolution {_resolution(request)}",
        "Detail: the LoRA learns less of what is small, such as eyes and hands.",
    ),
    _Step(
        "frozen text encoders",
        lambda request, _: request.changed(parts=("denoiser",)),
        lambda request: {"text_encoder_lr": 0},
        lambda request: "--network_train_unet_only",
        "The trigger word binds less firmly: the subject appears less reliably by its name alone.",
    ),
)


def changes_to_fit(
    request: MemoryRequest, budget_bytes: int, trainer: Trainer = "maquette", *, bf16: bool = True
) -> tuple[Change, ...]:
    """Return the changes that bring the memory needed within `budget_bytes`, cheapest first; all that help if none suffices.

    A change that saves next to nothing is left out. One that only another trainer has is listed with what it would save
    there, and not counted. bf16: whether the device computes in it.
    """
    changes: list[Change] = []
    current, peak = request, estimate_memory(request).needed_bytes
    for step in _in_order(request, budget_bytes):
        if peak <= budget_bytes:
            break
        if step.halves and not bf16:
            continue
        changed = step.changed(current, budget_bytes, trainer)
        after = estimate_memory(changed).needed_bytes
        if after >= peak or (after > budget_bytes and peak - after < LEAST_SAVING * budget_bytes):
            continue
        here = trainer == "sd-scripts" or step.maquette is not None
        values = step.maquette(changed) if trainer == "maquette" and step.maquette else {}
        spelled = _spelled(values) if values else step.sd_scripts(changed)
        changes.append(
            Change(
                name=step.name,
                setting=spelled if here else f"sd-scripts only: {spelled}",
                saves_bytes=peak - after,
                before_bytes=peak,
                needed_bytes=after if here else peak,
                cost=step.price(changed, trainer),
                applies=here,
                values=values,
            )
        )
        if here:
            current, peak = changed, after
    return tuple(changes)


def _in_order(request: MemoryRequest, budget_bytes: int) -> tuple[_Step, ...]:
    """Return all steps, cheapest first on a device with so much memory."""
    if request.device == "cpu" or budget_bytes >= SMALL_CARD_BYTES:
        return (*STEPS, INT8_BASE)
    place = next(index for index, step in enumerate(STEPS) if step.name == "lower rank")
    return (*STEPS[:place], INT8_BASE, *STEPS[place:])


def fits_after(changes: Sequence[Change], needed_bytes: int, budget_bytes: int) -> bool:
    """Return whether the run fits once `changes` are made."""
    applied = [change.needed_bytes for change in changes if change.applies]
    return (applied[-1] if applied else needed_bytes) <= budget_bytes

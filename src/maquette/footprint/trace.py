"""Runs a base model's skeleton with a LoRA in it on the meta device, and writes down what is computed and kept.

Nothing here knows what a network is made of: every layer, convolution and attention that a forward pass calls is seen
as torch calls it, every value that autograd keeps for the backward pass as it is packed away, and every block that
gradient checkpointing would compute again by the function that the libraries call for it.

A pass is traced at three sizes. Each number is linear in the latent's positions N and the text's units U (attention's
cost follows from its lengths), so three points give it for any size; values inside an adapter are told apart by the
marker ranks, so they are known for any rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from maquette.families.common.recomputing import block_of, module_names
from maquette.families.protocol import BaseModel, LoraPart, PictureSize
from maquette.lora.adapter import LoraAdapter
from maquette.lora.config import TrialSpec

RANK, CONV_RANK = 11, 13
"""Marker ranks: no size of a real network is one of them, so values inside an adapter are known by it."""
UNIT_PX = 64
"""Sides of the traced pictures are one and two of these, as buckets are."""
NORMS = (F.group_norm, F.layer_norm, F.rms_norm)
TORCHS_OWN = (
    "use_reentrant", "context_fn", "determinism_check", "debug", "early_stop", "preserve_rng_state",
)  # fmt: skip
"""Keywords of torch's checkpointing itself, not of the block."""
ATTENDED = ("query", "key", "value")


@dataclass
class Seen:
    """One operation as it was seen."""

    part: LoraPart
    kind: str
    shape: tuple[int, int, int, int] = (0, 1, 1, 1)
    """(positions, inputs, outputs, window) of a layer, (queries, keys, width, heads) of attention."""
    rows: int = 1
    """How many of them run beside each other."""
    weights: int = 0
    with_gradient: bool = False
    group: int | None = None
    kept: int = 0
    kept_rank: int = 0
    """Values kept times the adapter's rank."""
    kept_conv_rank: int = 0

    @property
    def identity(self) -> tuple[object, ...]:
        """What is the same at every size."""
        return self.part, self.kind, self.shape[2:], self.weights, self.with_gradient, self.group


@dataclass
class Recording:
    """Everything seen in one pass."""

    seen: list[Seen] = field(default_factory=list)
    group_inputs: list[int] = field(default_factory=list)
    group_names: list[str] = field(default_factory=list)


class Recorder(TorchFunctionMode):
    """Sees every torch function that is called within, and what autograd keeps of each."""

    def __init__(self, known: Sequence[nn.Module], names: Mapping[int, str] | None = None) -> None:
        """`known`: modules whose own values are not counted as kept; `names`: those of blocks, by their modules' identity."""
        super().__init__()
        self._names = names or {}
        self._known = {
            _storage(tensor) for module in known for tensor in (*module.parameters(), *module.buffers())
        }
        self.begin()

    def begin(self) -> None:
        """Forget everything, for another pass."""
        self.recording = Recording()
        self.part: LoraPart = "denoiser"
        self._kept: dict[int, Tensor] = {}
        self._block_inputs: dict[int, Tensor] = {}
        self._current: Seen | None = None
        self._adapted: Seen | None = None
        self._within_adapter = False
        self._group: int | None = None
        self._normed: dict[int, Tensor] = {}
        self._of_norm = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is Tensor.__bool__:
            return True  # "are all values finite?": on the meta device there are none
        self._current, self._of_norm = None, False
        if func is F.linear:
            x, weight = args[:2]
            self._layer(x, weight, x.numel() // weight.shape[1])
        elif func is F.conv2d:
            return self._convolution(args, given)
        elif func in NORMS:
            return self._norm(func, args, given)
        elif func is F.scaled_dot_product_attention:
            return self._attention(*args[:3], **{name: given[name] for name in ATTENDED if name in given})
        self._of_norm = bool(args) and isinstance(args[0], Tensor) and _storage(args[0]) in self._normed
        return func(*args, **given)

    # --- operations ----------------------------------------------------------------------------------------

    def _add(self, kind: str, inputs: Sequence[Tensor], **values: Any) -> Seen:
        gradient = any(tensor.requires_grad for tensor in inputs)
        seen = Seen(self.part, kind, with_gradient=gradient, group=self._group, **values)
        self.recording.seen.append(seen)
        return seen

    def _layer(self, x: Tensor, weight: Tensor, positions: int) -> Seen:
        if self._within_adapter and self._adapted is not None:
            self._current = self._adapted  # the adapter's own two layers belong to the layer that it adapts
            return Seen(self.part, "adapter")
        outputs, inputs = weight.shape[:2]
        window = math.prod(weight.shape[2:])
        shape = (positions, int(inputs), int(outputs), window)
        kind = "conv" if window > 1 else "linear"
        self._current = self._add(kind, [x], shape=shape, weights=weight.numel())
        if self._within_adapter:
            self._adapted = self._current
        return self._current

    def _convolution(self, args: tuple[Any, ...], given: dict[str, Any]) -> Tensor:
        x, weight = args[0], args[1] if len(args) > 1 else given["weight"]
        seen = self._layer(x, weight, 0)
        out: Tensor = F.conv2d(*args, **given)
        seen.shape = (out.numel() // out.shape[1], *seen.shape[1:])
        return out

    def _norm(self, func: Any, args: tuple[Any, ...], given: dict[str, Any]) -> Tensor:
        self._of_norm = True
        out: Tensor = func(*args, **given)
        self._normed[_storage(out)] = out
        return out

    def _attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        *rows, heads, queries, width = query.shape
        shape = (queries, key.shape[-2], heads * width, heads)
        self._current = self._add("attention", [query, key, value], shape=shape, rows=math.prod(rows))
        return _Attention.apply(query, key, value)

    # --- what autograd keeps -------------------------------------------------------------------------------

    def pack(self, tensor: Tensor) -> Tensor:
        """Note that autograd keeps `tensor`; each storage counts once, where it was first kept."""
        storage = _storage(tensor)
        if storage in self._known or storage in self._kept:
            return tensor
        self._kept[storage] = tensor
        values = tensor.untyped_storage().nbytes() // tensor.element_size()
        seen = self._keeper()
        if self._within_adapter and RANK in tensor.shape:
            seen.kept_rank += values // RANK
        elif self._within_adapter and CONV_RANK in tensor.shape:
            seen.kept_conv_rank += values // CONV_RANK
        else:
            seen.kept += values
        return tensor

    def _keeper(self) -> Seen:
        """Return the operation that keeps something now: a norm, what follows one, or what is pointwise otherwise."""
        if self._current is None:
            self._current = self._adapted if self._within_adapter else None
        if self._current is None:
            self._current = self._add("norm" if self._of_norm else "pointwise", [])
            self._current.with_gradient = True
        return self._current

    # --- modules -------------------------------------------------------------------------------------------

    def watch_adapter(self, adapter: LoraAdapter, model: BaseModel) -> None:
        """Tell the layers of `adapter`, which stands in `model`, apart from the base's."""
        self._known |= {_storage(parameter) for parameter in adapter.parameters()}
        for target in model.lora_targets():
            if target.key in adapter.layers:
                target.module.forward = self._around(target.module.forward)

    def _around(self, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def adapted(*args: Any, **kwargs: Any) -> Tensor:
            self._within_adapter, self._adapted = True, None
            try:
                return forward(*args, **kwargs)
            finally:
                self._within_adapter, self._adapted = False, None

        return adapted

    def checkpoint(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Stand in for torch's checkpointing: note the block and what it would keep, and compute it."""
        kwargs = {name: value for name, value in kwargs.items() if name not in TORCHS_OWN}
        if self._group is not None:
            return function(*args, **kwargs)
        fresh = {
            _storage(tensor): tensor
            for tensor in (*args, *kwargs.values())
            if isinstance(tensor, Tensor) and _storage(tensor) not in self._known
        }
        fresh = {
            storage: tensor
            for storage, tensor in fresh.items()
            if storage not in self._block_inputs and storage not in self._kept
        }
        self._group = len(self.recording.group_inputs)
        self.recording.group_names.append(self._names[id(block_of(function))])
        before = len(self._kept)
        try:
            result = function(*args, **kwargs)
        finally:
            self._group = None
        keeps = len(self._kept) > before  # a block before the first adapted layer keeps nothing
        self.recording.group_inputs.append(sum(each.numel() for each in fresh.values()) if keeps else 0)
        if keeps:
            self._block_inputs |= fresh
        return result


class _Attention(torch.autograd.Function):
    """Stands in for every kernel: it keeps what all of them keep, queries, keys, values and the result."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # Fused kernels lay the result out as the projections are: putting heads side by side again copies nothing.
        *rows, heads, queries, _ = query.shape
        out = query.new_empty(*rows, queries, heads, value.shape[-1]).transpose(-3, -2)
        ctx.save_for_backward(query, key, value, out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("a trace has no backward pass")


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


@contextmanager
def _checkpoints_told_to(recorder: Recorder, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within, blocks that would be computed again call the recorder, by whatever way their library calls."""
    for module in (inner for outer in modules for inner in outer.modules()):
        if getattr(module, "_gradient_checkpointing_func", None) is not None:
            setattr(module, "_gradient_checkpointing_func", recorder.checkpoint)  # noqa: B010 (a module's own types)
    real = torch.utils.checkpoint.checkpoint
    torch.utils.checkpoint.checkpoint = recorder.checkpoint
    try:
        yield
    finally:
        torch.utils.checkpoint.checkpoint = real


SIZES = ((1, 1, 1), (2, 1, 1), (1, 1, 2))
"""The traced passes: width and height of the picture in UNIT_PX, units of text."""


def trace_training(model: BaseModel, parts: Sequence[LoraPart], *, conv: bool) -> list[Recording]:
    """Return what a training pass of one picture computes and keeps, at each of SIZES; the skeleton `model` is used up.

    `parts` are adapted; with `conv` so are 3x3 convolutions. A frozen text encoder runs once a caption: it is left out.
    """
    model.set_gradient_checkpointing(True)
    spec = TrialSpec(
        rank=RANK,
        alpha=1,
        conv_rank=CONV_RANK if conv else None,
        conv_alpha=1 if conv else None,
        parts=tuple(parts),
    )
    adapter = LoraAdapter.attach(model, [spec])
    networks = (model.denoiser, *model.text_encoders)
    recorder = Recorder(networks, module_names(model.denoiser, model.text_encoders))
    recorder.watch_adapter(adapter, model)
    recordings = []
    for width, height, units in SIZES:
        recorder.begin()
        with (
            _checkpoints_told_to(recorder, networks),
            saved_tensors_hooks(recorder.pack, lambda tensor: tensor),
        ):
            _pass(model, recorder, (width * UNIT_PX, height * UNIT_PX), units, "text_encoder" in parts)
        recordings.append(recorder.recording)
    return recordings


def _pass(
    model: BaseModel, recorder: Recorder, size_wh: tuple[int, int], units: int, trains_text: bool
) -> None:
    """Encode a text and predict, as one training step does for one picture."""
    (width, height), factor = size_wh, model.info.vae_factor
    tokens = model.tokenize([""], max_tokens=units * model.text_unit)
    if trains_text:
        recorder.part = "text_encoder"
        with recorder:
            conditioning = model.encode_text(tokens)
    else:
        with torch.no_grad():
            conditioning = model.encode_text(tokens)
    recorder.part = "denoiser"
    noisy = torch.empty(1, model.info.latent_channels, height // factor, width // factor, device="meta")
    timesteps = model.objective.sample_timesteps(1)
    with recorder:
        model.predict(noisy, timesteps, conditioning, [PictureSize((height, width), (0, 0), (height, width))])


def trace_coding(model: BaseModel) -> tuple[list[Recording], list[Recording]]:
    """Return what encoding one picture, and decoding one, computes at each of SIZES (their texts mean nothing here)."""
    encoding, decoding = [], []
    recorder = Recorder([model.vae])
    factor = model.info.vae_factor
    for width, height, _ in SIZES:
        recorder.begin()
        with recorder:
            model.encode_pictures(torch.empty(1, 3, height * UNIT_PX, width * UNIT_PX, device="meta"))
        encoding.append(recorder.recording)
        recorder.begin()
        shape = (1, model.info.latent_channels, height * UNIT_PX // factor, width * UNIT_PX // factor)
        with recorder:
            model.decode_latents(torch.empty(shape, device="meta"))
        decoding.append(recorder.recording)
    return encoding, decoding

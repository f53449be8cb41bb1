"""How large a LoRA becomes, known before anything is loaded: trained values and bytes on disk. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from maquette.families import LoraModule, layout_of, parts_of
from maquette.families.protocol import LayerKind, ModelInfo
from maquette.lora.choosing import LayerSize
from maquette.lora.config import TrialSpec
from maquette.lora.kinds import KINDS
from maquette.lora.kinds.protocol import AdapterKind, Sizes

Precision = Literal["fp32", "fp16", "bf16"]
VALUE_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
WINDOWS: dict[LayerKind, tuple[int, ...]] = {"linear": (), "conv1x1": (1, 1), "conv3x3": (3, 3)}
HEADER_BYTES_PER_TENSOR = 136
"""A tensor's line in the file's header: names are 70 letters on average, shape and offsets take the rest."""


def lora_parameters(info: ModelInfo, spec: TrialSpec) -> int:
    """Return how many values the adapter `spec` has on the model that `info` describes."""
    return adapter_values(parts_of(layout_of(info)).modules, spec)


def adapter_values(modules: Iterable[LoraModule], spec: TrialSpec) -> int:
    """Return how many values the adapter `spec` has on a model with these adaptable layers."""
    return sum(_values(layer, size, spec) for layer, size in adapted(modules, spec))


def lora_file_bytes(info: ModelInfo, spec: TrialSpec, *, precision: Precision = "fp16") -> int:
    """Return the size of the saved file in bytes: exact for the tensors, about 1 % off for header and metadata.

    Rank 32 on the published SD 1.5, text encoder included: 36 MiB in float16, 72 MiB in float32.
    """
    values = 0
    tensors = 0
    for layer, size in adapted(parts_of(layout_of(info)).modules, spec):
        values += _values(layer, size, spec) + 1  # and alpha, which is one number
        tensors += len(_form(layer, size, spec).tensors) + 1
    return values * VALUE_BYTES[precision] + tensors * HEADER_BYTES_PER_TENSOR


def adapted(modules: Iterable[LoraModule], spec: TrialSpec) -> list[tuple[LoraModule, LayerSize]]:
    """Return the layers that carry the adapter, each with its size there."""
    sized = ((layer, spec.size_of(layer)) for layer in modules)
    return [(layer, size) for layer, size in sized if size is not None]


def mean_ranks(modules: Iterable[LoraModule], spec: TrialSpec) -> tuple[float, float]:
    """Return the ranks that all adaptable layers would have alike for as many values kept: (of 3×3 convolutions the second).

    Layers that are left out count as of rank 0.
    """
    plain: list[int] = []
    convolutions: list[int] = []
    for layer in modules:
        if layer.part in spec.parts:
            size = spec.size_of(layer)
            (convolutions if layer.kind == "conv3x3" else plain).append(size.rank if size else 0)
    return sum(plain) / max(len(plain), 1), sum(convolutions) / max(len(convolutions), 1)


def change_values(modules: Iterable[LoraModule], spec: TrialSpec) -> float:
    """Return how many values a training pass keeps of whole changes of weights; 0 for a kind that makes none."""
    copies = KINDS[spec.kind].weight_copies
    if not copies:
        return 0.0
    return copies * sum(math.prod(sizes_of_layer(layer).weight) for layer, _ in adapted(modules, spec))


def sizes_of_layer(layer: LoraModule) -> Sizes:
    """Return a layer's sizes as kinds of adapters ask for them."""
    return Sizes(layer.inputs, layer.outputs, WINDOWS[layer.kind])


def _values(layer: LoraModule, size: LayerSize, spec: TrialSpec) -> int:
    sizes = sizes_of_layer(layer)
    return sum(math.prod(shape) for shape in spec.form_on(size, sizes).shapes(sizes, size.rank))


def _form(layer: LoraModule, size: LayerSize, spec: TrialSpec) -> AdapterKind:
    return spec.form_on(size, sizes_of_layer(layer))

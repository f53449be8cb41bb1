"""Where a base model keeps the weight of each layer that an adapter may stand on: for tools that change or compare weights
tensor by tensor, without the model.

    for place in weight_places("model.safetensors"):
        weight = place.of(read(place.entry))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from maquette.families.common.header import TensorEntry
from maquette.families.common.keymap import Change
from maquette.families.protocol import LoraTarget

if TYPE_CHECKING:
    from torch import Tensor, nn

    from maquette.families.common.assemble import Part
    from maquette.families.common.model import Networks


@dataclass(frozen=True)
class WeightPlace:
    """One adaptable layer and the tensor that holds its weight."""

    target: LoraTarget
    """Its module has no weights."""
    entry: TensorEntry
    change: Change

    def of(self, tensor: Tensor) -> Tensor:
        """Return the layer's weight within `tensor`, which is as the file has it: a view, so that writing there changes it."""
        import torch

        weight = self.target.module.weight
        assert isinstance(weight, torch.Tensor)
        if self.change in ("q", "k", "v"):
            tensor = tensor.chunk(3)["qkv".index(self.change)]
        return (tensor.t() if self.change == "transpose" else tensor).view(weight.shape)


def places_of(
    denoiser: Part, encoders: Sequence[Part], targets_of: Callable[[Networks], Iterable[LoraTarget]]
) -> tuple[WeightPlace, ...]:
    """Return where parts without weights have theirs, in the order of `targets_of`. Raises ModelError for what is missing."""
    from maquette.families.common.weights import check

    networks = SimpleNamespace(
        denoiser=denoiser.module, text_encoders=tuple(part.module for part in encoders)
    )
    targets = list(targets_of(cast("Networks", networks)))
    found: dict[int, tuple[TensorEntry, Change]] = {}
    for part in (denoiser, *encoders):
        bindings = {binding.module_key: binding for binding in part.bindings}
        adapted = [f"{name}.weight" for name in _names_of(part.module, targets)]
        shapes = {key: tuple(value.shape) for key, value in part.module.state_dict().items()}
        check([bindings[key] for key in adapted], part.entries, shapes, part.where)
        for key in adapted:
            binding = bindings[key]
            module = part.module.get_submodule(key.removesuffix(".weight"))
            found[id(module)] = part.entries[binding.file_key], binding.change
    return tuple(WeightPlace(target, *found[id(target.module)]) for target in targets)


def _names_of(module: nn.Module, targets: Iterable[LoraTarget]) -> Iterator[str]:
    wanted = {id(target.module) for target in targets}
    yield from (name for name, child in module.named_modules() if id(child) in wanted)

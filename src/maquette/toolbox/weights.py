"""The weights of a base model's adaptable layers, read one by one: no model is built with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from maquette.errors import LoraError, Problem
from maquette.families import weight_places
from maquette.families.common.places import WeightPlace
from maquette.families.common.weights import read_tensor
from maquette.families.protocol import ModelInfo
from maquette.lora.state import ModuleWeights, match_problems


@dataclass(frozen=True)
class BaseWeights:
    """Where a base has the weight of each adaptable layer, by kohya key."""

    info: ModelInfo
    places: Mapping[str, WeightPlace]

    def read(self, key: str) -> Tensor:
        """Return one layer's weight, float32."""
        place = self.places[key]
        scratch = torch.empty(place.entry.num_bytes, dtype=torch.uint8)
        return place.of(read_tensor(place.entry, scratch)).float()

    def require_fit(self, path: Path, modules: Mapping[str, ModuleWeights]) -> None:
        """Raise LoraError where the LoRA at `path` does not stand on this base: names, then sizes."""
        targets = {key: place.target.module for key, place in self.places.items()}
        problems = match_problems(modules, targets, str(path))
        if not modules:
            problems.append(Problem(str(path), "holds no module", "a LoRA", "Choose another file."))
        if problems:
            raise LoraError(problems)


def base_weights(base: str | Path) -> BaseWeights:
    """Return where `base` (a single file, a diffusers folder, a hub name) has its weights. Raises ModelError."""
    info, places = weight_places(base)
    return BaseWeights(info, {place.target.key: place for place in places})

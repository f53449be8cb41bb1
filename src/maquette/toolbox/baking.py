"""LoRAs merged into a single-file base model, which is written anew tensor by tensor.

    W′ = round(W + Σ sᵢ ΔWᵢ)      summed in float64, rounded once, to the file's own precision

A DoRA or OFT changes the weight as those before it left it, as drawing programs have it. What stays is copied byte for byte.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from maquette.errors import LoraError, ModelError, Problem
from maquette.events import Artifact, Finished, Progress, Stage, Started
from maquette.families.common.header import TensorEntry, read_header
from maquette.lora.files import DTYPES
from maquette.lora.size import Precision
from maquette.toolbox.merge import strengths_of
from maquette.toolbox.metadata import names_with_strengths, without_hashes
from maquette.toolbox.opening import OpenedLora, open_lora
from maquette.toolbox.options import MergeOptions
from maquette.toolbox.streaming import TORCH_DTYPES, rewrite
from maquette.toolbox.weights import BaseWeights, base_weights
from maquette.toolbox.writing import place_for

STAGE = "merge"


@dataclass(frozen=True, kw_only=True)
class Baked:
    """A base model that LoRAs became part of."""

    path: Path
    family: str
    layers: int
    """Adaptable layers whose weights changed."""
    num_bytes: int
    rounding: float
    """‖what was to be added − what was‖ / ‖what was to be added‖: how much the file's precision blurs the change."""


@dataclass
class _Sums:
    """Squared norms over all tensors."""

    wanted: float = 0.0
    missed: float = 0.0
    layers: set[str] = field(default_factory=set)


def merge_into_base_events(paths: Sequence[Path], options: MergeOptions) -> Stage[Baked]:
    """Write the base with the LoRAs at `paths` in it, each at its strength. What is wrong is raised before."""
    assert options.base is not None
    strengths = strengths_of(paths, options)
    base = base_weights(options.base)
    _require_single_file(base, options)
    loras = [open_lora(path, base) for path in paths]
    for lora in loras:
        base.require_fit(lora.path, lora.modules)
    file = Path(base.info.path)
    output = place_for(file, options.output, "merged", overwrite=options.overwrite)
    header = read_header(file)
    metadata = {
        **without_hashes(header.metadata),
        "modelspec.merged_from": ", ".join((file.stem, names_with_strengths(paths, strengths))),
        "modelspec.title": output.stem,
    }
    sums = _Sums()
    keys = _keys_by_tensor(base, loras)
    merging = _Merging(base, list(zip(loras, strengths, strict=True)), keys, options.dtype, sums)
    yield Started(STAGE, len(header.tensors), "tensor")
    writing = rewrite(
        output,
        header.tensors,
        metadata,
        changes=lambda name: name in keys,
        changed=merging.changed,
        precision=options.dtype,
    )
    for number, _ in enumerate(writing, 1):
        yield Progress(STAGE, number, len(header.tensors), "tensor")
    yield Finished(STAGE)
    yield Artifact("model", output)
    return Baked(
        path=output,
        family=base.info.family,
        layers=len(sums.layers),
        num_bytes=output.stat().st_size,
        rounding=math.sqrt(sums.missed / sums.wanted) if sums.wanted else 0.0,
    )


def _require_single_file(base: BaseWeights, options: MergeOptions) -> None:
    if base.info.layout != "single-file":
        remedy = "Use the model's single-file version, or diffusers' own fuse_lora."
        raise ModelError(
            Problem(f"--base {options.base}", "a diffusers folder", "a single .safetensors file", remedy)
        )
    if options.rank is not None or options.conv_rank is not None:
        raise LoraError(
            Problem(
                "--rank", "given together with --base", "one of them", "A base has no rank: leave it out."
            )
        )


def _keys_by_tensor(base: BaseWeights, loras: Sequence[OpenedLora]) -> dict[str, list[str]]:
    """Return which layers each tensor of the file holds that a LoRA changes: open_clip keeps three in one."""
    keys: dict[str, list[str]] = defaultdict(list)
    for key, place in base.places.items():
        if any(key in lora.modules for lora in loras):
            keys[place.entry.name].append(key)
    return dict(keys)


@dataclass
class _Merging:
    """What the streaming writer asks for new values."""

    base: BaseWeights
    loras: Sequence[tuple[OpenedLora, float]]
    keys: Mapping[str, Sequence[str]]
    precision: Precision | None
    sums: _Sums

    @torch.no_grad()
    def changed(self, entry: TensorEntry, stored: Tensor) -> Tensor:
        """Return the tensor with every LoRA's change of its layers, float64."""
        before = stored.double()
        values = before.clone()
        for key in self.keys[entry.name]:
            weight = self.base.places[key].of(values)
            for lora, strength in self.loras:
                if key in lora.modules and strength:
                    under = weight.float() if lora.modules[key].kind.needs_base else None
                    change = lora.change(key, under).times(strength)
                    weight += change.matrix().reshape(weight.shape)
                    self.sums.layers.add(key)
        self._count(entry, before, values)
        return values

    def _count(self, entry: TensorEntry, before: Tensor, values: Tensor) -> None:
        dtype = DTYPES[self.precision] if self.precision else TORCH_DTYPES[entry.dtype]
        written = values.to(dtype).double()
        if not torch.isfinite(written).all():
            remedy = "Merge at a lower strength, or write it as fp32."
            raise LoraError(
                Problem(entry.name, f"the merged weights are no finite numbers in {dtype}", "numbers", remedy)
            )
        self.sums.wanted += float((values - before).square().sum())
        self.sums.missed += float((values - written).square().sum())

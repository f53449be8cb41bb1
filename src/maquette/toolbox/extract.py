"""A LoRA out of the difference between a fine-tuned model and its base, by singular values of each weight's difference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from maquette.errors import ModelError, Problem
from maquette.events import Artifact, Finished, Message, Progress, Stage, Started
from maquette.families import FAMILIES
from maquette.families.common.header import TensorEntry, read_header
from maquette.families.common.weights import TORCH_DTYPES, read_tensor
from maquette.families.protocol import LoraTarget
from maquette.lora.layer import sizes_of
from maquette.lora.size import Precision
from maquette.lora.state import ModuleWeights
from maquette.toolbox.changes import Change, Parts, change_of, parts_of
from maquette.toolbox.metadata import described
from maquette.toolbox.options import ExtractOptions
from maquette.toolbox.weights import BaseWeights, base_weights
from maquette.toolbox.writing import (
    Errors,
    Written,
    place_for,
    plain,
    plain_of_parts,
    rounded,
    save_modules,
)

STAGE = "extract"


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What of the difference lies in tensors that no LoRA stands on: norms, biases, embeddings, the VAE."""

    tensors: int
    """How many of them differ."""
    norm: float
    """Of their difference together."""
    largest: str | None


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """The LoRA, and what it could not hold."""

    written: Written
    outside: Outside | None
    """None where the two are no single files, which alone are compared so."""


def extract_events(tuned: Path, options: ExtractOptions) -> Stage[Extracted]:
    """Write what `tuned` learned from `options.base` as a LoRA. Raises ModelError where they are no two models of one kind."""
    own, base = base_weights(tuned), base_weights(options.base)
    _require_same(own, base, tuned, options)
    output = place_for(tuned, options.output, f"rank-{options.rank}", overwrite=options.overwrite)
    precision: Precision = options.dtype or "fp16"
    errors, made, left_out = Errors(), dict[str, ModuleWeights](), list[str]()
    skipped = _same_text(own, base, options.min_difference)
    yield Started(STAGE, len(base.places), "layer")
    for number, (key, place) in enumerate(base.places.items(), 1):
        change = _difference(own, base, key)
        rank = _rank(place.target, options)
        if rank is None or place.target.part in skipped:
            left_out += [key] if change.squared else []
            errors.add(key, change, None)
        elif change.squared:
            made[key] = _extracted(change, rank, options.clamp_quantile, precision)
            errors.add(key, change, change_of(key, made[key]))
        yield Progress(STAGE, number, len(base.places), "layer")
    yield Finished(STAGE)
    if not made:
        given = f"its weights are those of {options.base}"
        raise ModelError(
            Problem(str(tuned), given, "a model that was fine-tuned from it", "Name another one.")
        )
    spec = FAMILIES[base.info.family].spec
    metadata = described({"ss_v2": str(spec.needs_v2)}, made, base.info.family, output.stem)
    written = save_modules(output, made, metadata, precision, errors=errors, left_out=left_out)
    yield Artifact("lora", output)
    outside = _outside(own, base)
    if outside is not None and outside.tensors:
        yield Message(f"{outside.tensors} tensors differ that no LoRA stands on, most in {outside.largest}.")
    return Extracted(written=written, outside=outside)


def _require_same(own: BaseWeights, base: BaseWeights, tuned: Path, options: ExtractOptions) -> None:
    shapes = {key: place.target.module.weight.shape for key, place in base.places.items()}
    fits = own.places.keys() == base.places.keys() and all(
        place.target.module.weight.shape == shapes[key] for key, place in own.places.items()
    )
    if own.info.family != base.info.family or not fits:
        what = (
            "its layers have other sizes"
            if own.info.family == base.info.family
            else f"it is {own.info.title}"
        )
        raise ModelError(
            Problem(
                str(tuned),
                what,
                f"a model fine-tuned from {options.base} ({base.info.title})",
                "Name the base that it was fine-tuned from.",
            )
        )


def _rank(target: LoraTarget, options: ExtractOptions) -> int | None:
    return options.conv_rank if target.kind == "conv3x3" else options.rank


def _difference(own: BaseWeights, base: BaseWeights, key: str) -> Change:
    kernel = sizes_of(base.places[key].target.module).kernel
    return Change((own.read(key).double() - base.read(key).double()).flatten(1), None, kernel)


def _same_text(own: BaseWeights, base: BaseWeights, bound: float) -> tuple[str, ...]:
    """Return the part whose layers are left out: the text encoders, where none of their weights differs by more than `bound`."""
    text = [key for key, place in base.places.items() if place.target.part == "text_encoder"]
    if not bound or any(float(_difference(own, base, key).left.abs().max()) > bound for key in text):
        return ()
    return ("text_encoder",)


def _extracted(change: Change, rank: int, quantile: float, precision: Precision) -> ModuleWeights:
    parts = parts_of(change)
    shortened = parts.first(max(min(rank, int((parts.values > 0).sum())), 1))
    if quantile >= 1:
        return rounded(plain_of_parts(shortened, precision), precision)
    return rounded(_clamped(shortened, quantile), precision)


def _clamped(parts: Parts, quantile: float) -> ModuleWeights:
    """Return U·S and Vᵀ as the factors, all their values clamped as sd-scripts clamps them.

    It takes a quantile of signed values, which depends on the signs that an SVD happens to give its vectors; where either sign is
    as likely that is this quantile of sizes.
    """
    left, right = (parts.left * parts.values).float(), parts.right.float()
    sizes = torch.cat([left.flatten(), right.flatten()]).abs()
    bound = float(sizes.kthvalue(max(math.ceil((2 * quantile - 1) * len(sizes)), 1)).values)
    return plain(
        left.clamp(-bound, bound), right.clamp(-bound, bound), float(len(parts.values)), parts.kernel
    )


# --- what no LoRA holds ----------------------------------------------------------------------------------


def _outside(own: BaseWeights, base: BaseWeights) -> Outside | None:
    if own.info.layout != "single-file" or base.info.layout != "single-file":
        return None
    adapted = {place.entry.name for place in base.places.values()}
    squares = dict(_squares(own, base, adapted))
    largest = max(squares, key=lambda name: squares[name], default=None)
    return Outside(tensors=len(squares), norm=math.sqrt(sum(squares.values())), largest=largest)


def _squares(own: BaseWeights, base: BaseWeights, adapted: set[str]) -> Iterator[tuple[str, float]]:
    """Yield the tensors beside the adapted ones that differ, with the squared norm of their difference."""
    theirs = read_header(Path(base.info.path)).tensors
    for name, entry in read_header(Path(own.info.path)).tensors.items():
        other = theirs.get(name)
        known = other is not None and other.shape == entry.shape and name not in adapted
        if known and other is not None and {entry.dtype, other.dtype} <= TORCH_DTYPES.keys():
            squared = float((_values(entry) - _values(other)).square().sum())
            if squared:
                yield name, squared


def _values(entry: TensorEntry) -> Tensor:
    return read_tensor(entry, torch.empty(entry.num_bytes, dtype=torch.uint8)).double()

"""Several LoRAs as one: their ranks beside each other, which is exact, or the best approximation of their sum at a rank.

s₁B₁A₁ + s₂B₂A₂ = [s₁B₁ s₂B₂] · [A₁; A₂]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from maquette.errors import ConfigError, LoraError, Problem
from maquette.events import Artifact, Finished, Progress, Stage, Started
from maquette.lora.size import VALUE_BYTES, Precision
from maquette.lora.state import ModuleWeights
from maquette.toolbox.changes import Change, change_of, joined
from maquette.toolbox.metadata import merged, names_with_strengths
from maquette.toolbox.opening import (
    OpenedLora,
    open_lora,
    require_base_for,
    require_kernels,
    require_plain,
    require_same_model,
)
from maquette.toolbox.options import MergeOptions
from maquette.toolbox.shortening import shortened
from maquette.toolbox.truncation import Truncation
from maquette.toolbox.writing import Errors, Written, place_for, plain, rounded, save_modules, storable_alpha

STAGE = "merge"


def strengths_of(paths: Sequence[Path], options: MergeOptions) -> tuple[float, ...]:
    """Return a strength for each file. Raises ConfigError where as many were not given."""
    given = options.strengths or (1.0,)
    if len(given) == 1:
        return given * len(paths)
    if len(given) != len(paths):
        raise ConfigError(
            Problem(
                "--strength",
                f"{len(given)} for {len(paths)} LoRAs",
                "one for each, or one for all",
                "Give them in the order of the files.",
            )
        )
    return given


def merge_loras_events(paths: Sequence[Path], options: MergeOptions) -> Stage[Written]:
    """Write the LoRAs at `paths`, each at its strength, as one. Raises LoraError, ConfigError, OutputError.

    Without a rank the result is their sum exactly, but for the rounding of the new file's precision.
    """
    if len(paths) < 2:
        remedy = "Name several, or a base: --base BASE. Another strength is the drawing program's."
        raise ConfigError(
            Problem("maquette lora merge", "one LoRA and no --base", "two LoRAs or a base", remedy)
        )
    if options.conv_rank is not None and options.rank is None:
        raise ConfigError(Problem("--conv-rank", "given without --rank", "both", "Add --rank."))
    strengths = strengths_of(paths, options)
    loras = [open_lora(path) for path in paths]
    family = require_same_model(loras)
    if options.rank is None:
        require_plain(loras)
    else:
        remedy = "Make it plain first: maquette lora convert FILE --plain --base BASE"
        require_base_for(loras, None, remedy)
        require_kernels(loras)
    output = place_for(paths[0], options.output, "merged", overwrite=options.overwrite)
    precision: Precision = options.dtype or _widest(loras)
    made, errors = yield from _sum(loras, strengths, options, precision)
    metadata = merged(
        [lora.metadata for lora in loras],
        made,
        family,
        title=output.stem,
        merged_from=names_with_strengths(paths, strengths),
    )
    written = save_modules(output, made, metadata, precision, errors=errors)
    yield Artifact("lora", output)
    return written


def _sum(
    loras: Sequence[OpenedLora], strengths: Sequence[float], options: MergeOptions, precision: Precision
) -> Stage[tuple[dict[str, ModuleWeights], Errors]]:
    rule = Truncation(options.rank, options.conv_rank)
    errors, made = Errors(), dict[str, ModuleWeights]()
    keys = list(dict.fromkeys(key for lora in loras for key in lora.modules))
    yield Started(STAGE, len(keys), "module")
    for number, key in enumerate(keys, 1):
        own = [
            (lora, strength)
            for lora, strength in zip(loras, strengths, strict=True)
            if key in lora.modules and strength != 0
        ]
        if own:
            whole = _same_width([lora.change(key).times(strength) for lora, strength in own], key)
            if options.rank is None:
                made[key] = beside(key, own, precision)
                errors.add(key, joined(whole), change_of(key, made[key]))
            else:
                made[key] = shortened(key, joined(whole), rule, precision, errors)
        yield Progress(STAGE, number, len(keys), "module")
    yield Finished(STAGE)
    return made, errors


def _widest(loras: Sequence[OpenedLora]) -> Precision:
    """Return the precision that holds all of theirs; the first's where two are as wide."""
    widest: Precision = loras[0].precision
    for lora in loras[1:]:
        if VALUE_BYTES[lora.precision] > VALUE_BYTES[widest]:
            widest = lora.precision
    return widest


def _same_width(changes: list[Change], key: str) -> list[Change]:
    sizes = {
        (each.left.shape[0], (each.left if each.right is None else each.right).shape[1]) for each in changes
    }
    if len(sizes) > 1:
        given = f"changes of {' and '.join(f'{n} × {o}' for o, n in sorted(sizes))}"
        raise LoraError(Problem(key, given, "one size", "The LoRAs were made for different models."))
    return changes


def beside(key: str, own: Sequence[tuple[OpenedLora, float]], precision: Precision) -> ModuleWeights:
    """Return one module's LoRAs as one of all their ranks.

    Where all are equally strong, alpha alone says it and no weight changes a bit; else strengths go into the up weights.
    """
    weights = [lora.modules[key] for lora, _ in own]
    scales = [
        strength * each.kind.scale(each.alpha, each.rank)
        for each, (_, strength) in zip(weights, own, strict=True)
    ]
    rank = sum(each.rank for each in weights)
    common = scales[0] if len(set(scales)) == 1 and scales[0] > 0 else 1.0
    alpha = storable_alpha(common, rank, precision)
    lefts: list[Tensor] = []
    rights: list[Tensor] = []
    for each, scale in zip(weights, scales, strict=True):
        unscaled = each.kind.work().change([tensor.double() for tensor in each.tensors])
        assert unscaled is not None and len(unscaled) == 2
        lefts.append(unscaled[0] * (scale * rank / alpha))
        rights.append(unscaled[1])
    made = plain(torch.cat(lefts, dim=1), torch.cat(rights), alpha, own[0][0].change(key).kernel)
    return rounded(made, precision)

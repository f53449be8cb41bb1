"""A LoRA of other ranks: for each module the best approximation of its change, by singular values."""

from __future__ import annotations

from pathlib import Path

from maquette.events import Artifact, Finished, Progress, Stage, Started
from maquette.lora.state import ModuleWeights
from maquette.toolbox.metadata import commented, described
from maquette.toolbox.opening import open_lora, require_plain
from maquette.toolbox.options import ResizeOptions
from maquette.toolbox.shortening import shortened
from maquette.toolbox.truncation import truncation_of
from maquette.toolbox.writing import Errors, Written, place_for, save_modules

STAGE = "resize"


def resize_events(path: Path, options: ResizeOptions) -> Stage[Written]:
    """Write the LoRA at `path` with the ranks that `options` choose; each keeps its alpha over rank.

    Raises LoraError where it is no plain LoRA, OutputError where something is in the way.
    """
    rule = truncation_of(options)
    lora = open_lora(path)
    require_plain([lora])
    output = place_for(path, options.output, _done(options), overwrite=options.overwrite)
    precision = options.dtype or lora.precision
    errors, made = Errors(), dict[str, ModuleWeights]()
    yield Started(STAGE, len(lora.modules), "module")
    for number, (key, weights) in enumerate(lora.modules.items(), 1):
        scale = weights.kind.scale(weights.alpha, weights.rank)
        made[key] = shortened(key, lora.change(key), rule, precision, errors, scale=scale)
        yield Progress(STAGE, number, len(lora.modules), "module")
    yield Finished(STAGE)
    before = max(weights.rank for weights in lora.modules.values())
    metadata = commented(
        described(lora.metadata, made, lora.facts.family, output.stem),
        f"resized from rank {before} ({_told(options)})",
    )
    written = save_modules(output, made, metadata, precision, errors=errors)
    yield Artifact("lora", output)
    return written


def _done(options: ResizeOptions) -> str:
    if options.method is not None:
        return f"{options.method}-{options.value:g}"
    return f"energy-{options.energy:g}" if options.energy is not None else f"rank-{options.rank}"


def _told(options: ResizeOptions) -> str:
    most = f", at most {options.rank}" if options.rank is not None else ""
    if options.method is not None:
        return f"{options.method} {options.value:g}{most}"
    if options.energy is not None:
        return f"energy {options.energy:g}{most}"
    return f"to rank {options.rank}" + (
        f", 3×3 convolutions {options.conv_rank}" if options.conv_rank else ""
    )

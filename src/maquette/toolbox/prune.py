"""A LoRA without some of its blocks: those that are named, or that hardly change anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import ConfigError, LoraError, Problem, did_you_mean
from maquette.families import FAMILIES
from maquette.toolbox.blocks import blocks_of, in_order, meant
from maquette.toolbox.metadata import commented, described
from maquette.toolbox.opening import OpenedLora, needs_base, open_lora
from maquette.toolbox.options import PruneOptions
from maquette.toolbox.writing import Written, place_for, save_modules


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """The LoRA that is left, and what was taken out."""

    written: Written
    removed: tuple[str, ...]
    """Modules, by kohya key."""
    blocks: Mapping[str, int]
    """How many modules of each block were taken out."""
    share: float | None
    """Of the whole change's squared norm, what was taken out; None where tensors alone do not tell it."""


def prune_blocks(path: Path, options: PruneOptions) -> Pruned:
    """Write the LoRA at `path` without the layers that `options` mean. Raises ConfigError where that is none or all of them."""
    _require_asked(options)
    lora = open_lora(path)
    squares = _squares(lora)
    blocks = blocks_of(list(lora.modules), lora.layers, lora.facts.family)
    if options.below is not None:
        if squares is None:
            raise LoraError(
                Problem(
                    str(path),
                    f"it is {lora.facts.titles}",
                    "norms that the file tells",
                    "Name the blocks: --block",
                )
            )
        removed = _weak(squares, blocks, options.below)
    else:
        removed = _named(lora, options, sorted(set(blocks.values())))
    kept = {key: weights for key, weights in lora.modules.items() if key not in removed}
    if not kept or not removed:
        given = f"{'all' if removed else 'none'} of its {len(lora.modules)} modules would be taken out"
        raise ConfigError(Problem(str(path), given, "a part of them", "Name other blocks."))
    output = place_for(path, options.output, "pruned", overwrite=options.overwrite)
    counted = dict.fromkeys(
        in_order([blocks[key] for key in lora.modules if key in removed], lora.facts.family), 0
    )
    for key in removed:
        counted[blocks[key]] += 1
    metadata = commented(
        described(lora.metadata, kept, lora.facts.family, output.stem), f"without {', '.join(counted)}"
    )
    return Pruned(
        written=save_modules(output, kept, metadata, options.dtype or lora.precision),
        removed=tuple(key for key in lora.modules if key in removed),
        blocks=counted,
        share=None
        if squares is None
        else sum(squares[key] for key in removed) / (sum(squares.values()) or 1.0),
    )


def _require_asked(options: PruneOptions) -> None:
    asked = [bool(options.block), bool(options.keep), options.below is not None]
    if sum(asked) != 1:
        given = "none given" if not any(asked) else "several given"
        raise ConfigError(
            Problem(
                "--block, --keep, --below", given, "one of them", "Say which blocks are to go, or to stay."
            )
        )


def _squares(lora: OpenedLora) -> dict[str, float] | None:
    """Return each module's squared norm; None where one's change depends on the base."""
    if needs_base(lora):
        return None
    return {key: lora.change(key).squared for key in lora.modules}


def _weak(squares: Mapping[str, float], blocks: Mapping[str, str], below: float) -> set[str]:
    """Return the modules of blocks with less than a share of the whole."""
    whole = math.fsum(squares.values())
    by_block: dict[str, float] = {}
    for key, squared in squares.items():
        by_block[blocks[key]] = by_block.get(blocks[key], 0.0) + squared
    return {key for key in squares if by_block[blocks[key]] < below * whole}


def _named(lora: OpenedLora, options: PruneOptions, blocks: Sequence[str]) -> set[str]:
    patterns = options.block or options.keep
    found = {pattern: meant(lora, pattern) for pattern in patterns}
    empty = [pattern for pattern, keys in found.items() if not keys]
    if empty:
        family = lora.facts.family
        known = [*blocks, *(FAMILIES[family].spec.layer_sets if family else ())]
        raise ConfigError(
            Problem(
                f"--{'block' if options.block else 'keep'} {pattern}",
                f"none of the {len(lora.modules)} modules is meant by it",
                "a block, a kind of layers or a pattern",
                did_you_mean(pattern, known),
            )
            for pattern in empty
        )
    named = {key for keys in found.values() for key in keys}
    return named if options.block else set(lora.modules) - named

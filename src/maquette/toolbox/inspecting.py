"""What a LoRA file is, what it says of itself, where its weight lies, what is wrong with it.

found = inspect("zkw.safetensors")
found.facts.family, found.facts.rank, found.blocks["IN04"].norm, found.problems
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.families.lora_names import LoraModule
from maquette.findings.records import Finding
from maquette.lora.facts import LoraFacts, ModuleFact
from maquette.lora.files import require_adapter
from maquette.lora.names import aliases, look_up
from maquette.lora.reading import read_lora_facts
from maquette.toolbox.blocks import blocks_of, in_order
from maquette.toolbox.metadata import read_for_people
from maquette.toolbox.options import InspectOptions
from maquette.toolbox.writing import require_free

Judge = Callable[[LoraFacts], Sequence[Finding]]
LACKS = ("LOR009", "LOR012")
"""Hints that are problems of a file all the same: what other programs need it lacks."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One block's share of a LoRA's change."""

    name: str
    modules: int
    norm: float | None
    """Frobenius norm of all its changes together; None where tensors alone do not tell one of them."""
    share: float | None
    """Of the whole's squared norm."""


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """A LoRA file, looked at."""

    facts: LoraFacts
    parts: Mapping[str, int]
    """Modules by network: text_encoder, text_encoder_2, unet."""
    kinds: Mapping[str, int]
    """Modules by kind of adapter, as people call it."""
    alphas: tuple[float, ...]
    summary: Mapping[str, Any]
    """What its metadata say, for people."""
    blocks: tuple[Block, ...]
    """In the order in which the model computes; empty where values were not read."""
    norm: float | None
    """Of the whole change."""
    problems: tuple[Finding, ...]
    hints: tuple[Finding, ...]
    chart: Path | None


def inspect(path: Path, judge: Judge, options: InspectOptions | None = None) -> Inspected:
    """Return what the adapter at `path` is. Raises LoraError when it holds none or cannot be read.

    judge: what the rules find in a file's facts.
    """
    options = options or InspectOptions()
    if options.chart is not None:
        require_free(options.chart, overwrite=options.overwrite)
    facts = require_adapter(read_lora_facts(path, depth="header" if options.quick else "values"))
    norms_by_base = _norms_over(path, options.base) if options.base is not None and not options.quick else {}
    blocks = () if options.quick else _blocks(facts, norms_by_base)
    norms = [block.norm for block in blocks]
    findings = judge(facts)
    problems = tuple(each for each in findings if each.severity != "hint" or each.code in LACKS)
    chart = _drawn(options.chart, facts, blocks) if options.chart is not None else None
    return Inspected(
        facts=facts,
        parts=_parts(facts),
        kinds=dict(Counter(_kind(module) for module in facts.modules)),
        alphas=tuple(
            sorted(
                {facts.alpha_of(module) for module in facts.modules if module.rank and module.has_strength}
            )
        ),
        summary=read_for_people(facts.metadata),
        blocks=blocks,
        norm=_together(norms) if norms else None,
        problems=problems,
        hints=tuple(each for each in findings if each not in problems),
        chart=chart,
    )


def _parts(facts: LoraFacts) -> dict[str, int]:
    """Return how many modules each network has; modules of a layer that no published model has count as their like do."""
    known = [
        (module, module.known.diffusers_key.partition(".")[0]) for module in facts.modules if module.known
    ]
    like = {module.is_text: component for module, component in reversed(known)}
    strange = (like.get(module.is_text, "unknown") for module in facts.modules if not module.known)
    return dict(Counter((*(component for _, component in known), *strange)))


def _kind(module: ModuleFact) -> str:
    from maquette.lora.kinds import KINDS
    from maquette.lora.kinds.foreign import titles_of

    if module.others:
        return titles_of(module.others)
    return KINDS[module.kind].title if module.kind else "unknown"


def _blocks(facts: LoraFacts, over_base: Mapping[str, float]) -> tuple[Block, ...]:
    layers: dict[str, LoraModule] = {
        module.name: module.known for module in facts.modules if module.known is not None
    }
    names = blocks_of([module.name for module in facts.modules], layers, facts.family)
    grouped: dict[str, list[ModuleFact]] = {}
    for module in facts.modules:
        grouped.setdefault(names[module.name], []).append(module)
    norms = {name: _together([_norm(module, over_base) for module in own]) for name, own in grouped.items()}
    whole = _together(list(norms.values()))
    return tuple(
        Block(
            name=name,
            modules=len(grouped[name]),
            norm=norms[name],
            share=_share(norms[name], whole),
        )
        for name in in_order(list(grouped), facts.family)
    )


def _norm(module: ModuleFact, over_base: Mapping[str, float]) -> float | None:
    return over_base.get(module.name, 0.0 if module.idle else module.norm)


def _norms_over(path: Path, base: str) -> dict[str, float]:
    """Return the norms of those modules that change the base's own weights, by their names in the file."""
    from maquette.toolbox.opening import needs_base, open_lora
    from maquette.toolbox.weights import base_weights

    weights = base_weights(base)
    lora = open_lora(path, weights)
    weights.require_fit(path, lora.modules)
    table = aliases([place.target for place in weights.places.values()])
    names = {look_up(table, module.name): module.name for module in lora.facts.modules}
    return {names[key]: math.sqrt(lora.change(key, weights.read(key)).squared) for key in needs_base(lora)}


def _together(norms: Sequence[float | None]) -> float | None:
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if len(known) == len(norms) else None


def _share(norm: float | None, whole: float | None) -> float | None:
    if norm is None or whole is None:
        return None
    return (norm / whole) ** 2 if whole else 0.0


def _drawn(place: Path, facts: LoraFacts, blocks: Sequence[Block]) -> Path:
    from maquette.toolbox.chart import draw_blocks

    return draw_blocks(place, facts.path.name, blocks)

"""Training that goes on from a LoRA file: what the file must be, and its weights in a new run's adapter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, LoraError, Problem
from maquette.events import Message
from maquette.families import LoraModule
from maquette.lora.config import with_strengths
from maquette.lora.facts import LoraFacts, ModuleFact
from maquette.lora.kinds import KINDS
from maquette.lora.matching import layers_of, modules_on
from maquette.lora.reading import read_lora_facts
from maquette.lora.size import sizes_of_layer

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel, ModelInfo
    from maquette.lora.adapter import LoraAdapter
    from maquette.lora.config import TrialSpec
    from maquette.project.settings import LoraSettings, ModelSettings
    from maquette.training.job import TrialRun

OTHER_FILE = "Give another file, or train anew without --network-weights."


def weights_of(lora: LoraSettings) -> LoraFacts | None:
    """Return what is known of the file that training goes on from, by its header; None where it begins anew."""
    return read_lora_facts(lora.network_weights, depth="header") if lora.network_weights is not None else None


def require_weights(facts: LoraFacts, spec: TrialSpec, info: ModelInfo, *, sizes: bool = True) -> None:
    """Raise an error naming everything that keeps the adapter `spec` over the base from going on from the file.

    sizes: whether its ranks and alphas must be the adapter's own.
    """
    from maquette.lora.files import require_lora

    require_lora(facts)
    layers = layers_of(info)
    by_key = {layer.key: layer for layer in layers}
    modules = modules_on(layers, facts)
    where = str(facts.path)
    if not modules:
        given = f"none of its {len(facts.modules)} modules is in {info.title}"
        raise ConfigError(Problem(where, given, "a LoRA for this base", OTHER_FILE))
    problems = [
        *_strangers(facts, modules, info),
        *_misfits(where, modules, by_key),
        *_kinds(where, modules, spec),
    ]
    if not problems and sizes:
        problems = [*_sizes(facts, modules, spec, by_key)]
    if problems:
        raise ConfigError(problems)


def _strangers(facts: LoraFacts, modules: Mapping[str, ModuleFact], info: ModelInfo) -> Iterator[Problem]:
    known = {module.name for module in modules.values()}
    strangers = [module.name for module in facts.modules if module.name not in known]
    if strangers:
        given = f"{len(strangers)} modules are not in {info.title} (first: {strangers[0]})"
        remedy = f"Take what fits over with maquette lora convert {facts.path}. {OTHER_FILE}"
        yield Problem(str(facts.path), given, "modules of this base", remedy)


def _misfits(
    where: str, modules: Mapping[str, ModuleFact], layers: Mapping[str, LoraModule]
) -> Iterator[Problem]:
    for key, module in modules.items():
        if not module.stands_on(layers[key]):
            given = f"{key} is of other sizes ({module.told_sizes})"
            required = f"{layers[key].inputs} → {layers[key].outputs}, as this base has"
            yield Problem(where, given, required, "Choose the base that it was trained on.")
            return


def _kinds(where: str, modules: Mapping[str, ModuleFact], spec: TrialSpec) -> Iterator[Problem]:
    found = {module.row for module in modules.values() if module.row} - {spec.kind}
    if found:
        titles = " and ".join(sorted(KINDS[kind].title for kind in found))
        remedy = f"Train with --adapter {min(found)}, or give another file."
        yield Problem(where, f"it holds {titles}", KINDS[spec.kind].title, remedy)


def _sizes(
    facts: LoraFacts, modules: Mapping[str, ModuleFact], spec: TrialSpec, layers: Mapping[str, LoraModule]
) -> Iterator[Problem]:
    """Yield each way in which ranks or alphas differ, once, with how many modules it concerns."""
    differing: Counter[tuple[str, float, float]] = Counter()
    other: list[str] = []
    for key, module in modules.items():
        size, sizes = spec.size_of(layers[key]), sizes_of_layer(layers[key])
        if size is None or module.rank is None:
            continue
        form = spec.form_on(size, sizes)
        rank = form.rank_on(sizes, size.rank)
        prefix = "conv_" if layers[key].kind == "conv3x3" else ""
        alpha = form.alpha_on(size.alpha, rank)
        own = [math.prod(module.shapes[name]) for name in form.tensors if name in module.shapes]
        if module.rank != rank:
            differing[f"{prefix}rank", module.rank, rank] += 1
        elif facts.alpha_of(module) != alpha:
            differing[f"{prefix}alpha", facts.alpha_of(module), alpha] += 1
        elif own != [math.prod(shape) for shape in form.shapes(sizes, rank)]:
            other.append(key)
    if other:
        given = f"{len(other)} of its modules are split in other sizes (first: {other[0]})"
        remedy = "Give its --lokr-factor, or --dim-from-weights to take every size from the file."
        yield Problem(str(facts.path), given, "those that the run has", remedy)
    for (what, theirs, ours), count in differing.items():
        flag = f"--{what.replace('_', '-')} {theirs:g}"
        given = f"{what} {theirs:g} in {count} of its modules"
        remedy = f"Give {flag}, or --dim-from-weights to take every size from the file."
        yield Problem(str(facts.path), given, f"{what} {ours:g}, as the run has", remedy)


def require_base_weights(wanted: ModelSettings, info: ModelInfo) -> None:
    """Raise an error naming everything that keeps LoRAs from being merged into the base."""
    from maquette.lora.files import require_lora

    problems: list[Problem] = []
    surplus = len(wanted.base_weights_multiplier) - len(wanted.base_weights)
    if surplus > 0:
        given = f"{surplus} more than there are base_weights"
        problems.append(Problem("--base-weights-multiplier", given, "one for each file", "Leave them out."))
    layers = layers_of(info)
    by_key = {layer.key: layer for layer in layers}
    for path in wanted.base_weights:
        facts = read_lora_facts(path, depth="header")
        try:
            require_lora(facts)
        except LoraError as error:
            problems += error.problems
            continue
        modules = modules_on(layers, facts)
        problems += [*_strangers(facts, modules, info), *_misfits(str(path), modules, by_key)]
    if problems:
        raise ConfigError(problems)


def told_of_base_weights(wanted: ModelSettings) -> tuple[str, ...]:
    """Return what whoever draws with the new LoRA must know of its base."""
    loras = with_strengths(wanted.base_weights, wanted.base_weights_multiplier)
    return tuple(
        f"{path} at strength {strength:g} is part of the base that was trained on: draw with it too, before this LoRA."
        for path, strength in loras
    )


def told_of_weights(facts: LoraFacts, spec: TrialSpec, info: ModelInfo) -> tuple[Message, ...]:
    """Return what a person should know: layers that begin anew, and modules of the file that the new LoRA will not have."""
    layers = layers_of(info)
    modules = modules_on(layers, facts)
    carried = {layer.key for layer in layers if spec.size_of(layer)}
    begun = (
        f"Training goes on from {facts.path}: {len(carried & modules.keys())} of its {len(modules)} modules"
    )
    found = [Message(begun)]
    if left := [key for key in modules if key not in carried]:
        text = f"{facts.path}: {len(left)} modules are not trained here, and the new LoRA will not hold them (first: {left[0]})."
        found.append(Message(text, "warning"))
    if fresh := [key for key in carried if key not in modules]:
        found.append(
            Message(f"{len(fresh)} layers that the file does not have begin anew (first: {fresh[0]}).")
        )
    return tuple(found)


def start_from_weights(adapter: LoraAdapter, index: int, run: TrialRun, model: BaseModel) -> None:
    """Put the file's weights into trial `index`, which begins; nothing happens where it begins anew or is resumed."""
    from maquette.lora.files import load_lora

    if run.weights is not None and run.resume is None:
        adapter.start_from(index, load_lora(run.weights, model.lora_targets()).state)

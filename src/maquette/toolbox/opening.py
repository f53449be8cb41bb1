"""A LoRA file as tools take it: modules under kohya names, each with the layer that it stands on where the family is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from maquette.errors import LoraError, Problem
from maquette.families import FAMILIES, LoraModule
from maquette.families.lora_names import lora_modules
from maquette.lora.facts import LoraFacts
from maquette.lora.files import read_tensors, require_lora
from maquette.lora.formats import to_kohya
from maquette.lora.kinds import DEFAULT_KIND
from maquette.lora.reading import read_lora_facts
from maquette.lora.size import Precision
from maquette.lora.state import ModuleWeights, modules_of, split_key
from maquette.toolbox.changes import Change, change_of
from maquette.toolbox.weights import BaseWeights

PRECISIONS: dict[str, Precision] = {"F16": "fp16", "BF16": "bf16"}
"""How a file's precision is called where files are written; every other one is written as fp32."""
SHOWN = 5


@dataclass(frozen=True)
class OpenedLora:
    """A LoRA file, its weights in memory."""

    facts: LoraFacts
    modules: Mapping[str, ModuleWeights]
    """By kohya key, in the order of its family's layers."""
    layers: Mapping[str, LoraModule]
    """What each stands on; empty where no family of ours is meant."""
    left_out: tuple[str, ...] = ()
    """Modules that its family does not have, and tensors that are part of no adapter."""

    @property
    def path(self) -> Path:
        return self.facts.path

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.facts.metadata

    @property
    def precision(self) -> Precision:
        return PRECISIONS.get(self.facts.dtype, "fp32")

    def change(self, key: str, base: Tensor | None = None) -> Change:
        """Return what it changes of one weight; `base` is that weight, for kinds that need it."""
        return change_of(key, self.modules[key], self.layers.get(key), base)


def open_lora(path: Path, *, leave_strangers: bool = False) -> OpenedLora:
    """Return the LoRA at `path`. Raises LoraError where it is none, or is damaged, or holds what no layer is called.

    leave_strangers: modules that the family does not have, and stray tensors, are left out and named in place of that.
    """
    facts = require_lora(read_lora_facts(path, depth="header"))
    table = dict(lora_modules(facts.family)) if facts.family is not None else None
    if table is None:
        _require_flat(facts)
    strays = (*(module.name for module in facts.strangers if table is not None), *facts.stray)
    if not leave_strangers and (strays or facts.embeddings):
        raise LoraError(_strays(facts, (*strays, *facts.embeddings)))
    own = {name: tensor for name, tensor in read_tensors(facts).items() if name not in facts.loose}
    renamed = to_kohya(own, list(table.values()) if table is not None else None, facts.alphas_beside).state
    known = {name: tensor for name, tensor in renamed.items() if table is None or split_key(name)[0] in table}
    modules = modules_of(known, str(path))
    order = [key for key in table if key in modules] if table is not None else list(modules)
    return OpenedLora(
        facts=facts,
        modules={key: modules[key] for key in order},
        layers={key: table[key] for key in order} if table is not None else {},
        left_out=strays,
    )


def _require_flat(facts: LoraFacts) -> None:
    """Refuse a file of no family of ours whose names only a model's own table could turn into kohya's."""
    if facts.layout == "kohya":
        return
    what = facts.architecture or "no family that Maquette knows"
    known = " or ".join(family.spec.title for family in FAMILIES.values())
    raise LoraError(
        Problem(
            str(facts.path),
            f"it is a LoRA for {what}, in {facts.layout} names",
            f"a LoRA for {known}, or one in kohya's names",
            "Convert it with its own trainer.",
        )
    )


def _strays(facts: LoraFacts, names: Sequence[str]) -> Problem:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return Problem(
        str(facts.path),
        f"{len(names)} of its names are of no {facts.family_title or 'adapter'} layer: {', '.join(names[:SHOWN])}{more}",
        "modules of one model family",
        f"Write it without them: maquette lora convert {facts.path}",
    )


def require_same_model(loras: Sequence[OpenedLora]) -> str | None:
    """Return the family of all `loras`. Raises LoraError where they are for different models."""
    first = loras[0]
    problems = [
        Problem(
            str(lora.path),
            f"it is for {_model(lora.facts)}",
            f"a LoRA for {_model(first.facts)}, as {first.path} is",
            "LoRAs of one model go together.",
        )
        for lora in loras[1:]
        if _model(lora.facts) != _model(first.facts)
    ]
    shapes = {key: ends(weights) for key, weights in first.modules.items()}
    for lora in loras[1:]:
        wrong = [
            key
            for key, weights in lora.modules.items()
            if None not in (shapes.get(key), ends(weights)) and shapes[key] != ends(weights)
        ]
        if wrong:
            given = f"{len(wrong)} of its modules have other sizes than in {first.path} (first: {wrong[0]})"
            problems.append(
                Problem(str(lora.path), given, "LoRAs of one model", "They were made for different models.")
            )
    if problems:
        raise LoraError(problems)
    return first.facts.family


def ends(weights: ModuleWeights) -> tuple[int, int] | None:
    """Return (inputs, outputs) of the layer that a module was made for; None where its kind does not tell."""
    return weights.kind.ends(dict(zip(weights.kind.tensors, weights.shapes, strict=True)))


def _model(facts: LoraFacts) -> str:
    return facts.family_title or facts.architecture or "no family that Maquette knows"


def needs_base(lora: OpenedLora) -> list[str]:
    """Return the modules whose change depends on the base's own weight."""
    return [key for key, weights in lora.modules.items() if weights.kind.needs_base]


def require_plain(loras: Sequence[OpenedLora]) -> None:
    """Raise LoraError for adapters whose change of a weight is no product of two small matrices."""
    problems = [
        Problem(
            str(lora.path),
            f"it is {lora.facts.titles}",
            "plain LoRA",
            f"Make it that first: maquette lora convert {lora.path} --plain"
            + (" --base BASE" if needs_base(lora) else ""),
        )
        for lora in loras
        if not is_plain(lora)
    ]
    if problems:
        raise LoraError(problems)


def is_plain(lora: OpenedLora) -> bool:
    """Tell whether every module is plain LoRA."""
    return all(weights.kind.row == DEFAULT_KIND for weights in lora.modules.values())


def require_base_for(loras: Iterable[OpenedLora], base: BaseWeights | None, remedy: str) -> None:
    """Raise LoraError for adapters that only a base's weights can tell the change of, where there is no base."""
    if base is not None:
        return
    problems = [
        Problem(
            str(lora.path),
            f"it is {lora.facts.titles}, whose change depends on the base's own weights",
            "the base that it was trained on",
            remedy,
        )
        for lora in loras
        if needs_base(lora)
    ]
    if problems:
        raise LoraError(problems)

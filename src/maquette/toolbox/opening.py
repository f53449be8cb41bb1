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
from maquette.lora.matching import layers_of
from maquette.lora.reading import read_lora_facts
from maquette.lora.size import Precision
from maquette.lora.state import ModuleWeights, modules_of
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
    """What each stands on, where the base or the family's published model has such a layer."""
    left_out: tuple[str, ...] = ()
    """Modules that the model does not have, and tensors that are part of no adapter."""

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


def open_lora(path: Path, base: BaseWeights | None = None, *, leave_strangers: bool = False) -> OpenedLora:
    """Return the LoRA at `path`. Raises LoraError where it is none, is damaged, or holds what belongs to no module.

    Names are read by the layers of `base`, else by those of its family's published model; modules of neither stay under the names
    that they have, where these are kohya's: models have layers of their own. leave_strangers: what programs would skip is left
    out and named in place of that.
    """
    facts = require_lora(read_lora_facts(path, depth="header"))
    table = _table(facts, base)
    if table is None:
        _require_flat(facts)
    leaves = leave_strangers and table is not None and (base is not None or not facts.is_for_another_model)
    own = {name: tensor for name, tensor in read_tensors(facts).items() if name not in facts.loose}
    _require_finite(facts, own)
    renamed = to_kohya(own, list(table.values()) if table is not None else None, facts.alphas_beside)
    if base is not None and renamed.strangers:
        _require_family(facts, base)
    strangers = tuple(name for name in renamed.strangers if table is not None and (leaves or "." in name))
    left_out = (*strangers, *facts.stray)
    if not leave_strangers and (left_out or facts.embeddings):
        raise LoraError(_strays(facts, (*left_out, *facts.embeddings)))
    known = {
        name: tensor
        for name, tensor in renamed.state.items()
        if not any(name.startswith(f"{stranger}.") for stranger in strangers)
    }
    modules = modules_of(known, str(path))
    layers = {key: table[key] for key in table if key in modules} if table is not None else {}
    order = (*layers, *(key for key in modules if key not in layers))
    return OpenedLora(
        facts=facts,
        modules={key: modules[key] for key in order},
        layers=layers,
        left_out=left_out,
    )


def _require_finite(facts: LoraFacts, tensors: Mapping[str, Tensor]) -> None:
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        given = f"{len(broken)} of its {len(tensors)} tensors hold NaN or infinity (first: {broken[0]})"
        raise LoraError(Problem(str(facts.path), given, "finite weights", "Use an earlier checkpoint."))


def _require_family(facts: LoraFacts, base: BaseWeights) -> None:
    """Say in one line that a LoRA with names which its base does not know is for another model, where that is known."""
    if facts.family not in (None, base.info.family):
        required = f"a LoRA for {base.info.title}"
        remedy = "Choose the base that it was trained on."
        raise LoraError(Problem(str(facts.path), f"it is for {facts.family_title}", required, remedy))


def _table(facts: LoraFacts, base: BaseWeights | None) -> dict[str, LoraModule] | None:
    """Return the layers by which a file's names are read, by kohya key; None for a model that no family is."""
    if base is not None:
        return {layer.key: layer for layer in layers_of(base.info)}
    return dict(lora_modules(facts.family)) if facts.family is not None else None


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


def require_kernels(loras: Iterable[OpenedLora]) -> None:
    """Raise LoraError for modules that are to become plain LoRA where nothing tells whether they stand on a convolution."""
    problems = [
        Problem(
            f"{lora.path}: {key}",
            f"{weights.kind.title} on a layer that no published model has",
            "the base that it was trained on",
            "Name it with maquette lora convert --plain --base BASE.",
        )
        for lora in loras
        for key, weights in lora.modules.items()
        if weights.kind.row != DEFAULT_KIND and key not in lora.layers
    ]
    if problems:
        raise LoraError(problems[:SHOWN])


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

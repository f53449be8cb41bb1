"""Every LoRA that is written is looked at as a drawing program will look at it: are its names found, does it change anything?

    names    the file just written is read again, as any file is. Each module must stand in its family's table under kohya's name,
             which ComfyUI, AUTOMATIC1111, Forge and diffusers all look for; what they would skip is told
    effect   the change of some weight is not zero, worked out from the tensors as they were written (in half precision small
             values become zero). That is what a drawing with and without it would show, at the price of reading its tensors

Draw Things' issue 81 is a run of 4,000 steps whose file changed nothing; nobody was told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import Problem, TrainingError
from maquette.lora.files import DTYPES, Precision
from maquette.lora.reading import read_lora_facts
from maquette.lora.state import ModuleWeights, modules_of

if TYPE_CHECKING:
    from maquette.families.protocol import LoraPart
    from maquette.lora.facts import LoraFacts
    from maquette.lora.state import State

_SHOWN = 2


@dataclass(frozen=True, kw_only=True)
class LoadTest:
    """What a file that was just written turned out to be."""

    path: Path
    modules: int
    skipped: tuple[str, ...]
    """Modules under names that drawing programs do not look for, or that are not in the file any more."""
    changes_nothing: bool
    """Whether the change of every weight is zero, as it was written."""
    idle_parts: tuple[str, ...]
    """Parts of the model that were trained and of which every module is still at its start, in words."""

    def warnings(self) -> Iterator[str]:
        """Yield what a person should know at once, while there is time to stop."""
        if self.skipped:
            names = ", ".join(self.skipped[:_SHOWN])
            yield (
                f"{len(self.skipped)} of the {self.modules} modules of {self.path.name} are not found by drawing programs "
                f"({names}): they draw without them."
            )
        if self.changes_nothing:
            yield f"{self.path.name} changes nothing: all of its {self.modules} modules are zero. {_CAUSES}"
        for part in () if self.changes_nothing else self.idle_parts:
            yield f"{self.path.name} changes nothing in {part}: all its modules there are zero. {_CAUSES}"

    def require_effect(self, steps: int) -> None:
        """Raise TrainingError for a finished LoRA that draws what the base draws."""
        if self.changes_nothing:
            given = f"changes nothing: all of its {self.modules} modules are zero after {steps} steps"
            raise TrainingError(Problem(str(self.path), given, "a LoRA that learned something", _CAUSES))


_CAUSES = (
    "See that the learning rates are above zero and the schedule lets them rise; values too small for half precision are kept "
    "by --save-precision fp32."
)


def load_test(path: Path, state: State, precision: Precision, *, trained: Collection[LoraPart]) -> LoadTest:
    """Return what the file at `path` is, which was written of `state` in `precision`.

    `trained` are the parts of the model (`LoraPart`) that a learning rate above zero was asked for: others may stay as they were.
    """
    facts = read_lora_facts(path, depth="header")
    modules = modules_of(state, str(path))
    written = {name: _as_written(weights, precision) for name, weights in modules.items()}
    idle = {name for name, weights in written.items() if _is_idle(weights)}
    moved = (weights for name, weights in written.items() if name not in idle)
    return LoadTest(
        path=path,
        modules=len(modules),
        skipped=_skipped(facts, tuple(modules)),
        # The first module that changes its weight settles it; a norm may cost what the weight itself does.
        changes_nothing=not any(weights.kind.work().norm(weights.tensors) != 0 for weights in moved),
        idle_parts=tuple(_idle_parts(facts, idle, trained)),
    )


def _skipped(facts: LoraFacts, written: tuple[str, ...]) -> tuple[str, ...]:
    there = {module.name: module for module in facts.modules}
    known = facts.family is not None
    return tuple(
        name
        for name in written
        if name not in there or (known and (there[name].known is None or there[name] in facts.unfound))
    )


def _as_written(weights: ModuleWeights, precision: Precision) -> ModuleWeights:
    return replace(weights, tensors=tuple(tensor.to(DTYPES[precision]) for tensor in weights.tensors))


def _is_idle(weights: ModuleWeights) -> bool:
    """Whether a module is as it was before the first step, or switched off by its alpha."""
    return weights.kind.work().is_idle(weights.tensors) or (weights.kind.has_strength and weights.alpha == 0)


_PARTS = {"denoiser": "the denoiser", "text_encoder": "the text encoders"}


def _idle_parts(facts: LoraFacts, idle: set[str], trained: Collection[LoraPart]) -> Iterator[str]:
    for part in trained:
        names = [
            module.name for module in facts.modules if module.known is not None and module.known.part == part
        ]
        if names and idle.issuperset(names):
            yield _PARTS[part]

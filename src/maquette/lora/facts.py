"""What a LoRA file is, as far as it was looked at: the one record that rules, `lora inspect`, deploying and drawing stand on.

`reading.py` makes it and never raises; `files.py` turns it into a loaded LoRA, or raises.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from maquette.errors import Problem
from maquette.lora.kinds import DEFAULT_KIND, KINDS
from maquette.lora.kinds.protocol import AdapterKind, Shape
from maquette.lora.names import BUNDLED
from maquette.lora.programs import comfyui_finds
from maquette.lora.size import sizes_of_layer

if TYPE_CHECKING:
    from maquette.families.lora_names import LoraModule
    from maquette.lora.names import Layout

T = TypeVar("T")

MISFIT_SHARE_OF_ANOTHER_MODEL = 0.5
"""From this share of modules of other sizes on, a file was made for a model that no family's published sizes describe."""


@dataclass(frozen=True, kw_only=True)
class ModuleFact:
    """One module's adapter, as it lies in the file."""

    name: str
    """As the file spells it."""
    known: LoraModule | None = None
    """What it is in the file's family; None where the family has no such module."""
    kind: str | None = None
    """Which of our kinds of adapters it is; None where it is of none."""
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Shape of each of its kind's tensors that the file has."""
    alpha: float | None = None
    """None where the file has none."""
    others: tuple[str, ...] = ()
    """Tensors of other kinds of adapters: dora_scale, hada_w1_a…"""
    broken: tuple[str, ...] = ()
    """Tensors with values that are NaN or infinite. Known at the depth of values, as the next two are."""
    idle: bool = False
    """Whether it changes nothing, as before the first step."""
    norm: float | None = None
    """Frobenius norm of the change of its layer's weight; None where it cannot be worked out."""

    @property
    def _kind(self) -> AdapterKind | None:
        return KINDS[self.kind] if self.kind else None

    @property
    def rank(self) -> int | None:
        return self._kind.rank(self.shapes) if self._kind else None

    @property
    def missing(self) -> tuple[str, ...]:
        """Tensors of its kind that the file does not have."""
        return tuple(name for name in self._kind.tensors if name not in self.shapes) if self._kind else ()

    @property
    def misfit(self) -> str | None:
        """Why its tensors, all there, do not belong together, in words; else None."""
        if self._kind is None or self.missing or self._kind.misfit(self.shapes) is None:
            return None
        return " and ".join(str(list(self.shapes[name])) for name in self._kind.tensors)

    @property
    def is_whole(self) -> bool:
        """Whether all tensors of its kind are there."""
        return self._kind is not None and not self.missing

    @property
    def has_strength(self) -> bool:
        """Whether alpha over rank is its strength."""
        return self._kind is None or self._kind.has_strength

    @property
    def row(self) -> str | None:
        """Its kind as settings name it."""
        return self._kind.row if self._kind else None

    @property
    def differs(self) -> bool:
        """Whether ComfyUI draws it otherwise than it was trained."""
        return self._kind is not None and self._kind.differs

    @property
    def is_conv3x3(self) -> bool:
        return any(shape[2:] == (3, 3) for shape in self.shapes.values())

    @property
    def is_text(self) -> bool:
        """Whether it belongs to a text encoder: as its family says, else by its name."""
        if self.known is not None:
            return self.known.part == "text_encoder"
        return self.name.startswith(("lora_te", "text_encoder")) or ".text_model." in self.name

    @property
    def text_layer(self) -> int | None:
        """Number of the text encoder's layer, from 0."""
        found = re.search(r"layers[._](\d+)[._]", self.name) if self.is_text else None
        return int(found[1]) if found else None

    @property
    def ends(self) -> tuple[int, int] | None:
        """(inputs, outputs) of the layer that it was made for, by its shapes; None where they do not tell."""
        return self._kind.ends(self.shapes) if self._kind else None

    @property
    def fits(self) -> bool:
        """Whether its sizes are those that the family's published model has there."""
        return self.known is None or self.stands_on(self.known)

    def stands_on(self, layer: LoraModule) -> bool:
        """Whether its sizes are those of `layer`; what is not whole is not judged."""
        if self._kind is None or self.missing or self.misfit:
            return True
        if self.ends is not None:
            return self.ends == (layer.inputs, layer.outputs)
        form = self._kind.form_of(self.shapes)
        wanted = form.shapes(sizes_of_layer(layer), self.rank or 1)
        own = (self.shapes[name] for name in form.tensors)
        return all(math.prod(one) == math.prod(other) for one, other in zip(own, wanted, strict=True))

    @property
    def told_sizes(self) -> str:
        """Its sizes for people: `320 → 768`, else those of its tensors."""
        if self.ends is not None:
            return f"{self.ends[0]} → {self.ends[1]}"
        return ", ".join("×".join(map(str, shape)) for shape in self.shapes.values())

    @property
    def fresh_norm(self) -> float | None:
        """Norm of a freshly initialised layer of these sizes (weights uniform with variance 1 / (3 · fan-in))."""
        return math.sqrt(self.ends[1] / 3) if self.ends else None


@dataclass(frozen=True, kw_only=True)
class LoraFacts:
    """Everything found in one LoRA file."""

    path: Path
    num_bytes: int = 0
    header_bytes: int = 0
    problem: Problem | None = None
    """What kept it from being read; then nothing else is known."""
    beside_problem: Problem | None = None
    """What kept the alphas beside its tensors (metadata, adapter_config.json) from being read."""
    layout: Layout | None = None
    """None when it holds no LoRA tensor of a known form."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    dtypes: Mapping[str, int] = field(default_factory=dict)
    """Bytes by precision: F32, F16, BF16."""
    modules: tuple[ModuleFact, ...] = ()
    loose: tuple[str, ...] = ()
    """Tensors that are no part of an adapter."""
    family: str | None = None
    """Key of the family whose modules it holds, which is what it can be drawn with; None when it holds those of none."""
    architecture: str | None = None
    """Title of the model that it is for where that is none of our families: FLUX.1, Wan, …"""
    named_family: str | None = None
    """Key of the family that its metadata name."""
    only_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By family, the modules that exist in no other family."""
    near: Mapping[str, str] = field(default_factory=dict)
    """The nearest known name of some modules that the family does not have."""
    alphas_beside: Mapping[str, float] = field(default_factory=dict)
    """Scale numerators that metadata or PEFT's configuration give for modules without an alpha tensor."""

    @property
    def family_title(self) -> str | None:
        """What the family is called."""
        from maquette.families import FAMILIES

        return FAMILIES[self.family].spec.title if self.family else None

    @property
    def is_lora(self) -> bool:
        return bool(self.modules)

    @property
    def unfound(self) -> tuple[ModuleFact, ...]:
        """Modules of the family that ComfyUI does not find under the names that they have here; kohya's it always finds."""
        return tuple(
            module
            for module in self.modules
            if module.known is not None and module.name != module.known.key and not comfyui_finds(module.name)
        )

    @property
    def embeddings(self) -> Mapping[str, tuple[str, ...]]:
        """By name, the tensors of the embeddings that are bundled with it (`bundle_emb.NAME.…`)."""
        found: dict[str, tuple[str, ...]] = {}
        for tensor in self.loose:
            mark, _, rest = tensor.partition(".")
            name = rest.partition(".")[0]
            if mark == BUNDLED and name:
                found[name] = (*found.get(name, ()), tensor)
        return found

    @property
    def stray(self) -> tuple[str, ...]:
        """Tensors that are part of no adapter and of no bundled embedding: no program reads them."""
        bundled = {tensor for tensors in self.embeddings.values() for tensor in tensors}
        return tuple(tensor for tensor in self.loose if tensor not in bundled)

    @property
    def strangers(self) -> tuple[ModuleFact, ...]:
        """Modules that the family does not have."""
        return tuple(module for module in self.modules if module.known is None)

    @property
    def misfits(self) -> tuple[ModuleFact, ...]:
        """Modules whose sizes are not those of the family's published model."""
        return tuple(module for module in self.modules if not module.fits)

    @property
    def is_for_another_model(self) -> bool:
        """Whether sizes show a model that no family's published sizes describe: a toy, a pruned model."""
        whole = [module for module in self.modules if module.known is not None and module.is_whole]
        return bool(whole) and len(self.misfits) > MISFIT_SHARE_OF_ANOTHER_MODEL * len(whole)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Marks of other kinds of adapters in it, sorted."""
        return tuple(sorted({mark for module in self.modules for mark in module.others}))

    @property
    def titles(self) -> str:
        """What the kinds of its modules are called: `plain LoRA`, `DoRA`, `LoHa and LoKr`."""
        found = dict.fromkeys(KINDS[module.kind].title for module in self.modules if module.kind)
        return " and ".join(found)

    @property
    def is_plain(self) -> bool:
        """Whether every module is plain LoRA."""
        return all(module.row == DEFAULT_KIND for module in self.modules)

    @property
    def ranks(self) -> tuple[int, ...]:
        """All ranks that occur, rising."""
        return tuple(sorted({module.rank for module in self.modules if module.rank}))

    @property
    def rank(self) -> int:
        """The rank of most modules; 0 where none has one."""
        return _most(module.rank for module in self.modules if module.rank) or 0

    @property
    def alpha(self) -> float:
        """The scale numerator of most modules: the file's own, else the one beside, else the rank."""
        alpha = _most(self.alpha_of(module) for module in self.modules if module.rank)
        return float(self.rank) if alpha is None else alpha

    def alpha_of(self, module: ModuleFact) -> float:
        """Return the scale numerator that drawing uses for one of its modules."""
        if module.alpha is not None:
            return module.alpha
        return self.alphas_beside.get(module.name, float(module.rank or 0))

    @property
    def dtype(self) -> str:
        """Precision of most of its bytes: F32, F16 or BF16."""
        return max(self.dtypes, key=lambda name: self.dtypes[name], default="")

    def number(self, key: str) -> float | None:
        """Return a metadata value as a number, or None."""
        try:
            return float(self.metadata[key])
        except (KeyError, ValueError):
            return None


def _most(values: Iterable[T]) -> T | None:
    counted = Counter(values).most_common(1)
    return counted[0][0] if counted else None

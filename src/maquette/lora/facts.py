"""What a LoRA file is, when nothing may stop at the first problem: rules read this, drawing and merging read `read_lora`.

    facts = read_lora_facts(Path("zkw.safetensors"))
    facts.problem, facts.family, facts.modules[0].norm

Tensors are read one after the other and never mapped, so files of any size are looked at in little memory, and a file
that is replaced meanwhile kills nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from maquette.errors import LoraError, ModelError, Problem
from maquette.families.common.header import Header, TensorEntry, read_header
from maquette.families.lora_names import LoraModule, known_families, lora_modules

if TYPE_CHECKING:
    from torch import Tensor

    from maquette.lora.formats import Layout

MISFIT_SHARE_OF_ANOTHER_MODEL = 0.5
"""From this share of modules of other sizes on, a file was made for a model that no family's published sizes describe."""


@dataclass(frozen=True, kw_only=True)
class ModuleFact:
    """One module's LoRA, as it lies in the file."""

    name: str
    """As the file spells it."""
    known: LoraModule | None = None
    """What it is in the file's family; None where the family has no such module."""
    down_shape: tuple[int, ...] | None = None
    up_shape: tuple[int, ...] | None = None
    alpha: float | None = None
    """None where the file has none."""
    others: tuple[str, ...] = ()
    """Tensors of other kinds of adapters: dora_scale, hada_w1_a…"""
    down_finite: bool = True
    up_finite: bool = True
    up_zero: bool = False
    norm: float | None = None
    """Frobenius norm of up · down · alpha / rank; None where it cannot be worked out."""

    @property
    def rank(self) -> int | None:
        return self.down_shape[0] if self.down_shape else None

    @property
    def is_pair(self) -> bool:
        return self.down_shape is not None and self.up_shape is not None

    @property
    def is_conv3x3(self) -> bool:
        return self.down_shape is not None and self.down_shape[2:] == (3, 3)

    @property
    def is_text(self) -> bool:
        """Whether it belongs to a text encoder, by its name."""
        return self.name.startswith(("lora_te", "text_encoder")) or ".text_model." in self.name

    @property
    def text_layer(self) -> int | None:
        """Number of the text encoder's layer, from 0."""
        found = re.search(r"layers[._](\d+)[._]", self.name) if self.is_text else None
        return int(found[1]) if found else None

    @property
    def fits(self) -> bool:
        """Whether its sizes are those that the family's published model has there."""
        if self.known is None or not self.is_pair:
            return True
        assert self.down_shape is not None and self.up_shape is not None
        return (self.down_shape[1], self.up_shape[0]) == (self.known.inputs, self.known.outputs)

    @property
    def fresh_norm(self) -> float | None:
        """Norm of a freshly initialised layer of these sizes (weights uniform with variance 1 / (3 · fan-in))."""
        return math.sqrt(self.up_shape[0] / 3) if self.up_shape else None


@dataclass(frozen=True, kw_only=True)
class LoraFacts:
    """Everything found in one LoRA file."""

    path: Path
    num_bytes: int = 0
    header_bytes: int = 0
    problem: Problem | None = None
    """What kept it from being read; then nothing else is known."""
    layout: Layout | None = None
    """None when it holds no LoRA tensor of a known form."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    dtypes: Mapping[str, int] = field(default_factory=dict)
    """Bytes by precision: F32, F16, BF16."""
    modules: tuple[ModuleFact, ...] = ()
    loose: tuple[str, ...] = ()
    """Tensors that are no part of an adapter."""
    family: str | None = None
    """Key of the family whose modules it holds; None when it holds those of none."""
    named_family: str | None = None
    """Key of the family that its metadata names."""
    only_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By family, the modules that exist in no other family."""
    near: Mapping[str, str] = field(default_factory=dict)
    """The nearest known name of some modules that the family does not have."""
    alphas_beside: Mapping[str, float] = field(default_factory=dict)
    """Scale numerators that metadata give for modules without an alpha tensor."""

    @property
    def is_lora(self) -> bool:
        return bool(self.modules)

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
        pairs = [module for module in self.modules if module.known is not None and module.is_pair]
        return bool(pairs) and len(self.misfits) > MISFIT_SHARE_OF_ANOTHER_MODEL * len(pairs)

    @property
    def adapters(self) -> tuple[str, ...]:
        """Marks of other kinds of adapters in it, sorted."""
        return tuple(sorted({mark for module in self.modules for mark in module.others}))

    def number(self, key: str) -> float | None:
        """Return a metadata value as a number, or None."""
        try:
            return float(self.metadata[key])
        except (KeyError, ValueError):
            return None


def read_lora_facts(path: Path) -> LoraFacts:
    """Return what the LoRA file at `path` is; a file that cannot be read gives facts with `problem`."""
    path = Path(path)
    try:
        header = read_header(path)
    except ModelError as error:
        problem = error.problems[0]
        return LoraFacts(path=path, problem=problem, num_bytes=path.stat().st_size if path.is_file() else 0)
    from maquette.lora.formats import layout_of

    grouped, loose = _grouped(header)
    families, tables = _matches(grouped)
    family = _best_family(families, header.metadata)
    beside = _alphas_beside(header, grouped)
    known = tables[family] if family else {}
    modules = tuple(_module(name, tensors, known.get(name)) for name, tensors in grouped.items())
    return LoraFacts(
        path=path,
        num_bytes=path.stat().st_size,
        header_bytes=min((entry.start for entry in header.tensors.values()), default=8),
        layout=layout_of(header.tensors),
        metadata=header.metadata,
        dtypes=_dtypes(header.tensors.values()),
        modules=modules,
        loose=tuple(loose),
        family=family,
        named_family=_named_family(header.metadata),
        only_in=_only_in(families),
        near=_near([module.name for module in modules if module.known is None], family),
        alphas_beside=beside,
    )


# --- names -----------------------------------------------------------------------------------------------

OTHER_ENDS = (
    "dora_scale",
    "lora_magnitude_vector",
    "lora_magnitude_vector.weight",
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t1",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
    "oft_blocks",
    "oft_diag",
    "boft_R",
    "boft_s",
    "lora_mid.weight",
    "diff",
    "diff_b",
)
"""How tensors of other kinds of adapters end, after the module's name."""


def _grouped(header: Header) -> tuple[dict[str, dict[str, TensorEntry]], list[str]]:
    """Return tensors by module name, then by what they are; and what belongs to no module."""
    from maquette.lora.formats import split_tensor_name

    grouped: dict[str, dict[str, TensorEntry]] = {}
    loose = []
    for name, entry in header.tensors.items():
        split = split_tensor_name(name) or _split_other(name)
        if split is None:
            loose.append(name)
        else:
            grouped.setdefault(split[0], {})[split[1]] = entry
    # A lone alpha is a leftover, not a module.
    lone = [name for name, tensors in grouped.items() if set(tensors) == {"alpha"}]
    return {name: tensors for name, tensors in grouped.items() if name not in lone}, [
        *loose,
        *(f"{name}.alpha" for name in lone),
    ]


def _split_other(name: str) -> tuple[str, str] | None:
    end = next((end for end in OTHER_ENDS if name.endswith(f".{end}")), None)
    return (name.removesuffix(f".{end}"), end) if end else None


@cache
def _names(family: str) -> Mapping[str, str]:
    """Return every spelling of the family's modules, mapped to the kohya key."""
    from maquette.families.protocol import LoraTarget
    from maquette.lora.formats import aliases

    # aliases() reads only names and parts, which modules have as targets do.
    return aliases(cast("Sequence[LoraTarget]", list(lora_modules(family).values())))


def _matches(names: Iterable[str]) -> tuple[dict[str, set[str]], dict[str, dict[str, LoraModule]]]:
    """Return by family which of the names it knows, and what they are there."""
    from maquette.lora.formats import plain_name

    tables: dict[str, dict[str, LoraModule]] = {}
    for family in known_families():
        spellings, modules = _names(family), lora_modules(family)
        found = {}
        for name in names:
            plain = plain_name(name)
            flat = (
                f"lora_unet_{plain.removeprefix('diffusion_model.').removeprefix('unet.').replace('.', '_')}"
            )
            key = next((spellings[each] for each in (name, plain, flat) if each in spellings), None)
            if key is not None:
                found[name] = modules[key]
        tables[family] = found
    return {family: set(found) for family, found in tables.items()}, tables


def _best_family(families: Mapping[str, set[str]], metadata: Mapping[str, str]) -> str | None:
    named = _named_family(metadata)
    best = max(families, key=lambda family: (len(families[family]), family == named))
    return best if families[best] else None


def _only_in(families: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    found = {}
    for family, names in families.items():
        others = set().union(*(known for other, known in families.items() if other != family))
        if names - others:
            found[family] = tuple(sorted(names - others))
    return found


def _named_family(metadata: Mapping[str, str]) -> str | None:
    from maquette.families import FAMILIES

    version = metadata.get("ss_base_model_version", "")
    architecture = metadata.get("modelspec.architecture")
    for family in FAMILIES.values():
        spec = family.spec
        if architecture == spec.modelspec_architecture or version.startswith(spec.ss_base_model_version):
            return spec.name
    return None


def _near(strangers: Sequence[str], family: str | None) -> dict[str, str]:
    """Return the nearest known names of the first few strangers."""
    import difflib

    found = {}
    choices = [name for one in ([family] if family else known_families()) for name in _names(one)]
    for name in strangers[:3]:
        close = difflib.get_close_matches(name, choices, n=1, cutoff=0.85)
        if close:
            found[name] = close[0]
    return found


def _alphas_beside(header: Header, grouped: Mapping[str, Mapping[str, TensorEntry]]) -> dict[str, float]:
    from maquette.lora.formats import alphas_beside
    from maquette.lora.state import DOWN

    ranks = {
        name: tensors[DOWN].shape[0]
        for name, tensors in grouped.items()
        if DOWN in tensors and tensors[DOWN].shape and "alpha" not in tensors
    }
    try:
        return dict(alphas_beside(ranks, header.metadata))
    except (LoraError, TypeError, ValueError):
        return {}


def _dtypes(entries: Iterable[TensorEntry]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for entry in entries:
        counted[entry.dtype] += entry.num_bytes
    return dict(counted)


# --- values ----------------------------------------------------------------------------------------------


def _module(name: str, tensors: Mapping[str, TensorEntry], known: LoraModule | None) -> ModuleFact:
    from maquette.lora.state import ALPHA, DOWN, UP

    others = tuple(sorted(set(tensors) - {ALPHA, DOWN, UP}))
    down, up = (_values(tensors[part]) if part in tensors else None for part in (DOWN, UP))
    alpha = _values(tensors[ALPHA]) if ALPHA in tensors else None
    scale = float(alpha.flatten()[0]) if alpha is not None and alpha.numel() == 1 else None
    return ModuleFact(
        name=name,
        known=known,
        down_shape=tensors[DOWN].shape if DOWN in tensors else None,
        up_shape=tensors[UP].shape if UP in tensors else None,
        alpha=math.nan if alpha is not None and scale is None else scale,
        others=others,
        down_finite=_finite(down),
        up_finite=_finite(up),
        up_zero=up is not None and up.numel() > 0 and not bool(up.any()),
        norm=_norm(down, up, scale) if not others else None,
    )


def _values(entry: TensorEntry) -> Tensor | None:
    """Return one tensor's values as float32, or None for a precision that weights never have."""
    import torch

    from maquette.lora.files import SCALARS

    dtype = SCALARS.get(entry.dtype)
    if dtype is None or not entry.num_bytes:
        return None
    with entry.path.open("rb") as file:
        file.seek(entry.start)
        raw = bytearray(file.read(entry.num_bytes))
    if len(raw) != entry.num_bytes:
        return None
    return torch.frombuffer(raw, dtype=dtype).float().reshape(entry.shape)


def _finite(values: Tensor | None) -> bool:
    import torch

    return values is None or bool(torch.isfinite(values).all())


def _norm(down: Tensor | None, up: Tensor | None, alpha: float | None) -> float | None:
    """Return ‖up · down‖ · alpha / rank by the r × r products of the two: Σ (upᵀ up) ∘ (down downᵀ)."""
    if (
        down is None
        or up is None
        or not down.numel()
        or not up.numel()
        or down.shape[0] != up.shape[1:2].numel()
    ):
        return None
    rank = down.shape[0]
    down_RI, up_OR = down.reshape(rank, -1), up.reshape(up.shape[0], -1)
    if up_OR.shape[1] != rank:
        return None
    squared: Any = ((up_OR.T @ up_OR) * (down_RI @ down_RI.T)).sum()
    scale = 1.0 if alpha is None else alpha / rank
    value = math.sqrt(max(float(squared), 0.0)) * abs(scale)
    return value if math.isfinite(value) else None

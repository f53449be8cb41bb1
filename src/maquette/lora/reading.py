"""The one reader of a LoRA file. It never raises: what cannot be read is a fact too.

    facts = read_lora_facts(Path("zkw.safetensors"), depth="header")
    facts.problem, facts.family, facts.rank, facts.modules[0].shapes

At the depth `header` names, shapes, alphas and metadata are known, without torch; at `values` also what the tensors hold. Tensors
are read one after the other and never mapped, so files of any size are looked at in little memory, and a file that is replaced
meanwhile kills nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from maquette.errors import LoraError, ModelError, Problem
from maquette.families.common.header import Header, TensorEntry, read_header
from maquette.families.common.numbers import numbers_of
from maquette.families.lora_names import LoraModule, known_families, lora_modules
from maquette.lora.architectures import architecture_of
from maquette.lora.facts import LoraFacts, ModuleFact
from maquette.lora.kinds import ALPHA, KINDS, kind_of
from maquette.lora.kinds.foreign import BESIDE_ON_INPUT, split_foreign_name
from maquette.lora.names import aliases, alphas_beside, layout_of, look_up, split_tensor_name
from maquette.reading import FileKind, read_table

if TYPE_CHECKING:
    from torch import Tensor

Depth = Literal["header", "values"]
Grouped = Mapping[str, Mapping[str, TensorEntry]]
"""Tensors by module name, then by what they are."""


def read_lora_facts(path: Path, *, depth: Depth = "values") -> LoraFacts:
    """Return what the LoRA file at `path` is; a file that cannot be read gives facts with `problem`."""
    path = Path(path)
    try:
        header = read_header(path)
    except ModelError as error:
        problem = error.problems[0]
        return LoraFacts(path=path, problem=problem, num_bytes=path.stat().st_size if path.is_file() else 0)
    grouped, loose = _grouped(header)
    tables = _matches(grouped)
    architecture = architecture_of(grouped)
    unknown = {name: _module(name, tensors) for name, tensors in grouped.items()}
    meant = [] if architecture else _meant(tables, unknown, header.metadata)
    family = meant[0] if meant else None
    known = tables[family] if family else {}
    modules = tuple(replace(module, known=known.get(name)) for name, module in unknown.items())
    beside, beside_problem = _alphas_beside(header, modules)
    facts = LoraFacts(
        path=path,
        num_bytes=path.stat().st_size,
        header_bytes=min((entry.start for entry in header.tensors.values()), default=8),
        beside_problem=beside_problem,
        layout=layout_of(header.tensors),
        metadata=header.metadata,
        dtypes=_dtypes(header.tensors.values()),
        modules=modules,
        loose=tuple(loose),
        family=family,
        architecture=architecture,
        named_family=family_named(header.metadata),
        only_in=_only_in({name: tables[name] for name in meant}),
        near={}
        if architecture
        else _near([module.name for module in modules if module.known is None], family),
        alphas_beside=beside,
    )
    return facts if depth == "header" else _with_values(facts, grouped)


# --- names -----------------------------------------------------------------------------------------------


def _grouped(header: Header) -> tuple[dict[str, dict[str, TensorEntry]], list[str]]:
    """Return tensors by module name, then by what they are; and what belongs to no module."""
    grouped: dict[str, dict[str, TensorEntry]] = {}
    loose = []
    for name, entry in header.tensors.items():
        split = split_tensor_name(name) or split_foreign_name(name)
        if split is None:
            loose.append(name)
        else:
            grouped.setdefault(split[0], {})[split[1]] = entry
    for name in [name for name in loose if name.endswith(f".{BESIDE_ON_INPUT}")]:
        module = name.removesuffix(f".{BESIDE_ON_INPUT}")
        if "on_input" in grouped.get(module, {}):
            grouped[module][BESIDE_ON_INPUT] = header.tensors[name]
            loose.remove(name)
    # A lone alpha is a leftover, not a module.
    lone = [name for name, tensors in grouped.items() if set(tensors) == {ALPHA}]
    return {name: tensors for name, tensors in grouped.items() if name not in lone}, [
        *loose,
        *(f"{name}.{ALPHA}" for name in lone),
    ]


@cache
def _names(family: str) -> Mapping[str, str]:
    """Return every spelling of the family's modules, mapped to the kohya key."""
    return aliases(list(lora_modules(family).values()))


def _matches(names: Iterable[str]) -> dict[str, dict[str, LoraModule]]:
    """Return by family which of the names it knows, and what they are there."""
    names = list(names)
    tables: dict[str, dict[str, LoraModule]] = {}
    for family in known_families():
        keys = {name: look_up(_names(family), name) for name in names}
        modules = lora_modules(family)
        tables[family] = {name: modules[key] for name, key in keys.items() if key is not None}
    return tables


def _meant(
    tables: Mapping[str, Mapping[str, LoraModule]],
    modules: Mapping[str, ModuleFact],
    metadata: Mapping[str, str],
) -> list[str]:
    """Return the families that the file's modules are of, the likeliest first.

    That is the one that knows the most names; of several that know the same, the one whose sizes they have, then the one that
    the metadata name. A family all of whose names a likelier one knows is not meant.
    """
    named = family_named(metadata)

    def order(family: str) -> tuple[int, int, bool]:
        known = tables[family]
        fitting = sum(modules[name].stands_on(layer) for name, layer in known.items())
        return len(known), fitting, family == named

    meant: list[str] = []
    for family in sorted(tables, key=order, reverse=True):
        if tables[family] and not any(tables[family].keys() <= tables[other].keys() for other in meant):
            meant.append(family)
    return meant


def _only_in(tables: Mapping[str, Mapping[str, LoraModule]]) -> dict[str, tuple[str, ...]]:
    found = {}
    for family, names in tables.items():
        others: set[str] = set().union(*(known for other, known in tables.items() if other != family))
        if names.keys() - others:
            found[family] = tuple(sorted(names.keys() - others))
    return found


def family_named(metadata: Mapping[str, str]) -> str | None:
    """Return the family that a file's metadata name, or None.

    `ss_base_model_version` counts before `modelspec.architecture`. A version means a family when both begin with the same word
    and the same number: sd-scripts appends `_v` for v-prediction, other trainers write `sdxl_1.0`; A1111 reads the word alone,
    which cannot tell SD 2 from SD 1. An architecture counts without what follows its slash (`/lora`).
    """
    from maquette.families import FAMILIES

    version = _generation(metadata.get("ss_base_model_version", ""))
    architecture = metadata.get("modelspec.architecture", "").partition("/")[0]
    specs = [family.spec for family in FAMILIES.values()]
    by_version = (spec for spec in specs if version and version == _generation(spec.ss_base_model_version))
    named = (
        spec for spec in specs if architecture in {known.partition("/")[0] for known in spec.architectures}
    )
    found = next(by_version, None) or next(named, None)
    return found.name if found else None


def _generation(version: str) -> tuple[str, int] | None:
    """Return the word and the first number of a version: ("sd", 1) of `sd_v1_v`; None where it has no such form."""
    word, _, rest = version.partition("_")
    number = re.search(r"\d+", rest)
    return (word, int(number[0])) if number else None


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


def _dtypes(entries: Iterable[TensorEntry]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for entry in entries:
        counted[entry.dtype] += entry.num_bytes
    return dict(counted)


# --- alphas ----------------------------------------------------------------------------------------------


def _alphas_beside(header: Header, modules: Sequence[ModuleFact]) -> tuple[dict[str, float], Problem | None]:
    """Return the alphas that stand beside the tensors, by module, and what kept them from being read."""
    ranks = {module.name: module.rank for module in modules if module.rank and module.alpha is None}
    try:
        return alphas_beside(
            ranks, header.metadata, _adapter_config(header.path, layout_of(header.tensors) == "peft")
        ), None
    except LoraError as error:
        return {}, error.problems[0]
    except (TypeError, ValueError, OverflowError) as error:
        given = f"alpha beside the tensors cannot be read ({error})"
        remedy = "Save the LoRA again, or repair its adapter_config.json."
        return {}, Problem(str(header.path), given, "numbers as diffusers and PEFT write them", remedy)


def _adapter_config(path: Path, is_peft: bool) -> Mapping[str, Any] | None:
    """Return PEFT's configuration beside `path`, which holds alpha: of its own file name, or of a file in its layout."""
    beside = path.with_name("adapter_config.json")
    if not (is_peft or path.name == "adapter_model.safetensors") or not beside.is_file():
        return None
    return read_table(beside, ADAPTER_CONFIG)


ADAPTER_CONFIG = FileKind(
    "PEFT's JSON configuration", "Repair it, or move it away to use a scale of one.", LoraError
)


def _number(entry: TensorEntry) -> float | None:
    """Return the one number that a tensor holds; None where it holds several, or none that can be read."""
    values = numbers_of(entry)
    return values[0] if values and len(values) == 1 else None


# --- modules ---------------------------------------------------------------------------------------------


def _module(name: str, tensors: Mapping[str, TensorEntry]) -> ModuleFact:
    kind = kind_of(tensors, {part: entry.shape for part, entry in tensors.items()})
    own = kind.tensors if kind else ()
    alpha = _number(tensors[ALPHA]) if ALPHA in tensors else None
    return ModuleFact(
        name=name,
        kind=kind.name if kind else None,
        shapes={part: tensors[part].shape for part in own if part in tensors},
        # An alpha that is no number is one that drawing cannot use, unlike none at all.
        alpha=math.nan if alpha is None and ALPHA in tensors else alpha,
        others=tuple(sorted(set(tensors) - {ALPHA, *own})),
    )


def _with_values(facts: LoraFacts, grouped: Grouped) -> LoraFacts:
    """Return `facts` with what every module's tensors hold."""
    modules = (_valued(facts, module, grouped[module.name]) for module in facts.modules)
    return replace(facts, modules=tuple(modules))


def _valued(facts: LoraFacts, module: ModuleFact, tensors: Mapping[str, TensorEntry]) -> ModuleFact:
    import torch

    if module.kind is None:
        return module
    kind = KINDS[module.kind]
    values = {part: _values(tensors[part]) for part in module.shapes}
    broken = tuple(
        part for part, value in values.items() if value is not None and not torch.isfinite(value).all()
    )
    found = (values.get(part) for part in kind.tensors)
    whole = [value for value in found if value is not None]
    if len(whole) != len(kind.tensors) or module.misfit:
        return replace(module, broken=broken)
    work = kind.work()
    norm = work.norm(whole) if not module.others else None
    scale = kind.scale(facts.alpha_of(module), module.rank) if module.rank else 1.0
    change = norm * abs(scale) if norm is not None else None
    return replace(
        module,
        broken=broken,
        idle=work.is_idle(whole),
        norm=change if change is not None and math.isfinite(change) else None,
    )


def _values(entry: TensorEntry) -> Tensor | None:
    """Return one tensor's values as float32, or None for a precision that weights never have."""
    import torch

    dtypes = {
        "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
        "I64": torch.int64, "I32": torch.int32,
    }  # fmt: skip
    if entry.dtype not in dtypes or not entry.num_bytes:
        return None
    try:
        with entry.path.open("rb") as file:
            file.seek(entry.start)
            raw = bytearray(file.read(entry.num_bytes))
    except OSError:
        return None
    if len(raw) != entry.num_bytes:
        return None
    return torch.frombuffer(raw, dtype=dtypes[entry.dtype]).float().reshape(entry.shape)

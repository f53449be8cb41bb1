"""LoRA files: written whole or not at all, read from every common layout, never unpickled.

saved = save_lora(path, adapter.state_dict(0), metadata, dtype="fp16")
lora = read_lora(path, targets=model.lora_targets())      # tensors under kohya names, checked against the model
info = inspect_lora(path)                                  # the header alone: rank, alpha, layout, metadata
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor

from maquette.errors import LoraError, MaquetteError, ModelError, Problem, nearest
from maquette.families.common.header import Header, read_header
from maquette.families.protocol import LoraTarget
from maquette.files import replacing
from maquette.lora.formats import (
    OTHER_ADAPTERS,
    Layout,
    aliases,
    alphas_beside,
    layout_of,
    split_tensor_name,
    to_kohya,
)
from maquette.lora.state import (
    ALPHA,
    DOWN,
    State,
    match_problems,
    modules_of,
    same_shape,
    shapes_for,
    split_key,
)

Precision = Literal["fp32", "fp16", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

MAX_HEADER_BYTES = 1 << 20
"""Drawing programs do not show the metadata of a file whose header is longer."""
LEGACY_HASH_START, LEGACY_HASH_BYTES = 0x100000, 0x10000

_AGAIN = "Download or copy the file again."


@dataclass(frozen=True, kw_only=True)
class SavedLora:
    """A LoRA file just written."""

    path: Path
    model_hash: str
    """SHA-256 of the bytes after the header, in hex; the same for the same weights whatever the metadata."""
    legacy_hash: str
    num_bytes: int
    notes: tuple[str, ...] = ()
    """What a person should know, e.g. tags left out of the metadata."""


@dataclass(frozen=True, kw_only=True)
class LoraInfo:
    """What a LoRA file is, from its header."""

    path: Path
    layout: Layout
    num_modules: int
    rank: int
    """The rank of most modules."""
    ranks: tuple[int, ...]
    """All ranks that occur, rising."""
    alpha: float
    """The scale numerator of most modules; the rank itself where the file has none."""
    dtype: str
    """Precision of most tensors: F32, F16 or BF16."""
    num_bytes: int
    family: str | None
    """Key of the family that the metadata names; None when it names none."""
    metadata: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A LoRA in memory."""

    info: LoraInfo
    state: Mapping[str, Tensor]
    """Tensors on the CPU, in the file's precision. With a model's targets: kohya names and shapes, `.alpha` everywhere.
    Without: kohya tensor names, modules as the file names them."""

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.info.metadata


# --- writing ---------------------------------------------------------------------------------------------


def save_lora(
    path: Path, state: State, metadata: Mapping[str, str], *, dtype: Precision = "fp16"
) -> SavedLora:
    """Write `state` (kohya names) to `path`, whole or not at all, with sd-scripts' two hashes in its metadata.

    Equal input gives equal bytes. Tag frequencies are trimmed, with a note, where the header would exceed 1 MiB.
    Raises LoraError for weights that are no finite numbers in `dtype`, OutputError when the place cannot be written.
    """
    path = Path(path)
    tensors = {name: value.detach().cpu().to(DTYPES[dtype]).contiguous() for name, value in state.items()}
    _require_finite(path, tensors, dtype)
    hashed, data = _parts(safetensors.torch.save(tensors))
    training = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    hashes = {
        "sshs_model_hash": hashlib.sha256(data).hexdigest(),
        "sshs_legacy_hash": _legacy_hash(_header_bytes(hashed, training), data),
    }
    fitted, notes = _fit(hashed, {**metadata, **hashes})
    header = _header_bytes(hashed, fitted)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        file.write(data)
    return SavedLora(
        path=path,
        model_hash=hashes["sshs_model_hash"],
        legacy_hash=hashes["sshs_legacy_hash"],
        num_bytes=len(header) + len(data),
        notes=tuple(notes),
    )


def _require_finite(path: Path, tensors: Mapping[str, Tensor], dtype: Precision) -> None:
    bad = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        given = f"{len(bad)} of {len(tensors)} tensors hold NaN or infinity in {dtype} (first: {bad[0]})"
        remedy = "Use an earlier checkpoint and a lower learning rate, or save as fp32."
        raise LoraError(Problem(str(path), given, "finite weights", remedy))


def _parts(serialized: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the header table and the data of a serialized safetensors file."""
    length = int.from_bytes(serialized[:8], "little")
    return json.loads(serialized[8 : 8 + length]), memoryview(serialized)[8 + length :]


def _header_bytes(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """Return the header in the format's form: its length, then JSON padded with spaces to a multiple of eight."""
    table = {"__metadata__": dict(sorted(metadata.items())), **tensors} if metadata else dict(tensors)
    raw = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw


def _legacy_hash(header: bytes, data: memoryview) -> str:
    """Return sd-scripts' short hash: of 64 KiB that begin 1 MiB into a file with the training metadata alone."""
    start = max(0, LEGACY_HASH_START - len(header))
    ahead = header[LEGACY_HASH_START : LEGACY_HASH_START + LEGACY_HASH_BYTES]
    return hashlib.sha256(ahead + bytes(data[start : start + LEGACY_HASH_BYTES - len(ahead)])).hexdigest()[:8]


def _fit(tensors: Mapping[str, Any], metadata: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return metadata whose header fits, leaving out ever more of the rarest tags, and what was left out."""
    kept_tags: int | None = None
    fitted = metadata
    while len(_header_bytes(tensors, fitted)) > MAX_HEADER_BYTES:
        if kept_tags == 0:
            return fitted, ["The metadata is longer than 1 MiB even without tags: ComfyUI will not show it."]
        kept_tags = 4096 if kept_tags is None else kept_tags // 4
        fitted = {key: _trim_tags(key, value, kept_tags) for key, value in metadata.items()}
    if kept_tags is None:
        return fitted, []
    return fitted, [
        f"The file keeps the {kept_tags} most frequent tags of each folder: all would exceed the 1 MiB header."
    ]


def _trim_tags(key: str, value: str, keep: int) -> str:
    if key == "ss_tag_frequency":
        return json.dumps(_most_frequent(json.loads(value), keep))
    if key == "ss_datasets":
        datasets = json.loads(value)
        return json.dumps(
            [{**entry, "tag_frequency": _most_frequent(entry["tag_frequency"], keep)} for entry in datasets]
        )
    return value


def _most_frequent(folders: Mapping[str, Mapping[str, int]], keep: int) -> dict[str, dict[str, int]]:
    return {folder: dict(Counter(tags).most_common(keep)) for folder, tags in folders.items()}


# --- reading ---------------------------------------------------------------------------------------------


def inspect_lora(path: Path) -> LoraInfo:
    """Return what the LoRA at `path` is, without reading its weights.

    Raises LoraError when it is missing, damaged, no safetensors file, a base model or another kind of adapter.
    """
    path = Path(path)
    header = _lora_header(path)
    layout = layout_of(header.tensors)
    assert layout is not None
    ranks = _ranks(header)
    alphas = _header_alphas(header, ranks)
    counted = Counter(ranks.values())
    rank = counted.most_common(1)[0][0] if counted else 0
    return LoraInfo(
        path=path,
        layout=layout,
        num_modules=len(ranks),
        rank=rank,
        ranks=tuple(sorted(counted)),
        alpha=Counter(alphas).most_common(1)[0][0] if alphas else float(rank),
        dtype=Counter(entry.dtype for entry in header.tensors.values()).most_common(1)[0][0],
        num_bytes=path.stat().st_size,
        family=_family_of(header.metadata),
        metadata=header.metadata,
    )


def read_lora(path: Path, targets: Sequence[LoraTarget] | None = None) -> LoraFile:
    """Return the LoRA at `path`, its tensors in memory.

    With a model's `targets` all modules get kohya names and shapes and must be in the model. Raises LoraError,
    naming everything that is wrong: damage, missing pairs, other shapes, unknown modules with near names.
    """
    info = inspect_lora(path)
    try:
        # From memory, not mapped: the file may be replaced while its tensors live.
        tensors = safetensors.torch.load(info.path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise _unreadable(info.path, f"it cannot be read ({error})") from error
    ranks = {split[0]: value.shape[0] for name, value in tensors.items() if (split := _down(name))}
    renamed = to_kohya(tensors, targets, alphas_beside(ranks, info.metadata, _adapter_config(info.path)))
    if targets is None:
        return LoraFile(info=info, state=renamed.state)
    by_key = {target.key: target for target in targets}
    problems = _stranger_problems(info.path, renamed.strangers, info.num_modules, targets)
    known = {name: value for name, value in renamed.state.items() if split_key(name)[0] in by_key}
    modules = modules_of(known, str(info.path))
    problems += match_problems(
        modules, {key: target.module for key, target in by_key.items()}, str(info.path)
    )
    if problems:
        raise LoraError(problems)
    state: dict[str, Tensor] = {}
    for key in (key for key in by_key if key in modules):
        weights = modules[key]
        down, up = shapes_for(by_key[key].module, weights.rank)
        state[f"{key}.{ALPHA}"] = torch.tensor(weights.alpha)
        state[f"{key}.{DOWN}"] = weights.down.reshape(down)
        state[f"{key}.lora_up.weight"] = weights.up.reshape(up)
    assert all(same_shape(state[name].shape, known[name].shape) for name in state if name in known)
    return LoraFile(info=info, state=state)


def _lora_header(path: Path) -> Header:
    try:
        header = read_header(path)
    except ModelError as error:
        raise LoraError(
            [replace(problem, required="a LoRA as a .safetensors file") for problem in error.problems]
        ) from error
    foreign = sorted({mark for mark in OTHER_ADAPTERS for name in header.tensors if mark in name})
    if foreign:
        given = f"it holds {', '.join(foreign)}: another kind of adapter (LoHa, LoKr, OFT, DoRA, LoCon with a middle)"
        raise LoraError(
            Problem(str(path), given, "plain LoRA: lora_down, lora_up, alpha", "Convert it to LoRA first.")
        )
    if layout_of(header.tensors) is None:
        raise _no_lora(path, header)
    return header


def _no_lora(path: Path, header: Header) -> LoraError:
    from maquette.families import inspect

    try:
        given = f"it is a base model ({inspect(str(path)).title}), not a LoRA"
    except MaquetteError:
        first = next(iter(header.tensors), None)
        given = f"no LoRA among its {len(header.tensors)} tensors" + (f" (first: {first})" if first else "")
    return LoraError(Problem(str(path), given, "a LoRA as a .safetensors file", "Choose the LoRA's file."))


def _unreadable(path: Path, given: str) -> LoraError:
    return LoraError(Problem(str(path), given, "a LoRA as a .safetensors file", _AGAIN))


def _down(name: str) -> tuple[str, str] | None:
    split = split_tensor_name(name)
    return split if split and split[1] == DOWN else None


def _ranks(header: Header) -> dict[str, int]:
    """Return the rank of each module, by the name that the file gives it."""
    found = {}
    for name, entry in header.tensors.items():
        split = _down(name)
        if split and entry.shape:
            found[split[0]] = entry.shape[0]
    return found


def _header_alphas(header: Header, ranks: Mapping[str, int]) -> list[float]:
    """Return the modules' scale numerators: the file's scalars, else those beside the tensors, else the ranks."""
    beside = alphas_beside(ranks, header.metadata, _adapter_config(header.path))
    with header.path.open("rb") as file:
        alphas = []
        for module, rank in ranks.items():
            entry = header.tensors.get(f"{module}.{ALPHA}")
            if entry is None or entry.dtype not in SCALARS:
                alphas.append(beside.get(module, float(rank)))
                continue
            file.seek(entry.start)
            alphas.append(
                float(torch.frombuffer(bytearray(file.read(entry.num_bytes)), dtype=SCALARS[entry.dtype])[0])
            )
    return alphas


SCALARS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32,
}  # fmt: skip


def _adapter_config(path: Path) -> Mapping[str, Any] | None:
    """Return PEFT's configuration beside `path`, which holds alpha; only its own file name has one."""
    beside = path.with_name("adapter_config.json")
    if path.name != "adapter_model.safetensors" or not beside.is_file():
        return None
    try:
        config = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "Repair it, or move it away to use a scale of one."
        raise LoraError(
            Problem(str(beside), f"cannot be read ({error})", "PEFT's JSON configuration", remedy)
        ) from error
    return config if isinstance(config, dict) else None


def _family_of(metadata: Mapping[str, str]) -> str | None:
    from maquette.families import FAMILIES

    version, architecture = metadata.get("ss_base_model_version"), metadata.get("modelspec.architecture")
    for family in FAMILIES.values():
        if version == family.spec.ss_base_model_version or architecture == family.spec.modelspec_architecture:
            return family.spec.name
    return None


def _stranger_problems(
    path: Path, strangers: Sequence[str], num_modules: int, targets: Sequence[LoraTarget]
) -> list[Problem]:
    if not strangers:
        return []
    if len(strangers) >= num_modules:
        given = f"none of its {num_modules} modules is in this model (first: {strangers[0]})"
        remedy = "It was made for another model family; choose the base model that it was trained on."
        return [Problem(str(path), given, f"modules such as {targets[0].key if targets else 'none'}", remedy)]
    names = list(aliases(targets))
    problems = []
    for name in strangers[:20]:
        guess = nearest(name, names)
        remedy = f"Did you mean '{guess}'?" if guess else "It was made for another model."
        problems.append(
            Problem(f"{path}: {name}", "is not a module of this model", "a module of this model", remedy)
        )
    if len(strangers) > 20:
        given = f"{len(strangers) - 20} further modules are not in this model"
        problems.append(Problem(str(path), given, "modules of this model", "See the names above."))
    return problems

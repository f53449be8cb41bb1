"""LoRA files: written whole or not at all, read from every common layout, never unpickled.

saved = save_lora(path, adapter.state_dict(0), metadata, dtype="fp16")
lora = read_lora(path, targets=model.lora_targets())      # tensors under kohya names, checked against the model
facts = inspect_lora(path)                                 # the header alone: rank, alpha, layout, metadata
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

from maquette.errors import LoraError, MaquetteError, Problem, nearest
from maquette.families.protocol import LoraTarget
from maquette.files import replacing
from maquette.lora.facts import LoraFacts
from maquette.lora.formats import to_kohya
from maquette.lora.kinds import ALPHA, KINDS
from maquette.lora.kinds.foreign import titles_of
from maquette.lora.metadata import MODEL_HASH
from maquette.lora.names import aliases
from maquette.lora.reading import read_lora_facts
from maquette.lora.state import State, match_problems, modules_of, shapes_for, split_key
from maquette.reading import parse_json

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
class LoraFile:
    """A LoRA in memory."""

    facts: LoraFacts
    state: Mapping[str, Tensor]
    """Tensors on the CPU, in the file's precision. With a model's targets: kohya names and shapes, `.alpha` everywhere.
    Without: kohya tensor names, modules as the file names them."""

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.facts.metadata


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
        MODEL_HASH: hashlib.sha256(data).hexdigest(),
        "sshs_legacy_hash": _legacy_hash(header_bytes(hashed, training), data),
    }
    fitted, notes = _fit(hashed, {**metadata, **hashes})
    header = header_bytes(hashed, fitted)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        file.write(data)
    return SavedLora(
        path=path,
        model_hash=hashes[MODEL_HASH],
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
    return parse_json(serialized[8 : 8 + length]), memoryview(serialized)[8 + length :]


def header_bytes(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
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
    while len(header_bytes(tensors, fitted)) > MAX_HEADER_BYTES:
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
        return json.dumps(_most_frequent(parse_json(value), keep))
    if key == "ss_datasets":
        datasets = parse_json(value)
        return json.dumps(
            [{**entry, "tag_frequency": _most_frequent(entry["tag_frequency"], keep)} for entry in datasets]
        )
    return value


def _most_frequent(folders: Mapping[str, Mapping[str, int]], keep: int) -> dict[str, dict[str, int]]:
    return {folder: dict(Counter(tags).most_common(keep)) for folder, tags in folders.items()}


# --- reading ---------------------------------------------------------------------------------------------


def inspect_lora(path: Path) -> LoraFacts:
    """Return what the LoRA at `path` is, without reading its weights.

    Raises LoraError when it is missing, damaged, no safetensors file, a base model or another kind of adapter.
    """
    return require_lora(read_lora_facts(path, depth="header"))


def require_lora(facts: LoraFacts) -> LoraFacts:
    """Return `facts` of a file that can be loaded as a LoRA. Raises LoraError that says why it cannot."""
    require_adapter(facts)
    if facts.adapters:
        given = (
            f"it holds {titles_of(facts.adapters)} ({', '.join(facts.adapters[:3])}): another kind of adapter"
        )
        kinds = ", ".join(kind.title for kind in KINDS.values())
        raise LoraError(
            Problem(str(facts.path), given, f"an adapter of {kinds}", "Convert it to LoRA first.")
        )
    if facts.beside_problem is not None:
        raise LoraError(facts.beside_problem)
    if facts.layout is None:
        raise _no_lora(facts)
    return facts


def read_lora(path: Path, targets: Sequence[LoraTarget] | None = None) -> LoraFile:
    """Return the LoRA at `path`, its tensors in memory.

    With a model's `targets` all modules get kohya names and shapes and must be in the model. Raises LoraError,
    naming everything that is wrong: damage, missing tensors, other shapes, unknown modules with near names.
    """
    return load_lora(inspect_lora(path), targets)


def load_lora(facts: LoraFacts, targets: Sequence[LoraTarget] | None = None) -> LoraFile:
    """Return the LoRA that `facts` are of, its tensors in memory; see `read_lora`."""
    where = str(facts.path)
    tensors = read_tensors(require_lora(facts))
    renamed = to_kohya(tensors, targets, facts.alphas_beside)
    if targets is None:
        return LoraFile(facts=facts, state=renamed.state)
    by_key = {target.key: target for target in targets}
    problems = _stranger_problems(facts.path, renamed.strangers, len(facts.modules), targets)
    known = {name: value for name, value in renamed.state.items() if split_key(name)[0] in by_key}
    modules = modules_of(known, where)
    problems += match_problems(modules, {key: target.module for key, target in by_key.items()}, where)
    if problems:
        raise LoraError(problems)
    state: dict[str, Tensor] = {}
    for key in (key for key in by_key if key in modules):
        weights = modules[key]
        shapes = shapes_for(by_key[key].module, weights)
        state[f"{key}.{ALPHA}"] = torch.tensor(weights.alpha)
        for name, tensor, shape in zip(weights.kind.tensors, weights.tensors, shapes, strict=True):
            state[f"{key}.{name}"] = tensor.reshape(shape)
    return LoraFile(facts=facts, state=state)


def read_tensors(facts: LoraFacts) -> dict[str, Tensor]:
    """Return all tensors of a file under its own names. Raises LoraError when it has changed or gone since `facts` were read."""
    try:
        # From memory, not mapped: the file may be replaced while its tensors live.
        return safetensors.torch.load(facts.path.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        given = f"it cannot be read ({error})"
        raise LoraError(Problem(str(facts.path), given, "a LoRA as a .safetensors file", _AGAIN)) from error


def require_adapter(facts: LoraFacts) -> LoraFacts:
    """Return `facts` of a file that holds an adapter of any kind. Raises LoraError that says what it is instead."""
    if facts.problem is not None:
        raise LoraError(replace(facts.problem, required="a LoRA as a .safetensors file"))
    if not facts.is_lora:
        raise _no_lora(facts)
    return facts


def _no_lora(facts: LoraFacts) -> LoraError:
    from maquette.families import inspect

    try:
        given = f"it is a base model ({inspect(str(facts.path)).title}), not a LoRA"
    except MaquetteError:
        first = next(iter(facts.loose), None)
        given = f"no LoRA among its {len(facts.loose)} tensors" + (f" (first: {first})" if first else "")
    return LoraError(
        Problem(str(facts.path), given, "a LoRA as a .safetensors file", "Choose the LoRA's file.")
    )


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

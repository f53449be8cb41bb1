"""A LoRA under the names that every program reads, or under diffusers': the same weights in a file of its own.

What a program would skip is not carried over but named: modules that the family does not have, stray tensors. An embedding
that is bundled with the LoRA becomes a file of its own, in the form that ComfyUI and A1111 read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from maquette.errors import LoraError, OutputError, Problem
from maquette.families import FAMILIES
from maquette.families.lora_names import LoraModule, lora_modules
from maquette.files import replacing
from maquette.lora.facts import LoraFacts
from maquette.lora.files import Precision, read_tensors, require_lora, save_lora
from maquette.lora.formats import to_diffusers, to_kohya
from maquette.lora.kinds import ALPHA, KINDS
from maquette.lora.kinds.foreign import titles_of
from maquette.lora.names import ADAPTER_METADATA, BUNDLED
from maquette.lora.reading import read_lora_facts
from maquette.lora.state import modules_of, split_key

if TYPE_CHECKING:
    from torch import Tensor

ConvertTo = Literal["kohya", "diffusers"]
_PRECISIONS: dict[str, Precision] = {"F16": "fp16", "BF16": "bf16"}
_EMBEDDING_KEYS = {"string_to_param.*": "emb_params"}
"""What a bundled embedding's tensors are called in a file of their own, where that is another name."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What a conversion wrote, and what it left out."""

    path: Path
    modules: int
    left_out: tuple[str, ...]
    """Modules that the family does not have, and tensors that are part of no adapter."""
    embeddings: tuple[Path, ...]
    """Files of the embeddings that were bundled."""


def convert_lora(path: Path, output: Path | None = None, *, to: ConvertTo = "kohya") -> Converted:
    """Write the LoRA at `path` under the names of `to` and return what was written; `output` of None is a name beside it.

    Alphas that stood beside the tensors, or nowhere, become tensors of their own. Raises LoraError when it is no plain LoRA of a
    known family, OutputError when an output is there already.
    """
    facts = _require_known(read_lora_facts(path, depth="header"))
    assert facts.family is not None
    output = output or path.with_name(f"{path.stem}-{to}.safetensors")
    embeddings = {name: output.with_name(f"{name}.safetensors") for name in facts.embeddings}
    _require_free(output, *embeddings.values())
    table = lora_modules(facts.family)
    tensors = read_tensors(facts)
    state = _kohya_state(facts, tensors, table)
    metadata = _metadata(facts)
    if to == "diffusers":
        state, beside = to_diffusers(state, list(table.values()))
        metadata |= beside
    save_lora(output, state, metadata, dtype=_PRECISIONS.get(facts.dtype, "fp32"))
    for name, place in embeddings.items():
        _write_embedding(name, {key: tensors[key] for key in facts.embeddings[name]}, place)
    return Converted(
        path=output,
        modules=len(facts.modules) - len(facts.strangers),
        left_out=(*(module.name for module in facts.strangers), *facts.stray),
        embeddings=tuple(embeddings.values()),
    )


def _require_known(facts: LoraFacts) -> LoraFacts:
    """Return `facts` of a plain LoRA whose modules have names that we know."""
    where = str(facts.path)
    if facts.adapters:
        given = f"it holds {titles_of(facts.adapters)} ({', '.join(facts.adapters[:3])})"
        raise LoraError(
            Problem(where, given, "plain LoRA", "Save it again by its own trainer, in kohya's layout.")
        )
    require_lora(facts)
    if facts.family is None:
        what = facts.architecture or "no family that Maquette knows"
        required = f"a LoRA for {' or '.join(family.spec.title for family in FAMILIES.values())}"
        raise LoraError(
            Problem(where, f"it is a LoRA for {what}", required, "Convert it with its own trainer.")
        )
    return facts


def _require_free(*places: Path) -> None:
    problems = [
        Problem(str(place), "is there already", "a new file", "Give another --output, or move it away.")
        for place in places
        if place.exists()
    ]
    if problems:
        raise OutputError(problems)


def _kohya_state(
    facts: LoraFacts, tensors: Mapping[str, Tensor], table: Mapping[str, LoraModule]
) -> dict[str, Tensor]:
    """Return the family's modules under kohya names, each with its alpha first, in the model's order."""
    import torch

    renamed = to_kohya(tensors, list(table.values()), facts.alphas_beside).state
    known = {name: tensor for name, tensor in renamed.items() if split_key(name)[0] in table}
    modules = modules_of(known, str(facts.path))
    state: dict[str, Tensor] = {}
    for key in (key for key in table if key in modules):
        weights = modules[key]
        state[f"{key}.{ALPHA}"] = torch.tensor(weights.alpha)
        state |= {
            f"{key}.{name}": tensor
            for name, tensor in zip(weights.kind.tensors, weights.tensors, strict=True)
        }
    return state


def _metadata(facts: LoraFacts) -> dict[str, str]:
    """Return the file's own metadata, with what programs sort by where it says nothing: base, rank, alpha."""
    assert facts.family is not None
    spec = FAMILIES[facts.family].spec
    told = {key: value for key, value in facts.metadata.items() if key != ADAPTER_METADATA}
    missing = {
        "ss_base_model_version": spec.ss_base_model_version,
        "modelspec.architecture": spec.modelspec_architecture,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": facts.path.stem,
        "ss_network_module": KINDS[
            next(module.kind for module in facts.modules if module.kind)
        ].network_module,
        "ss_network_dim": str(facts.rank),
        "ss_network_alpha": f"{facts.alpha:g}",
    }
    return {**missing, **told}


def _write_embedding(name: str, bundled: Mapping[str, Tensor], place: Path) -> None:
    """Write a bundled embedding as ComfyUI and A1111 read one: `emb_params` of one encoder, `clip_l` and `clip_g` of two."""
    import safetensors.torch

    start = f"{BUNDLED}.{name}."
    found = {
        _EMBEDDING_KEYS.get(key.removeprefix(start), key.removeprefix(start)): tensor.contiguous()
        for key, tensor in bundled.items()
    }
    with replacing(place) as temporary:
        safetensors.torch.save_file(found, temporary)

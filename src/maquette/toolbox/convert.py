"""A LoRA under the names that every program reads, or under diffusers', in another precision, or of another kind made plain.

What a program would skip is not carried over but named: modules that the family does not have, stray tensors. An embedding
that is bundled with the LoRA becomes a file of its own, in the form that ComfyUI and A1111 read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from maquette.errors import ConfigError, LoraError, Problem
from maquette.events import Artifact, Finished, Progress, Stage, Started
from maquette.families import FAMILIES
from maquette.files import replacing
from maquette.lora.facts import LoraFacts
from maquette.lora.files import read_tensors, require_lora, save_lora
from maquette.lora.formats import to_diffusers
from maquette.lora.kinds.foreign import titles_of
from maquette.lora.names import BUNDLED
from maquette.lora.reading import read_lora_facts
from maquette.lora.state import ModuleWeights
from maquette.toolbox.metadata import described
from maquette.toolbox.opening import OpenedLora, is_plain, open_lora, require_base_for, require_kernels
from maquette.toolbox.options import ConvertOptions
from maquette.toolbox.shortening import shortened
from maquette.toolbox.truncation import Truncation
from maquette.toolbox.weights import BaseWeights, base_weights
from maquette.toolbox.writing import Errors, place_for, require_free, state_of

STAGE = "convert"
PLAIN = Truncation(rank=128, conv_rank=None, energy=0.999)
"""What is kept of a change that was no product, where nothing else is asked for."""
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
    dtype: str
    ranks: tuple[int, ...]
    kept: float | None = None
    """Share of the change's squared norm that plain LoRA keeps of another kind; None where weights stayed the same."""
    errors: Mapping[str, float] | None = None
    """‖change − what the file holds‖ / ‖change‖ of each module, where it was worked out anew."""


def convert_lora_events(path: Path, options: ConvertOptions) -> Stage[Converted]:
    """Write the LoRA at `path` as `options` ask.

    Alphas that stood beside the tensors, or nowhere, become tensors of their own. Raises LoraError when it is no adapter of a
    known family, OutputError when an output is there already.
    """
    _require_meant(options)
    facts = _require_known(read_lora_facts(path, depth="header"))
    done = "plain" if options.plain else options.to
    output = place_for(path, options.output, done, overwrite=options.overwrite)
    embeddings = {name: output.with_name(f"{name}.safetensors") for name in facts.embeddings}
    require_free(*embeddings.values(), overwrite=options.overwrite)
    base = base_weights(options.base) if options.base is not None else None
    lora = open_lora(path, base, leave_strangers=True)
    _require_names(lora, options)
    modules, errors = lora.modules, None
    if options.plain and not is_plain(lora):
        modules, errors = yield from _plain(lora, base, options)
    state: dict[str, Tensor] = state_of(modules)
    metadata = described(lora.metadata, modules, facts.family, path.stem)
    if options.to == "diffusers":
        state, beside = to_diffusers(state, list(lora.layers.values()))
        metadata |= beside
    dtype = options.dtype or lora.precision
    save_lora(output, state, metadata, dtype=dtype)
    yield Artifact("lora", output)
    if embeddings:
        tensors = read_tensors(facts)
        for name, place in embeddings.items():
            _write_embedding(name, {key: tensors[key] for key in facts.embeddings[name]}, place)
            yield Artifact("embedding", place)
    return Converted(
        path=output,
        modules=len(modules),
        left_out=lora.left_out,
        embeddings=tuple(embeddings.values()),
        dtype=dtype,
        ranks=tuple(sorted({weights.rank for weights in modules.values()})),
        kept=errors.kept if errors else None,
        errors=errors.by_module if errors else None,
    )


def _require_meant(options: ConvertOptions) -> None:
    """Raise ConfigError for options that mean something with --plain alone."""
    given = [name for name in ("rank", "conv_rank", "energy") if getattr(options, name) is not None]
    if given and not options.plain:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        remedy = "Add --plain, or change ranks with maquette lora resize."
        raise ConfigError(Problem(flags, "given without --plain", "both", remedy))


def _require_names(lora: OpenedLora, options: ConvertOptions) -> None:
    """Raise LoraError where diffusers' names of some layers are not known: kohya's do not tell them."""
    unknown = [key for key in lora.modules if key not in lora.layers]
    if unknown and options.to == "diffusers":
        given = f"{len(unknown)} of its layers are in no published model ({unknown[0]})"
        raise LoraError(
            Problem(str(lora.path), given, "the base that it was trained on", "Name it: --base BASE")
        )


def _require_known(facts: LoraFacts) -> LoraFacts:
    """Return `facts` of an adapter whose modules have names that we know."""
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


def _plain(
    lora: OpenedLora, base: BaseWeights | None, options: ConvertOptions
) -> Stage[tuple[Mapping[str, ModuleWeights], Errors]]:
    """Return plain LoRA whose change is that of `lora`, as nearly as ranks allow, and how near that is."""
    require_base_for([lora], base, "Name it: --base BASE")
    require_kernels([lora])
    if base is not None:
        base.require_fit(lora.path, lora.modules)
    rule = Truncation(options.rank or PLAIN.rank, options.conv_rank, options.energy or _energy(options))
    errors, made = Errors(), dict[str, ModuleWeights]()
    yield Started(STAGE, len(lora.modules), "module")
    for number, key in enumerate(lora.modules, 1):
        change = lora.change(key, base.read(key) if base is not None else None)
        made[key] = shortened(key, change, rule, options.dtype or lora.precision, errors)
        yield Progress(STAGE, number, len(lora.modules), "module")
    yield Finished(STAGE)
    return made, errors


def _energy(options: ConvertOptions) -> float | None:
    return PLAIN.energy if options.rank is None else None


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

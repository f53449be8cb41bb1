"""`maquette lora`: the toolbox for LoRA files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import given_of, options_of
from maquette.cli.output import follow, result_command
from maquette.spoken import counted
from maquette.toolbox.options import (
    CompareOptions,
    ConvertOptions,
    ExtractOptions,
    InspectOptions,
    MergeOptions,
    PruneOptions,
    ResizeOptions,
    StripOptions,
)

if TYPE_CHECKING:
    from maquette.lora.facts import LoraFacts
    from maquette.toolbox.inspecting import Inspected
    from maquette.toolbox.writing import Written

BAR = 24
"""Letters of the longest bar."""


@click.group(name="lora")
def command() -> None:
    """Look at LoRA files; convert, merge, resize, extract, compare, strip and prune them."""


def _file(name: str = "file", **attributes: Any) -> Any:
    return click.argument(name, type=click.Path(path_type=Path), **attributes)


# --- inspect ---------------------------------------------------------------------------------------------


@result_command(_file(), *options_of(InspectOptions), name="inspect")
def inspect(file: Path, **given: Any) -> dict[str, Any]:
    """Say what a LoRA FILE is: kind, model, names, rank, alpha, precision, metadata, which blocks carry what, what is wrong.

    Adapters of any kind and for any model are read (LoHa, LoKr, DoRA, (IA)³, GLoRA; FLUX, SD 3, Wan, …).
    """
    from maquette.api import lora_inspect

    found = lora_inspect(file, **given)
    facts = _told(found)
    lines = [
        f"{name}: {_shown(value)}"
        for name, value in facts.items()
        if value not in (None, [], {}, 0) or name == "alpha"
    ]
    lines += [f"{name}: {_shown(value)}" for name, value in found.summary.items()]
    lines += _bars(found)
    lines += [f"{each.severity} {each.code}: {each.message} {each.remedy}" for each in found.problems]
    lines += [f"next: {step}" for step in _next(found.facts)]
    return {
        **facts,
        "metadata": dict(found.facts.metadata),
        "summary": dict(found.summary),
        "norm": found.norm,
        "blocks": {
            block.name: {"modules": block.modules, "norm": block.norm, "share": block.share}
            for block in found.blocks
        },
        "problems": [each.to_json() for each in found.problems],
        "hints": [each.to_json() for each in found.hints],
        "chart": str(found.chart) if found.chart else None,
        "lines": lines,
    }


def _told(found: Inspected) -> dict[str, Any]:
    from maquette.lora.kinds import KINDS
    from maquette.lora.kinds.foreign import titles_of

    info = found.facts
    own = next((KINDS[module.kind].title for module in info.modules if module.kind), None)
    return {
        "path": str(info.path),
        "kind": titles_of(info.adapters) if info.adapters else own,
        "kinds": dict(found.kinds),
        "family": info.family,
        "model": info.architecture or info.family_title,
        "named_family": info.named_family,
        "layout": info.layout,
        "modules": len(info.modules),
        "parts": dict(found.parts),
        "text_modules": sum(module.is_text for module in info.modules),
        "unknown_modules": 0 if info.family is None else len(info.strangers),
        "skipped_by_comfyui": None if info.family is None else len(info.unfound) + len(info.strangers),
        "rank": info.rank,
        "ranks": list(info.ranks),
        "alpha": info.alpha if info.rank else None,
        "alphas": list(found.alphas),
        "dtype": info.dtype,
        "bytes": info.num_bytes,
        "embeddings": list(info.embeddings),
        "stray": [name for name in info.stray if not name.endswith(".alpha")],
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value[:5])) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
    return str(value)


def _bars(found: Inspected) -> list[str]:
    """Return a bar for each block's norm."""
    if not found.blocks:
        return []
    most = max((block.norm or 0.0 for block in found.blocks), default=0.0) or 1.0
    lines = ["change by block (Frobenius norm, share of the whole's square):"]
    for block in found.blocks:
        if block.norm is None:
            lines.append(f"  {block.name:<16} told by the base's weights alone")
        else:
            bar = "█" * round(BAR * block.norm / most)
            share = f"{block.share:6.1%}" if block.share is not None else ""
            lines.append(f"  {block.name:<16} {bar:<{BAR}} {block.norm:8.4g} {share}")
    return lines


def _next(info: LoraFacts) -> list[str]:
    """Return what a person would do about what was found."""
    if info.family is not None and not info.adapters and (info.unfound or info.embeddings):
        return [f"maquette lora convert {info.path}: programs skip parts of it under these names"]
    return []


# --- convert ---------------------------------------------------------------------------------------------


@result_command(_file(), *options_of(ConvertOptions), name="convert")
def convert(file: Path, **given: Any) -> dict[str, Any]:
    """Write a LoRA FILE under the names that every drawing program reads, with alphas and metadata.

    The weights stay the same, but for another precision or --plain. What programs would skip is left out and named; an embedding
    that is bundled with the LoRA becomes a file of its own.
    """
    from maquette.toolbox.convert import convert_lora_events

    options = ConvertOptions(**given_of(ConvertOptions, given))
    done = follow(convert_lora_events(file, options))
    whose = {"kohya": "kohya's", "diffusers": "diffusers'"}[options.to]
    lines = [f"{done.modules} modules under {whose} names, {done.dtype}: {done.path}"]
    if done.kept is not None:
        lines.append(
            f"plain LoRA of ranks {_span(done.ranks)} keeps {done.kept:.3%} of the change's squared norm"
        )
    lines += [
        f"embedding: {path} (into the program's embeddings folder; write embedding:{path.stem})"
        for path in done.embeddings
    ]
    if done.left_out:
        lines.append(f"left out, as no program knows them: {_shown(list(done.left_out))}")
    return {
        "path": str(done.path),
        "modules": done.modules,
        "dtype": done.dtype,
        "ranks": list(done.ranks),
        "kept": done.kept,
        "errors": dict(done.errors) if done.errors is not None else None,
        "left_out": list(done.left_out),
        "embeddings": [str(path) for path in done.embeddings],
        "lines": lines,
    }


# --- merge -----------------------------------------------------------------------------------------------


@result_command(_file("files", nargs=-1, required=True), *options_of(MergeOptions), name="merge")
def merge(files: tuple[Path, ...], **given: Any) -> dict[str, Any]:
    """Merge LoRA FILES into a base model, or into one LoRA.

    \b
      maquette lora merge fox.safetensors --base model.safetensors --strength 0.8
      maquette lora merge fox.safetensors style.safetensors --strength 1 --strength 0.5
      maquette lora merge fox.safetensors style.safetensors --rank 32
    """
    from maquette.toolbox.baking import merge_into_base_events
    from maquette.toolbox.merge import merge_loras_events

    options = MergeOptions(**given_of(MergeOptions, given))
    if options.base is None:
        return _written(follow(merge_loras_events(files, options)))
    done = follow(merge_into_base_events(files, options))
    return {
        "path": str(done.path),
        "family": done.family,
        "layers": done.layers,
        "bytes": done.num_bytes,
        "rounding": done.rounding,
        "lines": [
            f"{counted(len(files), 'LoRA')} in {counted(done.layers, 'layer')}: {done.path}",
            f"the file's precision blurs the change by {done.rounding:.2%}",
        ],
    }


def _written(done: Written, **more: Any) -> dict[str, Any]:
    """Return what a LoRA that was written anew is, as JSON and in lines."""
    lines = [
        f"{counted(done.modules, 'module')} of ranks {_span(done.ranks)}, {done.dtype}, "
        f"{done.num_bytes / 2**20:.1f} MiB: {done.path}"
    ]
    if done.error is not None and done.kept is not None:
        worst = max(done.errors, key=lambda key: done.errors[key], default=None)
        beside = f"; most in {worst}: {done.errors[worst]:.3%}" if worst is not None else ""
        lines.append(f"error {done.error:.3%}, {done.kept:.3%} of the squared norm kept{beside}")
    if done.left_out:
        lines.append(f"left out: {_shown(list(done.left_out))}")
    lines += done.notes
    return {
        "path": str(done.path),
        "modules": done.modules,
        "ranks": list(done.ranks),
        "dtype": done.dtype,
        "bytes": done.num_bytes,
        "error": done.error,
        "kept": done.kept,
        "errors": dict(done.errors),
        "left_out": list(done.left_out),
        **more,
        "lines": lines,
    }


def _span(ranks: tuple[int, ...]) -> str:
    return str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}" if ranks else "none"


# --- resize, extract -------------------------------------------------------------------------------------


@result_command(_file(), *options_of(ResizeOptions), name="resize")
def resize(file: Path, **given: Any) -> dict[str, Any]:
    """Write a LoRA FILE with other ranks: for each module the best approximation of its change.

    \b
      maquette lora resize fox.safetensors --rank 16
      maquette lora resize fox.safetensors --energy 0.99
      maquette lora resize fox.safetensors --method sv_fro --value 0.9 --rank 32
    """
    from maquette.toolbox.resize import resize_events

    return _written(follow(resize_events(file, ResizeOptions(**given_of(ResizeOptions, given)))))


@result_command(_file("model"), *options_of(ExtractOptions), name="extract")
def extract(model: Path, **given: Any) -> dict[str, Any]:
    """Write what a fine-tuned MODEL learned from its base as a LoRA.

    \b
      maquette lora extract tuned.safetensors --base model.safetensors --rank 32 --conv-rank 8
    """
    from maquette.toolbox.extract import extract_events

    done = follow(extract_events(model, ExtractOptions(**given_of(ExtractOptions, given))))
    outside = vars(done.outside) if done.outside is not None else None
    return _written(done.written, outside=outside)


# --- compare ---------------------------------------------------------------------------------------------


@result_command(_file("first"), _file("second"), *options_of(CompareOptions), name="compare")
def compare(first: Path, second: Path, **given: Any) -> dict[str, Any]:
    """Say how alike the changes of two LoRAs are, block by block and whole, and what their metadata say differently."""
    from maquette.api import lora_compare

    found = lora_compare(first, second, **given)
    lines = [
        f"cosine {_signed(found.whole.cosine)}, norms {found.whole.norms[0]:.4g} and {found.whole.norms[1]:.4g}; "
        f"{counted(found.common, 'module')} in both, {len(found.only[0])} only in the first, "
        f"{len(found.only[1])} only in the second"
    ]
    lines += [
        f"  {name:<16} {_signed(each.cosine)}   {each.norms[0]:8.4g} {each.norms[1]:8.4g}"
        for name, each in found.blocks.items()
    ]
    lines += [f"{key}: {_said(one)} | {_said(other)}" for key, (one, other) in found.metadata.items()]
    return {
        "cosine": found.whole.cosine,
        "norms": list(found.whole.norms),
        "blocks": {
            name: {"cosine": each.cosine, "norms": list(each.norms)} for name, each in found.blocks.items()
        },
        "common": found.common,
        "only": [list(names) for names in found.only],
        "ranks": [list(ranks) for ranks in found.ranks],
        "metadata": {key: list(values) for key, values in found.metadata.items()},
        "lines": lines,
    }


def _signed(cosine: float | None) -> str:
    return "  none" if cosine is None else f"{cosine:+.4f}"


def _said(value: str | None) -> str:
    return "—" if value is None else value if len(value) <= 60 else f"{value[:57]}…"


# --- strip, prune ----------------------------------------------------------------------------------------


@result_command(_file(), *options_of(StripOptions), name="strip-metadata")
def strip_metadata(file: Path, **given: Any) -> dict[str, Any]:
    """Write a LoRA FILE without its metadata, or without what is private of them; no bit of its weights changes."""
    from maquette.api import lora_strip_metadata

    done = lora_strip_metadata(file, **given)
    return {
        "path": str(done.path),
        "removed": list(done.removed),
        "kept": list(done.kept),
        "bytes": done.num_bytes,
        "lines": [
            f"{counted(len(done.removed), 'key')} taken out, {len(done.kept)} kept: {done.path}",
            *(f"  {key}" for key in done.removed),
        ],
    }


@result_command(_file(), *options_of(PruneOptions), name="prune-blocks")
def prune_blocks(file: Path, **given: Any) -> dict[str, Any]:
    """Write a LoRA FILE without some of its blocks.

    \b
      maquette lora prune-blocks fox.safetensors --block text_encoder --block IN01
      maquette lora prune-blocks fox.safetensors --keep "OUT0[3-5]"
      maquette lora prune-blocks fox.safetensors --below 0.01
    """
    from maquette.api import lora_prune_blocks

    done = lora_prune_blocks(file, **given)
    result = _written(
        done.written,
        removed=list(done.removed),
        blocks=dict(done.blocks),
        share=done.share,
    )
    share = f", {done.share:.2%} of the squared norm" if done.share is not None else ""
    said = f"taken out: {counted(len(done.removed), 'module')} of {_shown(dict(done.blocks))}{share}"
    return {**result, "lines": [*result["lines"], said]}


for each in (inspect, convert, merge, resize, extract, compare, strip_metadata, prune_blocks):
    command.add_command(each)

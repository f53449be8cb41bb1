"""`maquette lora`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.output import result_command

if TYPE_CHECKING:
    from maquette.lora.facts import LoraFacts

SHOWN_METADATA = (
    "ss_output_name",
    "ss_steps",
    "ss_sd_model_name",
    "modelspec.architecture",
    "modelspec.resolution",
)


@click.group(name="lora")
def command() -> None:
    """Look at LoRA files, and write them under the names that every program reads."""


@result_command(click.argument("file", type=click.Path(path_type=Path)), name="inspect")
def inspect(file: Path) -> dict[str, Any]:
    """Say what a LoRA FILE is: kind, model, names, rank, alpha, precision, what drawing programs would skip, metadata.

    Adapters of any kind and for any model are read (LoHa, LoKr, DoRA, (IA)³, GLoRA; FLUX, SD 3, Wan, …). Only the header is read.
    """
    from maquette.lora.files import require_adapter
    from maquette.lora.reading import read_lora_facts

    info = require_adapter(read_lora_facts(file, depth="header"))
    facts = _told(info)
    lines = [
        f"{name}: {_shown(value)}"
        for name, value in facts.items()
        if value not in (None, [], 0) or name == "alpha"
    ]
    lines += [f"{key}: {info.metadata[key]}" for key in SHOWN_METADATA if key in info.metadata]
    lines += [f"next: {step}" for step in _next(info)]
    return {**facts, "metadata": dict(info.metadata), "lines": lines}


def _told(info: LoraFacts) -> dict[str, Any]:
    from maquette.lora.kinds import KINDS
    from maquette.lora.kinds.foreign import titles_of

    own = next((KINDS[module.kind].title for module in info.modules if module.kind), None)
    text = sum(module.is_text for module in info.modules)
    return {
        "path": str(info.path),
        "kind": titles_of(info.adapters) if info.adapters else own,
        "family": info.family,
        "model": info.architecture or info.family_title,
        "named_family": info.named_family,
        "layout": info.layout,
        "modules": len(info.modules),
        "text_modules": text,
        "unknown_modules": 0 if info.family is None else len(info.strangers),
        "skipped_by_comfyui": None if info.family is None else len(info.unfound) + len(info.strangers),
        "rank": info.rank,
        "ranks": list(info.ranks),
        "alpha": info.alpha if info.rank else None,
        "dtype": info.dtype,
        "bytes": info.num_bytes,
        "embeddings": list(info.embeddings),
        "stray": [name for name in info.stray if not name.endswith(".alpha")],
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value[:5])) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
    return str(value)


def _next(info: LoraFacts) -> list[str]:
    """Return what a person would do about what was found."""
    if info.family is not None and not info.adapters and (info.unfound or info.embeddings):
        return [f"maquette lora convert {info.path}: programs skip parts of it under these names"]
    return []


@result_command(
    click.argument("file", type=click.Path(path_type=Path)),
    click.option(
        "--output",
        type=click.Path(path_type=Path),
        help="The new file. Default: FILE's name with -kohya, beside it.",
    ),
    click.option(
        "--to",
        type=click.Choice(["kohya", "diffusers"]),
        default="kohya",
        show_default=True,
        help="Whose names: kohya's are read by every drawing program, diffusers' by diffusers and PEFT.",
    ),
    name="convert",
)
def convert(file: Path, output: Path | None, to: Any) -> dict[str, Any]:
    """Write a LoRA FILE under the names that every drawing program reads, with alphas and metadata.

    The weights stay the same. What programs would skip is left out and named; an embedding that is bundled with the LoRA becomes
    a file of its own.
    """
    from maquette.lora.convert import convert_lora

    done = convert_lora(file, output, to=to)
    whose = {"kohya": "kohya's", "diffusers": "diffusers'"}[to]
    lines = [f"{done.modules} modules under {whose} names: {done.path}"]
    lines += [
        f"embedding: {path} (into the program's embeddings folder; write embedding:{path.stem})"
        for path in done.embeddings
    ]
    if done.left_out:
        lines.append(f"left out, as no program knows them: {_shown(list(done.left_out))}")
    return {
        "path": str(done.path),
        "modules": done.modules,
        "left_out": list(done.left_out),
        "embeddings": [str(path) for path in done.embeddings],
        "lines": lines,
    }


command.add_command(inspect)
command.add_command(convert)

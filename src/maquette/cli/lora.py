"""`maquette lora`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command


@click.group(name="lora")
def command() -> None:
    """Look at LoRA files."""


@result_command(click.argument("file", type=click.Path(path_type=Path)), name="inspect")
def inspect(file: Path) -> dict[str, Any]:
    """Say what a LoRA FILE is: layout, rank, alpha, precision, modules, the family that they are of, metadata. Only the header
    is read."""
    from maquette.lora.files import inspect_lora

    info = inspect_lora(file)
    facts = {
        "path": str(info.path),
        "layout": info.layout,
        "family": info.family,
        "named_family": info.named_family,
        "modules": len(info.modules),
        "rank": info.rank,
        "ranks": list(info.ranks),
        "alpha": info.alpha,
        "dtype": info.dtype,
        "bytes": info.num_bytes,
    }
    lines = [f"{name}: {value}" for name, value in facts.items()]
    shown = (
        "ss_output_name",
        "ss_steps",
        "ss_sd_model_name",
        "modelspec.architecture",
        "modelspec.resolution",
    )
    lines += [f"{key}: {info.metadata[key]}" for key in shown if key in info.metadata]
    return {**facts, "metadata": dict(info.metadata), "lines": lines}


command.add_command(inspect)

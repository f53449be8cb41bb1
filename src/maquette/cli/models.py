"""`maquette models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command
from maquette.spoken import disk_size


@click.group(name="models")
def command() -> None:
    """Look at base models."""


@result_command(click.argument("model"), name="inspect")
def inspect(model: str) -> dict[str, Any]:
    """Say what MODEL is: family, prediction, precision, native resolution.

    MODEL is a .safetensors checkpoint, a diffusers folder or a hub name. Only the header is read.
    """
    from maquette import families

    facts = families.inspect(model).to_json()
    return {
        **facts,
        "lines": [f"{name}: {value}" for name, value in facts.items() if value not in ([], None, "")],
    }


@result_command(
    click.option(
        "--in",
        "programs",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Also look into this ComfyUI, AUTOMATIC1111 or Forge.",
    ),
    name="list",
)
def list_(programs: tuple[Path, ...]) -> dict[str, Any]:
    """List the base models on this computer.

    Drawing programs' usual folders and the Hugging Face cache are looked into; the small world's, which ships, is named too.
    """
    from maquette.deploying.bases_here import bases_here

    found = bases_here(programs=programs)
    return {
        "bases": [each.to_json() for each in found],
        "lines": [
            line
            for each in found
            for line in (
                each.base,
                f"  {each.title}, {each.resolution} px, {disk_size(each.num_bytes)}; {each.where}",
            )
        ],
    }


command.add_command(inspect)
command.add_command(list_)

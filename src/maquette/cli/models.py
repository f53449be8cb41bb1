"""`maquette models`."""

from __future__ import annotations

from typing import Any

import click

from maquette.cli.output import result_command


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


command.add_command(inspect)

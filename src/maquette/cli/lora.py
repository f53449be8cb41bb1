"""`maquette lora`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from maquette.cli.output import result_command


@click.group(name="lora")
def command() -> None:
    """Look at LoRA files."""

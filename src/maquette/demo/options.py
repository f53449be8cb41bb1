"""What the demo is asked for."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from maquette.project.fields import Options


class DemoOptions(Options):
    """Where the demo goes, and by which seed."""

    output: Path = Field(Path("demo-output"), description="Folder for pictures, run, LoRA and report.")
    seed: int = Field(7, ge=0, description="Seed of pictures and training.")

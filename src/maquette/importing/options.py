"""What an import is asked for."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from maquette.project.fields import Options


class ImportOptions(Options):
    """Importing another trainer's run."""

    output: Path = Field(Path("runs"), description="Folder that receives a run's folder for each run found.")
    settings: Path | None = Field(
        None,
        description="The trainer's settings (script, --config_file, JSON, YAML). Default: looked for in FOLDER.",
    )
    log: Path | None = Field(
        None, description="The run's log, or its folder of TensorBoard events. Default: looked for in FOLDER."
    )
    base: str = Field("", description="Where the base model lies here. Default: where the settings say.")
    images: Path | None = Field(
        None, description="Where the pictures lie here. Default: where the settings say."
    )
    trigger: str = Field("", description="The trigger word. Default: as settings or files say.")

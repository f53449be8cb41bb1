"""`[saving]`: where the run lies and what it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from maquette.project.fields import Section

TrackerName = Literal["trackio", "wandb", "mlflow"]


class SavingSettings(Section):
    """`[saving]`: where the run lies and what it keeps."""

    output: Path = Field(Path("runs"), description="Folder that receives the run's folder.")
    name: str = Field(
        "",
        pattern=r"^[\w][\w .+-]*$|^$",
        json_schema_extra={"form": "letters, digits, spaces and . + - _, a letter or digit first"},
        description="Name of the run's folder and of its LoRA files. Default: the trigger.",
    )
    save_every_steps: int | None = Field(None, ge=1, description="Checkpoint every N steps.")
    save_every_epochs: int | None = Field(
        None, ge=1, description="Checkpoint every N epochs (never at the last: that is the final file)."
    )
    save_precision: Literal["fp32", "fp16", "bf16"] = Field(
        "fp16", description="Precision of the saved LoRA."
    )
    metadata_title: str = Field(
        "", description="Title that the file says of itself. Default: the file's name."
    )
    metadata_author: str = Field("", description="Author that the file names.")
    metadata_description: str = Field("", description="What the file says that it is.")
    metadata_license: str = Field("", description="License that the file names.")
    metadata_tags: str = Field("", description="Tags that the file carries, with commas.")
    metadata_usage_hint: str = Field("", description="How the file says that it is used.")
    training_comment: str = Field("", description="A note for whoever reads the file's metadata.")
    tensorboard: bool | None = Field(
        None,
        description="Write TensorBoard events into the run's folder. Default: where the extra `tensorboard` is installed.",
    )
    trackers: tuple[TrackerName, ...] = Field(
        (),
        description="Show the run's curves there too: trackio (SQLite on this machine), wandb (files; WANDB_MODE=online sends "
        "them), mlflow (files, or MLFLOW_TRACKING_URI).",
    )
    tracker_project: str = Field(
        "maquette", min_length=1, description="Project under which trackers show the run."
    )
    tracker_run: str = Field("", description="Name by which trackers show the run. Default: the run's.")
    logging_dir: Path | None = Field(
        None,
        description="Folder of TensorBoard's events and of trackers' files. Default: the run's folder, and output for trackers.",
    )
    state_every_steps: int = Field(
        100,
        ge=0,
        description="Save what resuming needs every N steps, beside checkpoints; 0: only with checkpoints.",
    )

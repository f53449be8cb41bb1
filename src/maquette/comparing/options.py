"""What looking at records is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from maquette.project.fields import Options


class ReproduceOptions(Options):
    """Training a run again."""

    output: Path | None = Field(
        None,
        description="Folder that receives the new run's folder. Default: where RUN lies, as NAME-reproduced.",
    )
    base: str = Field("", description="Where the base lies now, if it was moved.")
    images: Path | None = Field(None, description="Where the pictures lie now, if they were moved.")
    dry_run: bool = Field(False, description="Say what would be done, and train nothing.")


class RunsOptions(Options):
    """Listing runs."""

    sort: Literal["when", "name", "base", "trigger", "steps", "state", "loss", "held-out", "verdict"] = Field(
        "when", description="Column to sort by; held-out is the loss of the pictures that were held out."
    )
    reverse: bool = Field(False, description="Sort the other way round.")
    notes: bool = Field(False, description="Show every note of every run instead of the table.")
    html: Path | None = Field(
        None, description="Write a page of all decisions, failures and reasons to this file."
    )

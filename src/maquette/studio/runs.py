"""A project's runs as pages have them: which there are, one by its name, its curves thinned to what a screen shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maquette.errors import Problem
from maquette.logs.metrics import read_metrics
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import RunRecord
from maquette.studio.workspace import NotFound, Project

MOST_POINTS = 1500
"""Of a curve: more do not fit on a screen."""


def runs_of(project: Project) -> list[Path]:
    """Return the folders of the project's runs."""
    folder = project.root / "runs"
    found = (path.parent for path in folder.glob(f"*/{RECORD_NAME}"))
    return [place for place in found if place.resolve().is_relative_to(project.root)]


def run_of(project: Project, name: str) -> Path:
    """Return the folder of the run with this name. Raises NotFound."""
    place = next((place for place in runs_of(project) if place.name == name), None)
    if place is None:
        raise NotFound(Problem(name[:200], "no such run in this project", "a run", "Reload the page."))
    return place


def losses_of(place: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run's steps that have a loss."""
    return [row for row in read_metrics(RunFolder(place).metrics) if "loss" in row]


def curve_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[float]]:
    """Return steps and losses of a run, thinned to what fits on a screen; the last is always there."""
    every = max(1, len(rows) // MOST_POINTS)
    kept = [*rows[::every], *(rows[-1:] if (len(rows) - 1) % every else ())]
    return {"step": [row["step"] for row in kept], "loss": [row["loss"] for row in kept]}


def validation_of(record: RunRecord) -> dict[str, Any] | None:
    """Return the losses of pictures that were held out, None where there are none."""
    found = record.validation
    if found is None or not found.points:
        return None
    return {
        "measured_on": found.measured_on,
        "step": [point.step for point in found.points],
        "loss": [point.loss for point in found.points],
    }

"""Runs made without training: their records over real pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from maquette.cli.app import maquette
from maquette.runs.environment import environment
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord, dataset_record
from tests.dataset.making import dataset_at
from tests.runs.making import run_record


def run_over(
    pictures: Path, folder: Path, settings: dict[str, Any] | None = None, **changes: Any
) -> RunRecord:
    """Write a run in `folder` that was trained on `pictures`, with `settings` laid over the stored run's; return its record."""
    tables: dict[str, Any] = {"dataset": {"images": str(pictures)}, "saving": {"name": folder.name}}
    for section, values in (settings or {}).items():
        tables[section] = {**tables.get(section, {}), **values}
    given = {"run": folder.name, "environment": environment(), "base_sha256": "ab" * 32, **changes}
    record = run_record(tables, dataset=dataset_record(dataset_at(pictures)), **given)
    folder.mkdir(parents=True)
    record.write(RunFolder(folder))
    return record


def asked(*arguments: object) -> tuple[int, dict[str, Any]]:
    """Return the exit code of a command with --json, and what it printed."""
    done = CliRunner().invoke(maquette, [*map(str, arguments), "--json"])
    return done.exit_code, json.loads(done.stdout)


def shown(*arguments: object) -> str:
    """Return what a command shows on the terminal, without colours."""
    done = CliRunner().invoke(maquette, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout

"""Importing: a folder of another trainer's becomes a run's folder here for each run in it. Nothing of the other's is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError
from maquette.events import Artifact, Finished, Progress, Stage, Started
from maquette.files import require_writable_folder, write_atomic
from maquette.importing.found import runs_in
from maquette.importing.options import ImportOptions
from maquette.importing.record import Imported, imported
from maquette.locking import held
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import RunRecord, read_record

UNSAFE = re.compile(r"[^\w .+-]")
WHAT = "import"


@dataclass(frozen=True, kw_only=True)
class ImportedRun:
    """One run that is here now."""

    run: Path
    record: RunRecord
    is_new: bool
    """False where it was imported before: then it stays as it is, with its notes."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        foreign = self.record.foreign
        assert foreign is not None
        return {
            "run": str(self.run),
            "name": self.record.run,
            "new": self.is_new,
            "trainer": foreign.trainer,
            "source": foreign.source,
            "files": list(foreign.files),
            "state": self.record.state,
            "steps": self.record.step,
            "checkpoints": len(self.record.checkpoints),
            "pictures": len(self.record.dataset.subject),
            "unknown": list(foreign.unknown),
            "left_over": dict(foreign.left_over),
        }


def import_events(folder: Path, options: ImportOptions) -> Stage[list[ImportedRun]]:
    """Import every run in `folder`. Raises ConfigError where there is none, OutputError where nothing can be written."""
    found = runs_in(folder, options.settings, options.log)
    require_writable_folder(options.output)
    yield Started("import", len(found), "run")
    runs = []
    for number, each in enumerate(found, 1):
        run = _kept(imported(each, folder, options), options.output)
        runs.append(run)
        yield Progress("import", number, len(found), "run")
        yield Artifact("run", run.run)
    yield Finished("import")
    return runs


def _kept(new: Imported, output: Path) -> ImportedRun:
    """Write a run's folder, unless it is there already."""
    for folder in _places(output, new.record.run):
        if not folder.exists():
            return _written(new, folder)
        known = _known(folder)
        if known is not None and _is_same(known, new.record):
            return ImportedRun(run=folder, record=known, is_new=False)
    raise AssertionError("numbers have no end")


def _places(output: Path, name: str) -> Iterator[Path]:
    stem = UNSAFE.sub("_", name).strip(" .") or "imported"
    yield output / stem
    yield from (output / f"{stem}-{number:03d}" for number in count(2))


def _known(folder: Path) -> RunRecord | None:
    if not (folder / RECORD_NAME).is_file():
        return None
    try:
        return read_record(folder)
    except MaquetteError:
        return None


def _is_same(known: RunRecord, new: RunRecord) -> bool:
    """Return whether both are one import: the same run of the same folder, with the same files."""
    if known.foreign is None or new.foreign is None or known.foreign.source != new.foreign.source:
        return False
    return known.run == new.run and {each.sha256 for each in known.checkpoints} == {
        each.sha256 for each in new.checkpoints
    }


def _written(new: Imported, folder: Path) -> ImportedRun:
    with held(folder, what=WHAT):
        if new.curves.rows:
            lines = "".join(json.dumps(row) + "\n" for row in new.curves.rows)
            write_atomic(RunFolder(folder).metrics, lines)
        new.record.write(RunFolder(folder))
    return ImportedRun(run=folder, record=new.record, is_new=True)

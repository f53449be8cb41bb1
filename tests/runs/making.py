"""Made-up run records, whole as a run writes them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from maquette.project.settings import Settings
from maquette.runs.migrations import OBJECTIVE_OF_3, RECORD_VERSION
from maquette.runs.record import PictureRecord, RunRecord

STORED = Path(__file__).parent


def stored(version: int) -> Path:
    """Return the file of an interrupted run as that version of the record wrote it."""
    return STORED / f"run-v{version}.json"


def run_record(settings: dict[str, Any] | None = None, **changes: Any) -> RunRecord:
    """Return the stored run's record with `changes`; `settings` are tables of settings, laid over the run's own."""
    record = read_stored()
    tables = json.loads(record.settings.model_dump_json())
    for section, values in (settings or {}).items():
        tables[section] |= values
    return record.with_(**({"settings": Settings.model_validate(tables)} | changes))


def read_stored() -> RunRecord:
    """Return the record of the stored run."""
    text = stored(RECORD_VERSION).read_text(encoding="utf-8")
    return RunRecord.model_validate_json(text)


def captioned(record: RunRecord, *captions: str) -> RunRecord:
    """Return the record with one picture of the subject for each caption, beside its regularization picture."""
    regularization = [
        each for each in record.dataset.pictures if record.dataset.subsets[each.subset].is_regularization
    ]
    pictures = [
        PictureRecord(
            path=f"/pictures/{number}.png",
            subset=0,
            size_wh=(64, 64),
            sha256=f"{number:064x}",
            caption=caption,
            caption_sha256=None,
        )
        for number, caption in enumerate(captions)
    ]
    return record.with_(dataset=replace(record.dataset, pictures=(*pictures, *regularization)))


def as_version_1(record: RunRecord) -> dict[str, Any]:
    """Return a record as the first version of its file had it, beside settings that it did not know."""
    values = record.as_json()
    device = values["device"]
    del values["digest"]
    sha256 = values.pop("base_sha256")
    values["base"] |= {"sha256": sha256} if sha256 else {}
    values["record_version"] = 1
    objective = values["settings"]["objective"]
    values["settings"]["training"] |= {name: objective.pop(name) for name in OBJECTIVE_OF_3}
    if device is not None:
        told = {"forward_device": device["forward_device"]} if device["forward_device"] else {}
        values["device"] = {"device": device["name"], "precision": device["precision"], **told}
    return values | {"device": values["device"] or {}}

"""Records of older releases, lifted to today's form one version at a time.

A migration takes a record's plain values as its version wrote them and returns those of the next. Migrations are only
ever added: the files of every release stay readable. tests/runs/ keeps a record of each version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

Table = dict[str, Any]

WITHOUT_EFFECT_ON_WEIGHTS = ("saving", "samples", "validation", "check")
"""Sections of the settings that a run's weights do not depend on."""


OBJECTIVE_OF_3 = ("min_snr_gamma", "noise_offset", "prior_loss_weight")


def migrated(record: Table, version: int) -> Table:
    """Return the record of `version` (1 to RECORD_VERSION) as RECORD_VERSION writes it."""
    for migrate in MIGRATIONS[version - 1 :]:
        record = migrate(record)
    return record


def weights_digest(
    settings: Mapping[str, Any], dataset: Any, family: Any, prediction: Any, pictures_seed: Any = None
) -> str:
    """Return the hash of plain values that decide a run's weights."""
    laid_out = _as_in_1(settings)
    deciding = {name: values for name, values in laid_out.items() if name not in WITHOUT_EFFECT_ON_WEIGHTS}
    if not deciding.get("family"):
        deciding.pop("family", None)  # an older release had no such table, and an empty one decides nothing
    facts = [deciding, dataset, family, prediction, *([] if pictures_seed is None else [pictures_seed])]
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_in_1(settings: Mapping[str, Any]) -> Table:
    """Return settings laid out as the first version had them: a hash must not depend on where a setting stands."""
    objective = dict(settings.get("objective") or {})
    moved = {name: objective.pop(name) for name in OBJECTIVE_OF_3 if name in objective}
    kept = {name: values for name, values in settings.items() if name != "objective"}
    if moved:
        kept["training"] = {**kept["training"], **moved}
    return {**kept, "objective": objective} if objective else kept


def _to_2(record: Table) -> Table:
    """The digest, which only states carried, stands in the record; the base's hash beside what the base is; a device
    has kind and name.
    """
    base = dict(_table(record, "base"))
    return {
        **record,
        "record_version": 2,
        "digest": weights_digest(
            _table(record, "settings"),
            record.get("dataset"),
            base.get("family"),
            base.get("prediction"),
            _table(record, "schedule").get("pictures_seed"),
        ),
        "base_sha256": base.pop("sha256", ""),
        "base": base,
        "device": _device_of_2(record.get("device")),
    }


def _to_3(record: Table) -> Table:
    """What is learned of a picture (its noise and the weight of its error) left `[training]` for `[objective]`."""
    settings = dict(_table(record, "settings"))
    training = dict(_table(settings, "training"))
    moved = {name: training.pop(name) for name in OBJECTIVE_OF_3 if name in training}
    objective = {**_table(settings, "objective"), **moved}
    return {
        **record,
        "record_version": 3,
        "settings": {**settings, "training": training, "objective": objective},
    }


def _device_of_2(device: Any) -> Any:
    if not isinstance(device, dict):
        return device
    if not device:
        return None
    name = str(device.get("device", ""))
    return {
        "kind": name.partition(" ")[0].partition(":")[0],
        "name": name,
        **{key: value for key, value in device.items() if key != "device"},
    }


def _table(record: Table, name: str) -> Table:
    """Return a table of the record; what is no table is left for the reader to find."""
    found = record.get(name)
    return found if isinstance(found, dict) else {}


MIGRATIONS: tuple[Callable[[Table], Table], ...] = (_to_2, _to_3)
RECORD_VERSION = len(MIGRATIONS) + 1

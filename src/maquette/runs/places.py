"""A run's record with its paths as they are found now.

Relative paths of a record are relative to where `train` ran. Read from elsewhere, or after the project was moved as a whole,
they are looked for from there, from the working folder first and then from each folder above the run: where the pictures lie
that were trained on, told by the content of the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from maquette.files import sha256_file
from maquette.runs.record import RunRecord

_SETTINGS = {
    "model": ("base", "vae", "base_weights"),
    "dataset": ("images", "regularization", "metadata_file"),
    "masks": ("mask_folder",),
    "validation": ("validation_images",),
}
"""Settings that name files or folders which are read."""


def as_found(record: RunRecord, run: Path) -> RunRecord:
    """Return `record`, the record of the run folder `run`, with relative paths that are found from here."""
    home = _home(record, run)
    return record if home is None else _moved(record, home)


def _home(record: RunRecord, run: Path) -> Path | None:
    """Return the folder from which the record's relative paths lead to what was used; None where that is the working folder
    or unknown.
    """
    wanted = next(((Path(each.path), each.sha256) for each in record.dataset.pictures), None)
    base = Path(record.settings.model.base)
    if wanted is None or wanted[0].is_absolute():
        wanted = (base, "") if not base.is_absolute() else None
    if wanted is None:
        return None
    path, sha256 = wanted
    for place in (Path(), *run.resolve().parents):
        if (place / path).is_file() and (not sha256 or sha256_file(place / path) == sha256):
            return place if place != Path() else None
    return None


def _moved(record: RunRecord, home: Path) -> RunRecord:
    sections = {
        section: {name: _under(home, value) for name, value in _given(record, section, names)}
        for section, names in _SETTINGS.items()
    }
    settings = record.settings.model_copy(
        update={
            section: getattr(record.settings, section).model_copy(update=values)
            for section, values in sections.items()
            if values
        }
    )
    pictures = tuple(replace(each, path=_under(home, each.path)) for each in record.dataset.pictures)
    changes: dict[str, Any] = {"settings": settings, "dataset": replace(record.dataset, pictures=pictures)}
    if record.validation is not None:
        measured = tuple(replace(each, path=_under(home, each.path)) for each in record.validation.pictures)
        changes["validation"] = replace(record.validation, pictures=measured)
    return record.model_copy(update=changes)


def _given(record: RunRecord, section: str, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    settings = getattr(record.settings, section, None)
    for name in names:
        if value := getattr(settings, name, None):
            yield name, value


def _under(home: Path, value: Any) -> Any:
    """Return a path below `home` where it is there; what is none (a hub's name) or is absolute stays."""
    if isinstance(value, tuple):
        return tuple(_under(home, each) for each in value)
    path = Path(value)
    if path.is_absolute() or not (home / path).exists():
        return value
    return type(value)(home / path) if isinstance(value, str) else home / path

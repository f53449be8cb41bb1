"""A run's record with its paths as they are found now.

Relative paths of a record are relative to where `train` ran. Read from elsewhere, or after the project was moved or renamed as
a whole, they are looked for from the working folder first and then from each folder above the run: where the pictures lie that
were trained on, told by the content of the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maquette.files import sha256_file
from maquette.runs.record import RunRecord

_SETTINGS = {
    "model": ("base", "vae", "base_weights"),
    "dataset": ("images", "regularization", "metadata_file", "cache_folder"),
    "masks": ("mask_folder",),
    "lora": ("network_weights",),
    "saving": ("output", "logging_dir"),
    "validation": ("validation_images",),
}
"""Settings that name files or folders."""


@dataclass(frozen=True)
class Moved:
    """Where what a record's relative paths name lies now."""

    home: Path
    """The folder they are relative to."""
    renamed: tuple[str, ...] = ()
    """Folders that they begin with and that are called otherwise now: `home` is what stands for them."""

    def place_of(self, path: Path) -> Path | None:
        """Return where a relative path of the record leads; None where nothing is there."""
        if (self.home / path).exists():
            return self.home / path
        count = len(self.renamed)
        below = self.home.joinpath(*path.parts[count:])
        return below if count and path.parts[:count] == self.renamed and below.exists() else None


def as_found(record: RunRecord, run: Path) -> RunRecord:
    """Return `record`, the record of the run folder `run`, with relative paths that are found from here."""
    moved = moved_from(record, run)
    return record if moved is None else _moved(record, moved)


def moved_from(record: RunRecord, run: Path) -> Moved | None:
    """Return from where the record's relative paths lead to what was used; None where that is the working folder or unknown."""
    picture = next(((Path(each.path), each.sha256) for each in record.dataset.pictures), None)
    base = Path(record.settings.model.base)
    if picture is not None and not picture[0].is_absolute():
        return _where(*picture, run)
    return None if base.is_absolute() else _where(base, "", run)


def _where(path: Path, sha256: str, run: Path) -> Moved | None:
    def is_at(place: Path) -> bool:
        return place.is_file() and (not sha256 or sha256_file(place) == sha256)

    if is_at(path):
        return None
    above = run.resolve().parents
    # Another folder's name may stand for the first ones of the path only where the content tells that it is the file.
    counts = range(len(path.parts)) if sha256 else range(1)
    found = (
        (place, count) for count in counts for place in above if is_at(place.joinpath(*path.parts[count:]))
    )
    place, count = next(found, (None, 0))
    return None if place is None else Moved(place, path.parts[:count])


def _moved(record: RunRecord, moved: Moved) -> RunRecord:
    def there(value: Any) -> Any:
        return _under(moved, value)

    sections = {
        section: {name: there(value) for name, value in _given(record, section, names)}
        for section, names in _SETTINGS.items()
    }
    settings = record.settings.model_copy(
        update={
            section: getattr(record.settings, section).model_copy(update=values)
            for section, values in sections.items()
            if values
        }
    )
    pictures = tuple(
        replace(each, path=there(each.path), mask_path=each.mask_path and there(each.mask_path))
        for each in record.dataset.pictures
    )
    changes: dict[str, Any] = {"settings": settings, "dataset": replace(record.dataset, pictures=pictures)}
    if record.validation is not None:
        measured = tuple(replace(each, path=there(each.path)) for each in record.validation.pictures)
        changes["validation"] = replace(record.validation, pictures=measured)
    return record.model_copy(update=changes)


def _given(record: RunRecord, section: str, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    settings = getattr(record.settings, section, None)
    for name in names:
        if value := getattr(settings, name, None):
            yield name, value


def _under(moved: Moved, value: Any) -> Any:
    """Return a path as it is found now where it is there; what is none (a hub's name) or is absolute stays."""
    if isinstance(value, tuple):
        return tuple(_under(moved, each) for each in value)
    path = Path(value)
    place = None if path.is_absolute() else moved.place_of(path)
    if place is None:
        return value
    return type(value)(place) if isinstance(value, str) else place

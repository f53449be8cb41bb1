"""What a run needs to be trained again: its files, found by what they hold, and what keeps it from being the same run.

The record has the captions as they were trained, so that an edited caption file takes nothing away. Of the pictures, masks, base
and LoRAs it has the hashes: each is taken from where it lay, or from wherever the same content lies in the run's folders now.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from maquette.dataset.config import PICTURE_EXTENSIONS
from maquette.dataset.records import Dataset, Picture
from maquette.errors import Problem
from maquette.files import sha256_file
from maquette.project.settings import PATHS, Settings
from maquette.runs.places import Moved, moved_from
from maquette.runs.record import PictureRecord, RunRecord
from maquette.training.claiming import TRIALS

PUT_BACK = "Put it back as it was, or say where it lies now (--base, --images)."
MOST_NAMED = 5
"""Pictures of one fault that are named each; the others are counted."""
MOST_SEARCHED = 20_000
"""Pictures in a run's folders that are hashed to find one that was moved."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """A run with everything that it needs, as far as it is here."""

    settings: Settings
    """The run's own, with paths as they are here."""
    dataset: Dataset
    """Pictures by content and captions by the record."""
    problems: tuple[Problem, ...] = ()
    """What changed or went since, so that it cannot be trained again."""
    notes: tuple[str, ...] = ()
    """What changed without effect: captions edited since, pictures that were moved."""


@dataclass
class _Search:
    """Where files of a run are looked for."""

    root: Path | None
    """What relative paths in the record are relative to, as the run's own place tells."""
    elsewhere: Moved | None
    """Where its pictures lie, where that is not the working folder."""
    images: Path
    """Where the pictures lie, as the settings or whoever asks say."""
    by_content: dict[str, Path] = field(default_factory=dict)
    searched: set[Path] = field(default_factory=set)
    moved: int = 0

    def place_of(self, path: str | Path) -> Path:
        """Return a path of the record as it is here."""
        given = Path(path).expanduser()
        if given.is_absolute():
            return given
        if self.elsewhere is not None and (place := self.elsewhere.place_of(given)) is not None:
            return place
        if given.exists() or self.root is None:
            return given
        return self.root / given

    def with_content(self, path: Path, sha256: str) -> Path | None:
        """Return the file of that content: at its place, else beside it or among the pictures; None where none is."""
        if path.is_file() and sha256_file(path) == sha256:
            return path
        for folder in (path.parent, self.images):
            if folder.is_dir():
                self._search(folder)
        found = self.by_content.get(sha256)
        self.moved += found is not None
        return found

    def _search(self, folder: Path) -> None:
        if folder in self.searched:
            return
        self.searched.add(folder)
        found = (each for each in sorted(folder.rglob("*")) if each.suffix.lower() in PICTURE_EXTENSIONS)
        for number, path in enumerate(found):
            if number >= MOST_SEARCHED:
                return
            if path.is_file():
                self.by_content.setdefault(sha256_file(path), path)


def needs_of(run: Path, record: RunRecord, *, base: str = "", images: Path | None = None) -> Needs:
    """Return what `run` needs, found here, with every problem at once. base, images: where these lie now."""
    search = _Search(_root(run, record), moved_from(record, run), images or record.settings.dataset.images)
    search.images = search.place_of(search.images)
    settings = _here(record.settings, search, base)
    pictures, gone = _pictures(record, search)
    return Needs(
        settings=settings,
        dataset=Dataset(pictures=pictures, datasets=record.dataset.datasets, subsets=record.dataset.subsets),
        problems=(*_files(settings, record, search), *gone),
        notes=tuple(_notes(run, record, search)),
    )


def _root(run: Path, record: RunRecord) -> Path | None:
    """Return the folder that the run was begun from, where its own place tells: it lies in OUTPUT/NAME below that."""
    output = record.settings.saving.output
    place = run.resolve().parent
    if output.is_absolute():
        return None
    if not output.parts:
        return place
    if place.parts[-len(output.parts) :] != output.parts:
        return None
    return Path(*place.parts[: len(place.parts) - len(output.parts)])


def _here(settings: Settings, search: _Search, base: str) -> Settings:
    """Return the settings with relative paths made those of here, and the base where it lies now."""
    tables = settings.model_dump()
    for table in tables.values():
        for name in PATHS & table.keys():
            value = table[name]
            if isinstance(value, tuple):
                table[name] = tuple(search.place_of(each) for each in value)
            elif value is not None:
                table[name] = search.place_of(value)
    for name in ("base", "vae"):
        given = tables["model"][name]
        if given and search.place_of(given).exists():
            tables["model"][name] = str(search.place_of(given))
    if base:
        tables["model"]["base"] = base
    return Settings.model_validate(tables)


# --- files -----------------------------------------------------------------------------------------------


def _files(settings: Settings, record: RunRecord, search: _Search) -> Iterator[Problem]:
    base = Path(settings.model.base)
    if base.is_file() and record.base_sha256 and sha256_file(base) != record.base_sha256:
        yield Problem(
            str(base), "its content is another than the run was trained on", "the same base", PUT_BACK
        )
    elif record.base.layout == "single-file" and not base.exists():
        yield Problem(str(base), "no such file", "the base that the run was trained on", PUT_BACK)
    for path, sha256 in record.lora_files.items():
        place = search.place_of(path)
        if not place.is_file():
            yield Problem(str(place), "no such file", "the LoRA that the run went on from", PUT_BACK)
        elif sha256_file(place) != sha256:
            yield Problem(
                str(place), "its content is another", "the LoRA that the run went on from", PUT_BACK
            )


def _pictures(record: RunRecord, search: _Search) -> tuple[tuple[Picture, ...], list[Problem]]:
    found, faults = [], []
    for each in record.dataset.pictures:
        place = search.place_of(each.path)
        here = search.with_content(place, each.sha256)
        mask, mask_fault = _mask(each, here, search)
        fault = mask_fault if here is not None else _fault(place)
        if fault:
            faults.append((place, fault))
        found.append(_picture(record, each, here or place, mask))
    return tuple(found), list(_told(faults))


def _fault(place: Path) -> str:
    return (
        "its content changed since the run"
        if place.is_file()
        else "it is gone, and its content lies nowhere beside"
    )


def _mask(each: PictureRecord, here: Path | None, search: _Search) -> tuple[Path | None, str]:
    """Return where a picture's mask lies, and what is wrong with it."""
    if each.mask_path is None:
        return None, ""
    if each.mask_path == each.path:  # its own transparency
        return here, ""
    place = search.place_of(each.mask_path)
    found = search.with_content(place, each.mask_sha256 or "")
    return found or place, "" if found else "its mask changed or went since the run"


def _picture(record: RunRecord, each: PictureRecord, path: Path, mask: Path | None) -> Picture:
    width_px, height_px = each.size_wh
    return Picture(
        path=path,
        width_px=width_px,
        height_px=height_px,
        caption=each.caption,
        caption_path=None,
        subset=record.dataset.subsets[each.subset],
        sha256=each.sha256,
        caption_sha256=each.caption_sha256,
        mask_path=mask,
        mask_sha256=each.mask_sha256,
    )


def _told(faults: list[tuple[Path, str]]) -> Iterator[Problem]:
    """Yield each fault of a picture, the first few by name and the others counted."""
    for place, fault in faults[:MOST_NAMED]:
        yield Problem(str(place), fault, "the picture that the run was trained on", PUT_BACK)
    if len(faults) > MOST_NAMED:
        given = f"{len(faults) - MOST_NAMED} more pictures changed or are gone"
        yield Problem(str(faults[0][0].parent), given, "the pictures that the run was trained on", PUT_BACK)


# --- what has no effect ----------------------------------------------------------------------------------


def _notes(run: Path, record: RunRecord, search: _Search) -> Iterator[str]:
    if run.resolve().parent.name == TRIALS:
        yield "It was trained with other trials in one pass. Alone, sums are rounded otherwise: its bits need not be the same."
    if edited := _edited(record, search):
        yield f"{edited} caption files were edited or removed since; the captions of the record are trained."
    if search.moved:
        yield f"{search.moved} pictures or masks lie under another name or folder now; they are taken by content."
    longer = [each for each in record.notes if each.startswith("The run was planned for")]
    if longer:
        yield f"{longer[-1]} Whether the same weights come out depends on that."
    if record.resumed_at_steps:
        steps = ", ".join(map(str, record.resumed_at_steps))
        yield f"The run was resumed at step {steps}; resuming changes no weight."


def _edited(record: RunRecord, search: _Search) -> int:
    """Return how many caption files beside the pictures are others than when they were trained."""
    edited = 0
    for each in record.dataset.pictures:
        subset = record.dataset.subsets[each.subset]
        if each.caption_sha256 is None or subset.metadata_file is not None:
            continue
        path = search.place_of(each.path).with_suffix(subset.caption_extension)
        edited += not path.is_file() or sha256_file(path) != each.caption_sha256
    return edited

"""The pictures and captions of an imported run, as far as they lie here, and whether they are those that were trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maquette.dataset.config import FOLDER_CAPTION_EXTENSION, SubsetOptions
from maquette.dataset.planned import input_of
from maquette.dataset.reading import read_dataset
from maquette.dataset.strict import dataset_of
from maquette.dataset.summary import count_tags
from maquette.errors import MaquetteError
from maquette.importing.sd_metadata import json_in
from maquette.project.places import found_path
from maquette.project.request import TrainingRequest
from maquette.runs.record import DatasetRecord, dataset_record
from maquette.spoken import counted

NO_PICTURES = DatasetRecord(datasets=(), subsets=(), pictures=())


@dataclass(frozen=True, kw_only=True)
class FoundPictures:
    """What is trained on, as it lies here now."""

    record: DatasetRecord
    images: Path | None = None
    unknown: tuple[str, ...] = ()


def pictures_of(
    request: TrainingRequest | None, metadata: Mapping[str, str], images: Path | None
) -> FoundPictures:
    """Return the run's pictures: at `images`, else where its settings say, if they are here."""
    place = images or _place(request)
    if place is None:
        return FoundPictures(record=NO_PICTURES, unknown=(f"pictures and captions{_told(metadata)}",))
    asked = request or TrainingRequest(file=place, trainer="sd-scripts", caption_extension=".txt")
    regularization = found_path(asked.regularization, asked.file) if asked.regularization else None
    given = input_of(asked, place, regularization)
    # Metadata do not say which files hold captions, nor does a folder that was copied here keep its 10_name.
    plain = replace(given.options or SubsetOptions(), caption_extension=FOLDER_CAPTION_EXTENSION)
    told = []
    for each in (given, replace(given, options=plain), replace(given, options=plain, trainer="maquette")):
        try:
            record = dataset_record(dataset_of(read_dataset(each)))
        except MaquetteError as error:
            told.append(str(error.problems[0]))
            continue
        return FoundPictures(record=record, images=place, unknown=(_of_captions(record, metadata, place),))
    return FoundPictures(record=NO_PICTURES, unknown=(f"pictures and captions: {told[0]}",))


def _place(request: TrainingRequest | None) -> Path | None:
    """Return the one folder, or dataset TOML, that settings name, where it is here; None where there are several."""
    if request is None:
        return None
    folders = {each.path for each in request.folders if not each.is_regularization}
    named = request.dataset_config or request.images or (folders.pop() if len(folders) == 1 else None)
    return found_path(named, request.file) if named is not None else None


def _told(metadata: Mapping[str, str]) -> str:
    """Return in words how many pictures a LoRA file says that it was trained on."""
    folders = json_in(metadata, "ss_dataset_dirs", dict)
    told = [
        f"{name}: {counted(each['img_count'], 'picture')} × {each.get('n_repeats', 1)}"
        for name, each in folders.items()
        if isinstance(each, Mapping) and isinstance(each.get("img_count"), int)
    ]
    return f" (the file tells of {', '.join(told)})" if told else ""


def _of_captions(record: DatasetRecord, metadata: Mapping[str, str], place: Path) -> str:
    """Say how sure it is that today's captions are those that were trained: the file counts the tags of each folder."""
    trained = json_in(metadata, "ss_tag_frequency", dict)
    if not trained:
        return f"captions and pictures as they were trained: those that lie in {place} now are recorded"
    before, after = _counts(trained), Counter(count_tags(each.caption for each in record.subject))
    if before == after:
        return f"pictures as they were trained: those in {place} are recorded; their captions have the tags that the file counts"
    differing = [tag for tag in {**before, **after} if before[tag] != after[tag]]
    shown = ", ".join(f"{tag} {before[tag]} → {after[tag]}" for tag in differing[:5])
    return (
        f"captions as they were trained: those in {place} now are recorded, and {counted(len(differing), 'tag')} of them "
        f"differ from what the file counts ({shown})"
    )


def _counts(trained: Mapping[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for tags in trained.values():
        if isinstance(tags, Mapping):
            for tag, count in tags.items():
                if isinstance(count, int):
                    found[str(tag).strip().lower()] += count
    return found

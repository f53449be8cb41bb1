"""sd-scripts' dataset TOML as a plan: a subset's value before its dataset's before [general].

Every key that sd-scripts knows is recognised (`kohya/dataset_toml.py`). Those Maquette does not support are an error
unless they have the value that changes nothing; none is ever ignored in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from maquette.dataset.config import (
    TOML_CAPTION_EXTENSION,
    DatasetPlan,
    DatasetSource,
    IdleKey,
    SubsetOptions,
    SubsetSource,
    TwoPlaces,
)
from maquette.dataset.folders import with_dot
from maquette.errors import Problem
from maquette.kohya.dataset_toml import DatasetFile, read_dataset_file, shown
from maquette.project.request import Trainer

UNSUPPORTED: Mapping[str, tuple[Any, str]] = {
    "custom_attributes": ({}, "no model here reads them"),
    "network_multiplier": (1, "the adapter trains at its full strength"),
}
"""What Maquette does not do: the value that changes nothing (None: there is none), and why any other is refused."""
WITHOUT_EFFECT = {
    "cache_info": "pictures are always read afresh",
    "validation_seed": "which pictures are held out follows from their content",
}
SOURCE_FIELDS = {
    "batch_size": "batch_size",
    "resolution": "resolution_wh",
    "enable_bucket": "enable_bucket",
    "min_bucket_reso": "min_bucket_px",
    "max_bucket_reso": "max_bucket_px",
    "bucket_reso_steps": "step_px",
    "bucket_no_upscale": "no_upscale",
    "validation_split": "validation_split",
}


def plan_of_toml(
    path: Path, options: SubsetOptions | None = None, *, trainer: Trainer = "maquette"
) -> DatasetPlan:
    """Return the datasets and subsets that a dataset TOML (or JSON) describes, as `trainer` takes it.

    `options` are the caller's values, in force where the file says nothing. A relative `image_dir` counts from the
    working folder as in sd-scripts, else from the file's own. What is wrong is in the plan's problems; sd-scripts acts
    on keys that Maquette refuses, and refuses a resolution in quotes.
    """
    ours = trainer == "maquette"
    file, problems = read_dataset_file(path, quoted_sizes=ours)
    if ours:
        problems += tuple(_refused(file, path))
    datasets: list[DatasetSource] = []
    subsets: list[SubsetSource] = []
    two_places: list[TwoPlaces] = []
    for index, dataset in enumerate(file.datasets):
        above = file.general.written | dataset.written
        datasets.append(_source(above))
        for subset in dataset.subsets:
            values = above | subset.written
            listed_in = _file(subset.metadata_file, path) if subset.metadata_file is not None else None
            if subset.image_dir is not None:
                folder, other = _folder(subset.image_dir, path)
                two_places += [TwoPlaces(subset.image_dir, folder, other)] if other is not None else []
            else:
                assert listed_in is not None, "a subset names a folder or a list"
                folder = listed_in.parent
            values["metadata_file"] = listed_in
            if subset.conditioning_data_dir is not None:
                values["mask_folder"], _ = _folder(subset.conditioning_data_dir, path)
            subsets.append(_subset(folder, values, options or SubsetOptions(), index))
    if not subsets and not problems:
        required, remedy = "at least one folder of pictures", 'Add one with image_dir = "…".'
        problems = (Problem(str(path), "no [[datasets.subsets]]", required, remedy),)
    return DatasetPlan(
        datasets=tuple(datasets),
        subsets=tuple(subsets),
        problems=problems,
        idle_keys=tuple(_idle(file)) if ours else (),
        two_places=tuple(two_places),
    )


def _tables(file: DatasetFile) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every table with its title."""
    yield "[general]", file.general.written
    for index, dataset in enumerate(file.datasets, start=1):
        yield f"[[datasets]] {index}", dataset.written
        for number, subset in enumerate(dataset.subsets, start=1):
            yield f"[[datasets.subsets]] {number} of dataset {index}", subset.written


def _refused(file: DatasetFile, path: Path) -> Iterator[Problem]:
    """Yield what the file asks for and Maquette does not do."""
    for title, written in _tables(file):
        for name in sorted(written.keys() & UNSUPPORTED.keys()):
            neutral, why = UNSUPPORTED[name]
            if written[name] != neutral:
                remedy = "Remove it." if neutral is None else f"Remove it, or set it to {shown(neutral)}."
                given = f"{name} = {shown(written[name])} in {title}"
                yield Problem(str(path), given, f"a setting that Maquette supports ({why})", remedy)


def _idle(file: DatasetFile) -> Iterator[IdleKey]:
    for title, written in _tables(file):
        for name in sorted(written.keys() & WITHOUT_EFFECT.keys()):
            if written[name]:
                yield IdleKey(name, title, WITHOUT_EFFECT[name])


def _folder(given: str, path: Path) -> tuple[Path, Path | None]:
    """Return the folder a TOML means, relative to the working folder as in sd-scripts, else to the file; and the other.

    The other is what it would mean relative to the file, where both are there.
    """
    folder = Path(given).expanduser()
    beside = path.parent / folder
    if folder.is_absolute() or not beside.is_dir():
        return folder, None
    if not folder.is_dir():
        return beside, None
    return folder, None if folder.resolve() == beside.resolve() else beside


def _file(given: str, path: Path) -> Path:
    """Return the file a TOML means, relative to the working folder as in sd-scripts, else to the TOML's."""
    file = Path(given).expanduser()
    beside = path.parent / file
    return beside if not file.is_absolute() and not file.is_file() and beside.is_file() else file


def _source(values: Mapping[str, Any]) -> DatasetSource:
    return DatasetSource(**{target: values[name] for name, target in SOURCE_FIELDS.items() if name in values})


def _subset(folder: Path, values: Mapping[str, Any], options: SubsetOptions, dataset: int) -> SubsetSource:
    """Return one subset with the file's values over the caller's."""
    named = {field.name for field in fields(SubsetOptions)}
    merged = SubsetOptions(**{name: values.get(name, getattr(options, name)) for name in sorted(named)})
    return SubsetSource(
        path=folder,
        num_repeats=merged.num_repeats,
        is_regularization=bool(values.get("is_reg")),
        class_tokens=values.get("class_tokens"),
        caption_extension=with_dot(merged.caption_extension or TOML_CAPTION_EXTENSION),
        options=merged,
        dataset=dataset,
        metadata_file=values["metadata_file"],
    )

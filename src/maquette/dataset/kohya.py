"""Dataset TOML of kohya's sd-scripts, with its exact meaning: a subset's value before its dataset's before
[general].

Every key that sd-scripts knows is recognised. Those Maquette does not support are an error unless they have
the value that changes nothing; none is ever ignored in silence.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from maquette.dataset.config import (
    TOML_CAPTION_EXTENSION,
    DatasetPlan,
    DatasetSource,
    SubsetOptions,
    SubsetSource,
)
from maquette.dataset.folders import Notes, with_dot
from maquette.errors import DatasetError, Problem, did_you_mean
from maquette.project.request import Trainer
from maquette.project.values import parse_resolution

CONFIG_SUFFIXES = frozenset({".toml", ".json"})
INTERPOLATIONS = frozenset(["lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area", "box"])


@dataclass(frozen=True)
class Key:
    """One setting of the file: its type, what values it takes, and whether Maquette acts on it."""

    kind: str
    low: float | None = None
    high: float | None = None
    choices: frozenset[str] | None = None
    neutral: Any = None
    """The value that changes nothing, for a key that is not supported."""
    supported: bool = True
    why: str = ""


def _unsupported(kind: str, neutral: Any, why: str) -> Key:
    return Key(kind, neutral=neutral, supported=False, why=why)


SHOWING_KEYS = {
    "num_repeats": Key("int"),
    "shuffle_caption": Key("bool"),
    "keep_tokens": Key("int", low=0),
    "keep_tokens_separator": Key("text"),
    "caption_separator": Key("text"),
    "secondary_separator": Key("text"),
    "enable_wildcard": Key("bool"),
    "caption_prefix": Key("text"),
    "caption_suffix": Key("text"),
    "caption_dropout_rate": Key("number", 0, 1),
    "caption_dropout_every_n_epochs": Key("int", low=0),
    "caption_tag_dropout_rate": Key("number", 0, 1),
    "flip_aug": Key("bool"),
    "resize_interpolation": Key("text", choices=INTERPOLATIONS),
    "caption_extension": Key("text"),
    "class_tokens": Key("text"),
    "cache_info": Key("bool"),
    "token_warmup_min": Key("int", low=0),
    "token_warmup_step": _unsupported("number", 0, "captions are never shortened at the start"),
    "color_aug": _unsupported("bool", False, "colours are trained as they are"),
    "random_crop": _unsupported("bool", False, "crops are centred"),
    "face_crop_aug_range": _unsupported("pair", None, "crops are centred"),
    "custom_attributes": _unsupported("table", {}, "no model here reads them"),
}
ONE_FOLDER_KEYS = {
    "image_dir": Key("text"),
    "is_reg": Key("bool"),
    "alpha_mask": _unsupported("bool", False, "transparency does not mask the loss"),
    "metadata_file": _unsupported("text", None, "pictures are listed by their folder"),
    "conditioning_data_dir": _unsupported("text", None, "control networks are not trained"),
}
SIZE_KEYS = {
    "batch_size": Key("int", low=1),
    "resolution": Key("resolution"),
    "enable_bucket": Key("bool"),
    "min_bucket_reso": Key("int", low=1),
    "max_bucket_reso": Key("int", low=1),
    "bucket_reso_steps": Key("int", low=1),
    "bucket_no_upscale": Key("bool"),
    "validation_seed": Key("int"),
    "validation_split": _unsupported("number", 0, "no pictures are held back"),
    "network_multiplier": _unsupported("number", 1, "the adapter trains at its full strength"),
}
KEYS = {
    "general": SIZE_KEYS | SHOWING_KEYS,
    "datasets": SIZE_KEYS | SHOWING_KEYS,
    "subsets": SHOWING_KEYS | ONE_FOLDER_KEYS,
}
TITLES = {"general": "[general]", "datasets": "[[datasets]]", "subsets": "[[datasets.subsets]]"}
WITHOUT_EFFECT = {
    "cache_info": "pictures are always read afresh",
    "token_warmup_min": "it needs token_warmup_step",
    "validation_seed": "it needs validation_split",
}
KINDS = {
    "bool": "true or false",
    "int": "a whole number",
    "number": "a number",
    "text": "text in quotes",
    "pair": "two numbers",
    "table": "a table",
    "resolution": '512, "512,768" or [512, 768]',
}
SOURCE_FIELDS = {
    "batch_size": "batch_size",
    "resolution": "resolution_wh",
    "enable_bucket": "enable_bucket",
    "min_bucket_reso": "min_bucket_px",
    "max_bucket_reso": "max_bucket_px",
    "bucket_reso_steps": "step_px",
    "bucket_no_upscale": "no_upscale",
}


def read_dataset_toml(path: Path, options: SubsetOptions | None = None) -> DatasetPlan:
    """Return the datasets and subsets that a dataset TOML (or JSON) describes; no picture is looked at yet.

    `options` are the caller's values, in force where the file says nothing. A relative `image_dir` counts
    from the working folder as in sd-scripts, else from the file's own. Raises DatasetError with every problem
    of the file.
    """
    notes = Notes()
    plan = toml_plan(path, options or SubsetOptions(), notes)
    if notes.problems:
        raise DatasetError(notes.problems)
    return plan


def toml_plan(
    path: Path, options: SubsetOptions, notes: Notes, *, trainer: Trainer = "maquette"
) -> DatasetPlan:
    """Return what can be made of a dataset TOML as `trainer` takes it; what is wrong goes to `notes`.

    sd-scripts acts on keys that Maquette refuses, and refuses a resolution in quotes. Raises DatasetError only for
    a file that cannot be parsed.
    """
    tables = _load(path)
    general = _checked_table(tables.pop("general", {}), "general", path, TITLES["general"], notes, trainer)
    dataset_tables = _tables(tables.pop("datasets", []), path, "datasets", notes)
    for name in tables:
        notes.problem(
            path,
            f"unknown table '{name}'",
            "[general] and [[datasets]]",
            did_you_mean(name, ["general", "datasets"]),
        )
    datasets: list[DatasetSource] = []
    subsets: list[SubsetSource] = []
    for index, table in enumerate(dataset_tables):
        where = f"{TITLES['datasets']} {index + 1}"
        subset_tables = _tables(table.pop("subsets", []), path, "subsets", notes)
        dataset = _checked_table(table, "datasets", path, where, notes, trainer)
        datasets.append(_dataset_source(general | dataset))
        for number, subset_table in enumerate(subset_tables):
            place = f"{TITLES['subsets']} {number + 1} of dataset {index + 1}"
            subset = _checked_table(subset_table, "subsets", path, place, notes, trainer)
            if "image_dir" not in subset_table:
                notes.problem(
                    path, f"{place} has no image_dir", "the folder of its pictures", 'Add image_dir = "…".'
                )
            elif "image_dir" in subset:
                folder = _image_dir(subset["image_dir"], path, notes)
                subsets.append(_subset_source(folder, general | dataset | subset, options, index))
    if not subsets and not notes.problems:
        notes.problem(
            path,
            "no [[datasets.subsets]]",
            "at least one folder of pictures",
            'Add one with image_dir = "…".',
        )
    return DatasetPlan(datasets=tuple(datasets), subsets=tuple(subsets), warnings=tuple(notes.warnings))


def _load(path: Path) -> dict[str, Any]:
    """Return the file's tables, or raise DatasetError saying where its syntax breaks."""
    remedy = "Repair that line."
    try:
        text = path.read_text(encoding="utf-8-sig")
        loaded = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise DatasetError(Problem(str(path), "not UTF-8 text", "UTF-8", "Save it as UTF-8.")) from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        if "\\" in text:
            remedy = (
                "Repair that line; write folders with / or in 'single quotes', since \\ begins an escape."
            )
        raise DatasetError(
            Problem(str(path), f"cannot be parsed ({error})", "valid syntax", remedy)
        ) from error
    except OSError as error:
        given = f"cannot be read ({error.strerror})"
        raise DatasetError(
            Problem(str(path), given, "a readable file", "Check the path and its permissions.")
        ) from error
    if not isinstance(loaded, dict):
        raise DatasetError(
            Problem(str(path), "no tables", "[general] and [[datasets]]", "Write a dataset configuration.")
        )
    return loaded


def _tables(value: Any, path: Path, name: str, notes: Notes) -> list[dict[str, Any]]:
    if isinstance(value, list) and all(isinstance(table, dict) for table in value):
        return [dict(table) for table in value]
    notes.problem(
        path, f"'{name}' is {_named(value)}", f"a list of tables, {TITLES[name]}", f"Write {TITLES[name]}."
    )
    return []


def _checked_table(
    table: Any, level: str, path: Path, where: str, notes: Notes, trainer: Trainer
) -> dict[str, Any]:
    """Return the known, well-typed and supported values of a table; everything else becomes a problem."""
    if not isinstance(table, Mapping):
        notes.problem(path, f"{where} is {_named(table)}", "a table", f"Write {where}.")
        return {}
    good = {}
    for name, value in table.items():
        problem = _problem_of(name, value, level, path, where, trainer)
        if problem:
            notes.problems.append(problem)
            continue
        good[name] = parse_resolution(value) if KEYS[level][name].kind == "resolution" else value
        if trainer == "maquette" and name in WITHOUT_EFFECT and value:
            notes.warn(f"{path}: {name} has no effect in {where}: {WITHOUT_EFFECT[name]}.")
    return good


def _problem_of(
    name: str, value: Any, level: str, path: Path, where: str, trainer: Trainer
) -> Problem | None:
    key = KEYS[level].get(name)
    if key is None:
        return _unknown_key(name, level, path, where)
    given = f"{name} = {_shown(value)} in {where}"
    if not _has_kind(value, key.kind):
        return Problem(str(path), given, KINDS[key.kind], f"Write {_example(name, key)}.")
    if trainer == "sd-scripts" and key.kind == "resolution" and isinstance(value, str):
        size = parse_resolution(value)
        required = "a whole number or a list of two, the only forms that sd-scripts takes in a dataset TOML"
        return Problem(str(path), given, required, f"Write {name} = [{size[0]}, {size[1]}].")
    if trainer == "maquette" and not key.supported and value != key.neutral:
        without = (
            f"Remove it, or set it to {_shown(key.neutral)}." if key.neutral is not None else "Remove it."
        )
        return Problem(str(path), given, f"a setting that Maquette supports ({key.why})", without)
    if key.choices is not None and value not in key.choices:
        return Problem(str(path), given, "a known choice", did_you_mean(value, key.choices))
    if (key.low is not None and value < key.low) or (key.high is not None and value > key.high):
        bounds = f"from {key.low:g}" + (f" to {key.high:g}" if key.high is not None else "")
        return Problem(str(path), given, f"{KINDS[key.kind]} {bounds}", "Change it.")
    if name in ("caption_separator", "caption_extension", "image_dir") and not value.strip():
        return Problem(str(path), given, "text that is not empty", f"Write {_example(name, key)}.")
    return None


def _unknown_key(name: str, level: str, path: Path, where: str) -> Problem:
    for other, keys in KEYS.items():
        if name in keys:
            required = f"it under {TITLES[other]}"
            return Problem(str(path), f"'{name}' in {where}", required, f"Move it to {TITLES[other]}.")
    return Problem(
        str(path),
        f"unknown key '{name}' in {where}",
        "a key of sd-scripts' datasets",
        did_you_mean(name, KEYS[level]),
    )


def _has_kind(value: Any, kind: str) -> bool:
    if kind == "resolution":
        try:
            parse_resolution(value)
        except ValueError:
            return False
        return True
    if isinstance(value, bool):
        return kind == "bool"
    if kind == "pair":
        return (
            isinstance(value, list) and len(value) == 2 and all(_has_kind(part, "number") for part in value)
        )
    types: dict[str, type | tuple[type, ...]] = {
        "int": int,
        "number": (int, float),
        "text": str,
        "table": dict,
    }
    return kind in types and isinstance(value, types[kind])


def _image_dir(given: str, path: Path, notes: Notes) -> Path:
    """Return the folder a TOML means: relative to the working folder as in sd-scripts, else to the file."""
    folder = Path(given).expanduser()
    beside = path.parent / folder
    if folder.is_absolute() or not beside.is_dir():
        return folder
    if not folder.is_dir():
        return beside
    if folder.resolve() != beside.resolve():
        notes.warn(f"{path}: image_dir '{given}' is {folder.resolve()}, as in sd-scripts.")
    return folder


def _dataset_source(values: Mapping[str, Any]) -> DatasetSource:
    return DatasetSource(**{target: values[name] for name, target in SOURCE_FIELDS.items() if name in values})


def _subset_source(
    folder: Path, values: Mapping[str, Any], options: SubsetOptions, dataset: int
) -> SubsetSource:
    """Return one subset with the file's values over the caller's."""
    named = {field.name for field in fields(SubsetOptions)}
    given = {name: value for name, value in values.items() if name in named}
    merged = SubsetOptions(**{name: given.get(name, getattr(options, name)) for name in sorted(named)})
    return SubsetSource(
        path=folder,
        num_repeats=merged.num_repeats,
        is_regularization=values.get("is_reg", False),
        class_tokens=values.get("class_tokens"),
        caption_extension=with_dot(merged.caption_extension or TOML_CAPTION_EXTENSION),
        options=merged,
        dataset=dataset,
    )


def _example(name: str, key: Key) -> str:
    examples = {
        "bool": "true",
        "int": "1",
        "number": "0.1",
        "text": '"text"',
        "pair": "[1.0, 2.0]",
        "table": "{}",
        "resolution": "512",
    }
    special = {"image_dir": '"folder"', "caption_extension": '".txt"', "caption_separator": '","'}
    return f"{name} = {special.get(name, examples[key.kind])}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _named(value: Any) -> str:
    return {dict: "a table", list: "a list", str: "text", bool: "true or false"}.get(
        type(value), f"{value!r}"
    )

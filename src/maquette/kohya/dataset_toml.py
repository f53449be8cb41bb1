"""sd-scripts' dataset TOML (or JSON): every key that its tables know, and everything that is wrong with a file at once.

    [general]                    what holds for all
    [[datasets]]                 one size and batch
    [[datasets.subsets]]         one folder of pictures

What a value means, and which of them Maquette acts on, is said in `dataset/kohya.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
)

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.kohya.options import OPTIONS
from maquette.project.settings import SECTION_OF
from maquette.project.values import parse_resolution
from maquette.reading import FileKind, read_table

FILE = FileKind("[general] and [[datasets]]", "Write a dataset configuration.")
CONFIG_SUFFIXES = frozenset({".toml", ".json"})


@dataclass(frozen=True)
class Form:
    """What a value must be, in words."""

    required: str
    example: str
    bounds: str = ""


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("blank")
    return text


BLANK = "text that is not empty"
SWITCHED = {"true": "true", "1": "true", "yes": "true", "false": "false", "0": "false", "no": "false"}
LARGEST = 1e9
"""Above it no number of such a file is meant."""
Switch = Annotated[StrictBool, Form("true or false", "true")]
Whole = Annotated[StrictInt, Form("a whole number", "1")]
Count = Annotated[StrictInt, Field(ge=0), Form("a whole number", "1", "from 0")]
Positive = Annotated[StrictInt, Field(ge=1), Form("a whole number", "1", "from 1")]
Number = Annotated[StrictInt | StrictFloat, Form("a number", "0.1")]
Share = Annotated[StrictInt | StrictFloat, Field(ge=0, le=1), Form("a number", "0.1", "from 0 to 1")]
Text = Annotated[StrictStr, Form("text in quotes", '"text"')]
Separator = Annotated[StrictStr, AfterValidator(_not_blank), Form("text in quotes", '","')]
Ending = Annotated[StrictStr, AfterValidator(_not_blank), Form("text in quotes", '".txt"')]
Folder = Annotated[StrictStr, AfterValidator(_not_blank), Form("text in quotes", '"folder"')]
Filter = Annotated[
    Literal["lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area", "box"],
    Form("text in quotes", '"lanczos"'),
]
Pair = Annotated[tuple[StrictInt | StrictFloat, StrictInt | StrictFloat], Form("two numbers", "[1.0, 2.0]")]
Table = Annotated[dict[str, Any], Form("a table", "{}")]
Size = Annotated[
    tuple[int, int], BeforeValidator(parse_resolution), Form('512, "512,768" or [512, 768]', "512")
]


class _Keys(BaseModel):
    """One table. None: the file does not say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def written(self) -> dict[str, Any]:
        """The keys that the file gives, with their values."""
        return {name: getattr(self, name) for name in self.model_fields_set - {"subsets"}}


class Showing(_Keys):
    """How pictures are shown and captioned; may stand in every table."""

    num_repeats: Whole | None = None
    shuffle_caption: Switch | None = None
    keep_tokens: Count | None = None
    keep_tokens_separator: Text | None = None
    caption_separator: Separator | None = None
    secondary_separator: Text | None = None
    enable_wildcard: Switch | None = None
    caption_prefix: Text | None = None
    caption_suffix: Text | None = None
    caption_dropout_rate: Share | None = None
    caption_dropout_every_n_epochs: Count | None = None
    caption_tag_dropout_rate: Share | None = None
    flip_aug: Switch | None = None
    resize_interpolation: Filter | None = None
    caption_extension: Ending | None = None
    class_tokens: Text | None = None
    cache_info: Switch | None = None
    token_warmup_min: Count | None = None
    token_warmup_step: Number | None = None
    color_aug: Switch | None = None
    random_crop: Switch | None = None
    face_crop_aug_range: Pair | None = None
    custom_attributes: Table | None = None


class General(Showing):
    """[general]"""

    batch_size: Positive | None = None
    resolution: Size | None = None
    enable_bucket: Switch | None = None
    min_bucket_reso: Positive | None = None
    max_bucket_reso: Positive | None = None
    bucket_reso_steps: Positive | None = None
    bucket_no_upscale: Switch | None = None
    validation_seed: Whole | None = None
    validation_split: Share | None = None
    network_multiplier: Number | None = None


class Subset(Showing):
    """[[datasets.subsets]]"""

    image_dir: Folder | None = None
    is_reg: Switch | None = None
    alpha_mask: Switch | None = None
    metadata_file: Folder | None = None
    conditioning_data_dir: Text | None = None

    @property
    def has_pictures(self) -> bool:
        """Whether it names a folder or a list of pictures."""
        return self.image_dir is not None or self.metadata_file is not None


class Dataset(General):
    """[[datasets]] with its subsets."""

    subsets: tuple[Subset, ...] = ()


class DatasetFile(_Keys):
    """The whole file, as far as it could be understood."""

    general: General = General()
    datasets: tuple[Dataset, ...] = ()


TABLES: Mapping[str, type[_Keys]] = {
    "[general]": General,
    "[[datasets]]": Dataset,
    "[[datasets.subsets]]": Subset,
}
T = TypeVar("T", bound=_Keys)


def read_dataset_file(path: Path, *, quoted_sizes: bool = True) -> tuple[DatasetFile, tuple[Problem, ...]]:
    """Return what can be understood of a dataset TOML or JSON, and what is wrong with the rest.

    quoted_sizes: whether a resolution may stand in quotes, which Maquette takes and sd-scripts does not.
    """
    loaded = _load(path)
    if isinstance(loaded, Problem):
        return DatasetFile(), (loaded,)
    options = sorted(options_beside_datasets(loaded))
    if options:
        return DatasetFile(), (_file_of_options(path, options, "datasets" in loaded),)
    reader = _Reader(path, quoted_sizes)
    file = reader.file(loaded)
    return file, tuple(reader.problems)


def _load(path: Path) -> dict[str, Any] | Problem:
    """Return the file's tables, or where its syntax breaks."""
    try:
        return read_table(path, FILE)
    except ConfigError as error:
        return error.problems[0]


DATASET_TABLES = ("general", "datasets")


def own_options(tables: Mapping[str, Any]) -> set[str]:
    """Return the options of sd-scripts' trainers in it that are not names of Maquette's settings as well."""
    return {name for _, name, _ in flat(tables) if name in OPTIONS and name not in SECTION_OF}


def options_beside_datasets(tables: Mapping[str, Any]) -> set[str]:
    """Return the options of sd-scripts' trainers that stand in a file of datasets and do not belong there.

    [general] shares many of its keys with the options, so only those that no dataset knows can tell.
    """
    general = tables.get("general")
    own = {}
    if isinstance(general, Mapping):
        own["general"] = {name: value for name, value in general.items() if name not in General.model_fields}
    return own_options(
        {**{name: table for name, table in tables.items() if name not in DATASET_TABLES}, **own}
    )


def flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (section, name, value) of all keys; sections are one level deep, as sd-scripts flattens them."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from ((name, inner, inner_value) for inner, inner_value in value.items())
        else:
            yield "", name, value


def _file_of_options(path: Path, options: list[str], has_datasets: bool) -> Problem:
    shown_options = ", ".join(options[:3]) + (", …" if len(options) > 3 else "")
    given = f"a file of options for --config_file ({shown_options})" + (
        " and of datasets in one" if has_datasets else ", not of datasets"
    )
    remedy = (
        "Take the options out into a file of their own, for --config_file."
        if has_datasets
        else f"Give it as --config_file={path.name}, and the pictures in a TOML with [[datasets]], or by --train_data_dir."
    )
    return Problem(str(path), given, "a TOML of [general] and [[datasets]] alone", remedy)


class _Reader:
    """Reads table by table: what is wrong with a key costs that key alone."""

    def __init__(self, path: Path, quoted_sizes: bool) -> None:
        self.path = path
        self.quoted_sizes = quoted_sizes
        self.problems: list[Problem] = []

    def file(self, tables: dict[str, Any]) -> DatasetFile:
        general = self._table(General, tables.get("general", {}), "[general]") or General()
        raw = self._list(tables.get("datasets", []), "datasets")
        for name in [each for each in tables if each not in DatasetFile.model_fields]:
            remedy = did_you_mean(name, DatasetFile.model_fields)
            self._problem(f"unknown table '{name}'", "[general] and [[datasets]]", remedy)
        datasets = tuple(self._dataset(table, number) for number, table in enumerate(raw, start=1))
        return DatasetFile(general=general, datasets=datasets)

    def _dataset(self, table: dict[str, Any], number: int) -> Dataset:
        raw = self._list(table.pop("subsets", []), "subsets")
        dataset = self._table(Dataset, table, f"[[datasets]] {number}") or Dataset()
        titles = [f"[[datasets.subsets]] {index} of dataset {number}" for index in range(1, len(raw) + 1)]
        subsets = [self._table(Subset, each, title) for each, title in zip(raw, titles, strict=True)]
        return dataset.model_copy(update={"subsets": tuple(each for each in subsets if each is not None)})

    def _list(self, value: Any, name: str) -> list[dict[str, Any]]:
        if isinstance(value, list) and all(isinstance(table, dict) for table in value):
            return [dict(table) for table in value]
        title = "[[datasets]]" if name == "datasets" else "[[datasets.subsets]]"
        self._problem(f"'{name}' is {_named(value)}", f"a list of tables, {title}", f"Write {title}.")
        return []

    def _table(self, model: type[T], raw: Any, title: str) -> T | None:
        """Return a table's sound values; None for a subset without folder. The rest becomes problems."""
        if not isinstance(raw, dict):
            self._problem(f"{title} is {_named(raw)}", "a table", f"Write {title}.")
            return None
        if model is Subset and not raw.keys() & {"image_dir", "metadata_file"}:
            required = "the folder of its pictures, or a metadata_file that lists them"
            self._problem(f"{title} has no image_dir", required, 'Add image_dir = "…".')
        sound = dict(raw)
        if not self.quoted_sizes and self._is_quoted_size(sound.get("resolution"), title):
            del sound["resolution"]
        try:
            table = model.model_validate(sound)
            return None if isinstance(table, Subset) and not table.has_pictures else table
        except ValidationError as error:
            wrong = {str(each["loc"][0]): each["type"] for each in reversed(error.errors())}
        for name in sorted(wrong, key=[*raw, *wrong].index):
            self.problems.append(self._wrong(model, name, wrong[name], raw.get(name), title))
        table = model.model_validate({name: value for name, value in sound.items() if name not in wrong})
        return None if isinstance(table, Subset) and not table.has_pictures else table

    def _wrong(self, model: type[_Keys], name: str, kind: str, value: Any, title: str) -> Problem:
        """Return what is wrong with one key, in our own words."""
        where, given = str(self.path), f"{name} = {shown(value)} in {title}"
        if kind == "extra_forbidden":
            return self._unknown(model, name, title)
        form, choices = form_of(model, name)
        if kind == "literal_error" and isinstance(value, str):
            return Problem(where, given, "a known choice", did_you_mean(value, choices))
        if kind in ("greater_than_equal", "less_than_equal"):
            return Problem(where, given, f"{form.required} {form.bounds}", "Change it.")
        is_blank = isinstance(value, str) and not value.strip()
        required = BLANK if kind == "value_error" and is_blank else form.required
        meant = as_meant(form, value)
        remedy = f"Write {name} = {meant}." if meant else f"Write for example {name} = {form.example}."
        return Problem(where, given, required, remedy)

    def _unknown(self, model: type[_Keys], name: str, title: str) -> Problem:
        for other, keys in TABLES.items():
            if name in keys.model_fields:
                move = f"Move it to {other}."
                return Problem(str(self.path), f"'{name}' in {title}", f"it under {other}", move)
        given, required = f"unknown key '{name}' in {title}", "a key of sd-scripts' datasets"
        return Problem(
            str(self.path), given, required, did_you_mean(name, set(model.model_fields) - {"subsets"})
        )

    def _is_quoted_size(self, value: Any, title: str) -> bool:
        try:
            width, height = parse_resolution(value) if isinstance(value, str) else (0, 0)
        except ValueError:
            return False
        if width:
            required = (
                "a whole number or a list of two, the only forms that sd-scripts takes in a dataset TOML"
            )
            given = f"resolution = {shown(value)} in {title}"
            self._problem(given, required, f"Write resolution = [{width}, {height}].")
        return bool(width)

    def _problem(self, given: str, required: str, remedy: str) -> None:
        self.problems.append(Problem(str(self.path), given, required, remedy))


def as_meant(form: Form, value: Any) -> str:
    """Return a value of the wrong kind as it should be written; empty where nobody can know what was meant."""
    text = str(value).strip().lower()
    if form.required == "true or false":
        return SWITCHED.get(text, "")
    if form.required == "text in quotes" and isinstance(value, int | float):
        return shown(str(value))
    if form.required not in ("a whole number", "a number") or isinstance(value, bool):
        return ""
    try:
        number = float(text)
    except ValueError:
        return ""
    least = float(form.bounds.split()[1]) if form.bounds else -LARGEST
    if not least <= number <= (1 if form.bounds.endswith("to 1") else LARGEST):
        return ""
    is_whole = number.is_integer()
    return str(int(number)) if is_whole else f"{number:g}" if form.required == "a number" else ""


def form_of(model: type[_Keys], name: str) -> tuple[Form, tuple[str, ...]]:
    """Return what a key must be, and its choices where it has some."""
    field = model.model_fields[name]
    kinds = [each for each in get_args(field.annotation) if hasattr(each, "__metadata__")]
    said = [*field.metadata, *(part for kind in kinds for part in kind.__metadata__)]
    choices = tuple(str(choice) for kind in kinds for choice in get_args(kind.__origin__))
    return next(each for each in said if isinstance(each, Form)), choices


def shown(value: Any) -> str:
    """Return a value as it is written in the file."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _named(value: Any) -> str:
    names = {dict: "a table", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), f"{value!r}")

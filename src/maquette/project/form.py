"""The settings as a form: every field of the records with its help, unit, range, choices and default. No list of its own."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo

from maquette.project.fields import choices_of, flag_of, is_repeated, plain_type
from maquette.project.settings import PATHS, SECTIONS
from maquette.project.validation import Asked, within, words_for

Kind = Literal["truth", "choice", "number", "whole", "list", "text"]
UNITS = {
    "_px": "pixels",
    "_gib": "GiB",
    "steps": "steps",
    "epochs": "epochs",
    "_s": "seconds",
    "_bytes": "bytes",
}
"""Ends of names that say the unit, which is part of the name."""


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One setting as a form shows it."""

    name: str
    section: str
    flag: str
    kind: Kind
    asks: str
    """What may be given, in words, with its range."""
    unit: str
    choices: tuple[str, ...]
    default: Any
    """As TOML has it; None where the help says what holds without a value."""
    is_required: bool
    is_path: bool
    bounds: dict[str, float]
    help: str

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "choices": list(self.choices)}


def form_fields() -> list[FormField]:
    """Return every setting of `maquette.toml`, in the order of the records."""
    return [
        _field(name, section, field)
        for section, record in SECTIONS.items()
        for name, field in record.model_fields.items()
    ]


def _field(name: str, section: str, field: FieldInfo) -> FormField:
    asked = Asked.of(field)
    choices = tuple(str(choice) for choice in choices_of(field))
    kind = _kind(field, choices)
    asks = asked.form or within(words_for(asked.hint), asked.bounds)
    return FormField(
        name=name,
        section=section,
        flag=flag_of(name, field),
        kind=kind,
        asks=asks,
        unit=next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
        if kind in ("number", "whole")
        else "",
        choices=choices,
        default=None if field.is_required() else written(field.default),
        is_required=field.is_required(),
        is_path=name in PATHS,
        bounds=dict(asked.bounds),
        help=asked.description,
    )


def written(value: Any) -> Any:
    """Return a value as TOML, JSON and a form have it."""
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, tuple | list):
        return [written(each) for each in value]
    return value


def _kind(field: FieldInfo, choices: tuple[str, ...]) -> Kind:
    plain = plain_type(field.annotation)
    if typing.get_args(field.annotation) == (int, float):
        return "text"  # a number or a share, which may be written 10%
    if choices:
        return "choice"
    if is_repeated(field):
        return "list"
    kinds: dict[Any, Kind] = {bool: "truth", int: "whole", float: "number"}
    return kinds.get(typing.get_origin(plain) or plain, "text")

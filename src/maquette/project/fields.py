"""Records of what is asked for: frozen, every key known, each field with its meaning, default and bounds.

`settings.Settings` is the record of a training run, an `…Options` beside each stage the record of that stage. From their
fields come flags, help, documentation, form labels and the words of errors, so that none is written twice. A description
says what the field does and in which unit; it need not repeat default and bounds.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.project.validation import Asked, Unfit, told, within, words_for


@dataclass(frozen=True)
class Flag:
    """Stands in a field's `Annotated` where its flag is not `--its-name`, or its value needs a word of its own in help."""

    name: str = ""
    """With its dashes: `--every` for `every_s`."""
    metavar: str = ""
    """What help shows for the value: N, PX, DIR."""
    single: bool = False
    """A list that is written as one text, not by repeating the flag."""


class Section(BaseModel):
    """A table of settings: frozen, every key known."""

    # What --help needs is known without the validators, which are built when first used.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """Take the text of a choice for the choice (`150`, from a command line), and one value for a list of one.

        A truth value is no number, and no number is infinite.
        """
        field = cls.model_fields[info.field_name or ""]
        if plain_type(field.annotation) in (int, float) and _is_no_number(value):
            asked = Asked.of(field)
            raise Unfit(within(words_for(asked.hint), asked.bounds), asked.description)
        if isinstance(value, str):
            value = next((choice for choice in choices_of(field) if str(choice) == value), value)
        return (value,) if is_repeated(field) and isinstance(value, str | Path) else value


def _is_no_number(value: Any) -> bool:
    """Say whether pydantic would take for a number what is none: True as 1, or an endless one."""
    if isinstance(value, bool):
        return True
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False  # no number at all, which pydantic says, or one that fits no float but has digits


class Options(Section):
    """What a stage is asked for, by keyword; None means that nothing was said.

    Raises ConfigError with every problem, each at its flag: an unknown name, a value out of its bounds.
    """

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise ConfigError(_problems(type(self), error)) from None

    def given(self) -> dict[str, Any]:
        """Return what was said in so many words."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }

    @classmethod
    def made_from(cls, options: Self | None, given: Mapping[str, Any]) -> Self:
        """Return `given` over `options`: what a stage's door takes, a record, keywords, or both. Raises ConfigError."""
        said = {name: value for name, value in given.items() if value is not None}
        return cls(**{**(options.given() if options is not None else {}), **said})


# --- what a field says -----------------------------------------------------------------------------------


def flag_of(name: str, field: FieldInfo | None = None) -> str:
    """Return the flag of a field: `--learning-rate`, or what its Flag says."""
    return (own_flag(field).name if field is not None else "") or f"--{name.replace('_', '-')}"


def own_flag(field: FieldInfo) -> Flag:
    """Return what the field says of its flag."""
    return next((each for each in field.metadata if isinstance(each, Flag)), Flag())


def plain_type(annotation: Any) -> Any:
    """Return `T` for `T | None`, else the annotation."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(annotation) if part is not type(None))
    return annotation


def choices_of(field: FieldInfo) -> tuple[Any, ...]:
    """Return what may be chosen; empty where anything of the type may."""
    kind = plain_type(field.annotation)
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def is_repeated(field: FieldInfo) -> bool:
    """Tell whether the field is a list whose flag is given once for each value."""
    return typing.get_args(plain_type(field.annotation))[1:] == (...,) and not own_flag(field).single


# --- what is wrong with a value --------------------------------------------------------------------------


def problem_of(detail: Mapping[str, Any], place: str, field: FieldInfo | None) -> Problem:
    """Return one of pydantic's error details in our words: at `place`, with the field's description as the remedy."""
    return told(detail, place, Asked() if field is None else Asked.of(field))


def _problems(record: type[Options], error: ValidationError) -> list[Problem]:
    """Return every problem of a record's values, each at the flag of its field."""
    found = []
    for detail in error.errors(include_url=False):
        name = str(detail["loc"][0]) if detail["loc"] else ""
        field = record.model_fields.get(name)
        if field is None and name:
            known = did_you_mean(name, record.model_fields)
            found.append(Problem(flag_of(name), "unknown", f"an option of {record.__name__}", known))
        else:
            found.append(problem_of(detail, flag_of(name, field), field))
    return found

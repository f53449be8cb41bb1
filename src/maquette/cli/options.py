"""Command-line options made from the settings records: one field, one flag, one help text."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from maquette.project.settings import SECTIONS


def settings_options(exclude: Iterable[str] = ()) -> list[Callable[..., Any]]:
    """Return a click option for every setting, in the order of the records; none has a default of its own."""
    left_out = set(exclude)
    return [
        _option(name, field)
        for record in SECTIONS.values()
        for name, field in record.model_fields.items()
        if name not in left_out
    ]


def _option(name: str, field: FieldInfo) -> Callable[..., Any]:
    kind = _plain_type(field.annotation)
    flag = "--" + name.replace("_", "-")
    text = _help(field)
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    if typing.get_args(kind)[1:] == (...,):
        return click.option(
            flag, name, multiple=True, callback=_none_if_empty, help=text + " Repeat for several."
        )
    return click.option(flag, name, default=None, metavar=_metavar(kind), help=text)


def _plain_type(annotation: Any) -> Any:
    """Return `T` for `T | None`, else the annotation."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(annotation) if part is not type(None))
    return annotation


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return "[" + "|".join(str(choice) for choice in typing.get_args(kind)) + "]"
    names = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
    return names.get(kind, "PX")


def _help(field: FieldInfo) -> str:
    text = field.description or ""
    default = field.get_default()
    if field.is_required() or default in (None, "", ()) or "Default" in text:
        return text
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text} [default: {shown}]"


def _none_if_empty(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    return value or None

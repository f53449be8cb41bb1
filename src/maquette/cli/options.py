"""Command-line options made from records: one field, one flag, one help text, its default and its bounds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from maquette.project.fields import Options, Section, choices_of, flag_of, is_repeated, own_flag, plain_type

METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
BOUNDS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "multiple_of": "a multiple of {}"}


class GroupedOption(click.Option):
    """An option that stands under a heading of its own in --help."""

    def __init__(self, *declarations: Any, group: str = "", **attributes: Any) -> None:
        super().__init__(*declarations, **attributes)
        self.group = group


def settings_options() -> list[Callable[..., Any]]:
    """Return a click option for every setting, in the order of the records; none has a default of its own."""
    from maquette.project.settings import SECTIONS

    return [
        each
        for section, record in SECTIONS.items()
        for each in options_of(record, title=f"[{section}] {_title(record).partition(': ')[2]}")
    ]


def options_of(
    record: type[Section], *, title: str = "", exclude: Iterable[str] = ()
) -> list[Callable[..., Any]]:
    """Return a click option for every field of `record`, its bases' after its own; None is what was not said.

    Each stands under `title` in --help, else under the first line of the docstring of the record that declares it.
    """
    own_first = sorted(record.model_fields, key=lambda name: record.__mro__.index(_home(record, name)))
    return [
        _option(name, record.model_fields[name], title or _title(_home(record, name)), record)
        for name in own_first
        if name not in exclude
    ]


def price_option() -> Callable[..., Any]:
    """Return the option of a command that draws to say what it would cost instead."""
    return click.option(
        "--price",
        is_flag=True,
        help="Only say what it would take: pictures, time as far as earlier evaluations tell it, disk.",
    )


def given_of(record: type[Section], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a command's arguments that are options of `record`."""
    return {name: given[name] for name in record.model_fields if name in given}


def _home(record: type[Section], name: str) -> type[Section]:
    """Return the record that declares a field: `record` or one of its bases."""
    return next(base for base in record.__mro__ if name in inspect.get_annotations(base))


def _title(record: type[Section]) -> str:
    return (record.__doc__ or "").partition("\n")[0].strip().removesuffix(".")


def _option(name: str, field: FieldInfo, group: str, record: type[Section]) -> Callable[..., Any]:
    flag, kind = flag_of(name, field), plain_type(field.annotation)
    is_options = issubclass(record, Options)
    common: dict[str, Any] = {"cls": GroupedOption, "group": group, "default": None}
    if kind is bool and is_options and field.default is False:
        return click.option(flag, name, is_flag=True, help=field.description, **common)
    common["help"] = _help(field, "required" if is_options else "")
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, **common)
    if is_repeated(field):
        common |= {"multiple": True, "callback": _none_if_empty}
        kind = plain_type(kind.__args__[0])
    return click.option(flag, name, metavar=own_flag(field).metavar or _metavar(field, kind), **common)


def _metavar(field: FieldInfo, kind: Any) -> str:
    if choices := choices_of(field):
        return f"[{'|'.join(map(str, choices))}]"
    return METAVARS.get(kind, "PX")


def _help(field: FieldInfo, required: str) -> str:
    """Return what --help says of a field: its meaning, its default and its bounds."""
    text = (field.description or "") + (" Repeat for several." if is_repeated(field) else "")
    facts = [required if field.is_required() else _default(field, text), _bounds(field)]
    shown = "; ".join(fact for fact in facts if fact)
    return f"{text} [{shown}]" if shown else text


def _default(field: FieldInfo, text: str) -> str:
    default = field.get_default()
    if default in (None, "", ()) or "default" in text.lower():
        return ""
    return f"default: {','.join(map(str, default)) if isinstance(default, tuple) else default}"


def _bounds(field: FieldInfo) -> str:
    """Return the bounds in signs: `≥ 1, ≤ 64`."""
    bounds = [
        (form, bound)
        for each in field.metadata
        for key, form in BOUNDS.items()
        if (bound := getattr(each, key, None)) is not None
    ]
    return ", ".join(form.format(int(bound) if bound == int(bound) else bound) for form, bound in bounds)


def _none_if_empty(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    return value or None

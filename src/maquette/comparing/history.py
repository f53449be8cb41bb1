"""What each run changed against the one before it of the same trigger: the thread through a row of experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from maquette.comparing.diff import Difference, compare
from maquette.comparing.listing import RunLine
from maquette.comparing.sides import side_of
from maquette.errors import MaquetteError
from maquette.spoken import counted

MOST_SETTINGS = 6
LONGEST_VALUE = 40


def changes_along(lines: Sequence[RunLine]) -> Mapping[Path, tuple[str, str]]:
    """Return for each run the name of the run before it (of the same trigger, by time) and what changed since, in words."""
    found: dict[Path, tuple[str, str]] = {}
    before: dict[str, RunLine] = {}
    for line in sorted(lines, key=lambda each: (each.when, str(each.path))):
        last = before.get(line.trigger)
        before[line.trigger] = line
        if last is None:
            continue
        try:
            difference = compare(side_of(last.path), side_of(line.path))
        except MaquetteError:  # removed, or replaced, since it was listed
            continue
        found[line.path] = last.name, told_of(difference)
    return found


def told_of(difference: Difference) -> str:
    """Return what changed in one sentence: settings with their values, captions and pictures counted."""
    settings = list(difference.settings.items())
    told = [
        f"{name.partition('.')[2]} {_value(each.a)} → {_value(each.b)}"
        for name, each in settings[:MOST_SETTINGS]
    ]
    if len(settings) > MOST_SETTINGS:
        told.append(f"{len(settings) - MOST_SETTINGS} more settings")
    if difference.captions:
        told.append(counted(len(difference.captions), "caption"))
    for change in dict.fromkeys(each.change for each in difference.pictures):
        number = sum(each.change == change for each in difference.pictures)
        told.append(f"{counted(number, 'picture')} {change}" if change != "mask" else counted(number, "mask"))
    if difference.environment:
        told.append(f"environment ({', '.join(difference.environment)})")
    return "; ".join(told) or "nothing"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"

"""Values as other programs write them: numbers in quotes, switches as words, the same thing in one key or a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.project.request import TrainingRequest
from maquette.project.values import parse_resolution

OFF = frozenset({"", "none", "null", "false", "no", "off", "disabled"})


def number(value: Any) -> float | None:
    """Return a number that may stand in quotes; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < float("inf") else None


def whole(value: Any) -> int | None:
    found = number(value)
    return int(found) if found is not None and found == int(found) else None


def positive(value: Any) -> int | None:
    """Return a whole number above 0; None for 0, which many programs write for `not at all`."""
    found = whole(value)
    return found if found is not None and found > 0 else None


def switch(value: Any) -> bool | None:
    """Return a switch that may be a word: true, "ON", "CPU_OFFLOADED"."""
    if isinstance(value, bool):
        return value
    return value.strip().lower() not in OFF if isinstance(value, str) else None


def text(value: Any) -> str | None:
    return value.strip() if isinstance(value, str) and value.strip() else None


def path(value: Any) -> Path | None:
    found = text(value)
    return Path(found) if found is not None else None


def resolution(value: Any) -> tuple[int, int] | None:
    """Return one size in pixels."""
    try:
        return parse_resolution(value)
    except ValueError:
        return None


def largest_resolution(value: Any) -> tuple[int, int] | None:
    """Return the largest of several sizes, for programs that train at all of them: [512, 1024] are two squares there."""
    if not isinstance(value, list):
        return resolution(value)
    return max((each for each in map(resolution, value) if each is not None), default=None)


def rows(value: Any) -> list[Mapping[str, Any]]:
    """Return the tables in a list, whatever else stands there."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


@dataclass
class Taking:
    """Takes keys out of a file's tables, one field of the record each; what is left had no counterpart."""

    file: Path
    rest: dict[str, Any]
    """Keys that nobody has taken yet, with dots for keys in tables: `network.linear`."""
    fields: dict[str, Any] = field(default_factory=dict)
    spelling: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, convert: Any, *keys: str) -> Any:
        """Fill the field `name` from the first of `keys` that has a usable value; return that value."""
        for key in keys:
            if key not in self.rest:
                continue
            value = convert(self.rest[key])
            if value is not None:
                del self.rest[key]
                self.fields[name], self.spelling[name] = value, key
                return value
        return None

    def drop(self, *keys: str) -> None:
        """Take keys out that say nothing about the run."""
        for key in keys:
            for each in [each for each in self.rest if each == key or each.startswith(f"{key}.")]:
                del self.rest[each]

    def request(self, **more: Any) -> TrainingRequest:
        """Return the record, with what was left over in `other`, as far as it says anything."""
        said = {key: value for key, value in self.rest.items() if not _says_nothing(value)}
        return TrainingRequest(
            file=self.file,
            trainer="other",
            spelling=self.spelling,
            other=said,
            **{**self.fields, **more},
        )


def _says_nothing(value: Any) -> bool:
    return value in (None, "", [], {}, False) or (isinstance(value, str) and value.strip().lower() in OFF)


def flat(tables: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key with its value, those of tables with dots."""
    for name, value in tables.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value

"""Options of a run as they are found, in a file, on a command line or in both, and the record that they make.

Options have the meaning of sd-scripts 48d368fa. On the command line a unique beginning of a name is enough and an
unknown one stops the trainer; in a --config_file sections mean nothing and unknown keys are ignored in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.errors import Problem, nearest
from maquette.kohya.names import name_problems
from maquette.kohya.options import FIELDS_OF_SEVERAL, MEANT, OPTIONS
from maquette.kohya.values import fields_of, given_to_network, simple_field
from maquette.project.request import TrainingRequest


@dataclass
class Reading:
    """Options as they are found, from one or two places."""

    values: dict[str, Any] = field(default_factory=dict)
    """Option → value, in the forms of `kohya/values.py`."""
    written: dict[str, str] = field(default_factory=dict)
    """Option → its value as text, as the file has it."""
    places: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Files with options that are not here."""

    def under(self, other: Reading) -> Reading:
        """Return both readings as one, where `other` (the command line) wins."""
        return Reading(
            self.values | other.values,
            self.written | other.written,
            self.places | other.places,
            self.unknown + other.unknown,
            self.repeated + other.repeated,
            self.problems + other.problems,
        )


def with_guess(name: str, known: Iterable[str], dashes: str = "") -> str:
    """Return an unknown option's name, with the one that is probably meant in brackets."""
    plain = name.replace("-", "_")
    guess = MEANT.get(plain) or nearest(plain, sorted(known))
    return f"{dashes}{name} (did you mean {dashes}{guess}?)" if guess else f"{dashes}{name}"


def _processes(launcher: Mapping[str, str]) -> int | None:
    """Return how many processes a launcher is told to start, on all machines together; None where it is not told."""
    if "num_processes" in launcher:
        told = launcher["num_processes"]  # accelerate counts all machines'
    else:
        told = launcher.get("nproc_per_node") or launcher.get("nproc-per-node") or ""
    return int(told) if told.isdecimal() and int(told) > 0 else None


def request_of(reading: Reading, file: Path, **start: Any) -> TrainingRequest:
    """Return the record of what was read; `start` are fields of its own, such as the script's name."""
    fields: dict[str, Any] = {}
    spelling: dict[str, str] = {}
    other: dict[str, Any] = {}
    for name, value in reading.values.items():
        option = OPTIONS[name]
        if value == "":
            continue  # as good as not said, and written so by programs that save every option
        if option.field is not None:
            fields[option.field] = simple_field(option, value)
        else:
            other[name] = value
    for name, place in reading.places.items():
        filled = OPTIONS[name].field or FIELDS_OF_SEVERAL.get(name)
        if filled is not None:
            spelling[filled] = place
        if name == "network_args":
            spelling |= {field: f"{place} {argument}" for argument, field in given_to_network(reading.values)}
    fields |= {name: value for name, value in fields_of(reading.values).items() if value is not None}
    return TrainingRequest(
        file=file,
        trainer="sd-scripts",
        spelling=spelling,
        resolution_as_written=reading.written.get("resolution"),
        unknown_options=tuple(reading.unknown),
        repeated_options=tuple(reading.repeated),
        problems=(*reading.problems, *name_problems(reading.values, reading.places, start.get("script"))),
        other=other,
        unread=tuple(reading.unread),
        processes=_processes(start.get("launcher_options") or {}),
        **fields,
        **start,
    )

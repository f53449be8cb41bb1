"""The errors that Maquette raises on purpose.

    MaquetteError            exit code 2: the input cannot be used as it is
    ├── ConfigError          a setting, TOML file or flag
    ├── DatasetError         pictures and captions
    ├── ModelError           a base model: unknown, truncated, not what it claims
    ├── LoraError            a LoRA file
    ├── OutputError          a place that cannot be written, or holds something already
    ├── MissingExtra         an optional dependency that is not installed
    └── TrainingError        exit code 1: the run itself failed, its loss is no number

Each carries every problem of its input at once, so that a person repairs a folder in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what was given, what is required, what to do."""

    where: str
    given: str
    required: str
    remedy: str

    def __str__(self) -> str:
        where, given = _cut(self.where), _cut(self.given)
        return " ".join(f"{where}: {given} — {self.required}. {self.remedy}".split())


MAX_SAID = 600
"""Letters of a place, or of what was given, that a message repeats: a file can hold a name of millions."""


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SAID else f"{text[: MAX_SAID // 2]} … {text[-MAX_SAID // 4 :]}"


class MaquetteError(Exception):
    """Unusable input. `problems` lists everything that was found, in the order of discovery."""

    exit_code = 2

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ConfigError(MaquetteError):
    """A setting, TOML file or flag that cannot be used."""


class DatasetError(MaquetteError):
    """Pictures or captions that cannot be used."""


class ModelError(MaquetteError):
    """A base model that cannot be used."""


class LoraError(MaquetteError):
    """A LoRA file that cannot be used."""


class OutputError(MaquetteError):
    """An output place that cannot be written or is taken."""


class MissingExtra(MaquetteError):
    """A feature whose optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            Problem(
                feature,
                "a package it needs is not installed",
                f"the extra '{extra}'",
                f"Run: pip install 'maquette[{extra}]' (every extra: pip install 'maquette[all]')",
            )
        )


class TrainingError(MaquetteError):
    """A run that cannot go on: what it has learned so far is kept."""

    exit_code = 1


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that `name` most likely means, or None when nothing is close."""
    matches = difflib.get_close_matches(name.lower(), [choice.lower() for choice in choices], n=1, cutoff=0.6)
    return next((choice for choice in choices if matches and choice.lower() == matches[0]), None)


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return a remedy for an unknown name: the nearest one, or the whole list when nothing is close."""
    known = sorted(choices)
    guess = nearest(name, known)
    return f"Did you mean '{guess}'?" if guess else f"Known: {', '.join(known)}."

"""What a source of captions is, what it is asked, and what it may know when it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from maquette.captioning.options import SourceOptions
from maquette.captioning.records import Answer, Target
from maquette.captioning.strategies import Strategy
from maquette.errors import ConfigError, Problem
from maquette.project.profile import Profile


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a source may know when it is opened."""

    strategy: Strategy
    profile: Profile
    options: SourceOptions
    root: Path


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One picture to caption."""

    target: Target
    note: str = ""
    """Why the last answer was refused, when it is asked again."""


class Source(Protocol):
    """Answers for pictures."""

    name: str
    batch_size: int
    """Pictures that are best asked for together."""
    is_parallel: bool
    """Several threads may ask at once."""
    is_model: bool
    """Its answers are a model's guesses: the same answer for every picture means that it does not see."""
    is_literal: bool
    """Its answers are whole captions already."""
    from_existing: bool
    """It needs a caption to begin with and looks at captioned pictures only."""
    learns_from_refusal: bool
    """Asked again with the reason, it may answer better."""
    sees_pictures: bool
    """It looks at the picture."""

    def ask(self, asks: Sequence[Ask]) -> list[Answer]:
        """Return one answer for each, in their order. Raises MaquetteError when nothing further can be answered."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what its answers depend on, as plain values."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def no_argument(name: str, argument: str) -> None:
    """Refuse an argument for a source that takes none."""
    if argument:
        raise ConfigError(
            Problem("--source", f"'{name}:{argument}'", f"'{name}' alone", "Leave the rest out.")
        )

"""Facts that belong together: one command of a script with its pictures and base, one dataset, one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.errors import Problem
from maquette.rules.unusable import Unusable


@dataclass
class Scope:
    """What the rules are run over: facts by type."""

    path: Path
    facts: dict[type, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    """Rules that the project does not want to hear."""
    notes: list[str] = field(default_factory=list)
    """What could not be looked at, and why."""
    is_base_presumed: bool = False
    """Whether the base is what its script says, since the file itself is not here."""
    only: tuple[str, ...] = ()
    """The rules that can be asked of it; empty: all."""
    hears_hints: bool = True
    """False for the command that a log shows: there only what may have ended the run counts."""
    unusable: list[tuple[Path, Problem]] = field(default_factory=list)

    def add(self, *facts: Any) -> None:
        """Add each fact that is not None under its own type."""
        for fact in facts:
            if fact is not None:
                self.facts[type(fact)] = fact

    def refuse(self, path: Path, problems: Sequence[Problem]) -> None:
        """Keep what made `path` unusable, for the rule that reports it."""
        self.unusable += [(path, problem) for problem in problems]

    def all_facts(self) -> dict[type, Any]:
        """Return the facts, with what was unusable among them."""
        return {**self.facts, Unusable: Unusable(tuple(self.unusable))} if self.unusable else self.facts

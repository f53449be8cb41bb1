"""Who wrote each caption: a person, a model, a template, a repair.

Told from the journal of changes, and only where the caption still is what was written then: whatever another program changed
since is nobody's here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from maquette.captioning.history import KIND, sources_of
from maquette.captioning.sources.opening import KINDS
from maquette.project.journal import Change, Journal, hash_of

REPAIRS = "repairs"
Who = Literal["you", "model", "template", "repair"]


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Who wrote a caption last."""

    who: Who
    what: str
    """The change in words: a command, or what was done."""
    at: float
    """Unix seconds."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def writers(root: Path) -> dict[str, Writer]:
    """Return who wrote the captions below `root`, by their paths below it; those that came with the pictures are not in it."""
    last: dict[str, tuple[str, Writer]] = {}
    for change in Journal(root).changes((KIND, REPAIRS)):
        writer = Writer(who=_who(change), what=change.what, at=change.at)
        for entry in change.entries:
            if entry.after is None:
                last.pop(entry.path, None)
            else:
                last[entry.path] = entry.after, writer
    return {path: writer for path, (after, writer) in last.items() if hash_of(root / path) == after}


def _who(change: Change) -> Who:
    if change.kind == REPAIRS:
        return "repair"
    sources = sources_of(change.what)
    if not sources:
        return "you"
    return "model" if any(KINDS[name].is_model for name in sources if name in KINDS) else "template"

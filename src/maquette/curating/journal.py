"""What was changed and how to take it back: the state before each change, kept beside the pictures.

DIR/.curation/history/ holds one numbered file a change: `000007-curate.json.gz` is curation.json as it was before,
`000001-curate.none` says that there was none, `000009-apply.json` names the folder of copies and what lay in it
before. Undoing takes the newest, puts its contents back byte for byte, and takes the file away. The newest 40 are kept.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maquette.files import write_atomic, write_json

KEPT_CHANGES = 40
NAME = re.compile(r"(\d{6})-(curate|yours|apply)\.(json\.gz|none|json)")


@dataclass(frozen=True)
class Change:
    """One entry of the history."""

    number: int
    kind: str
    """curate, yours (a person's decisions) or apply."""
    path: Path


def changes(history: Path) -> list[Change]:
    """Return the changes that can be undone, the oldest first."""
    if not history.is_dir():
        return []
    matches = [(path, NAME.fullmatch(path.name)) for path in history.iterdir()]
    found = [Change(int(match[1]), match[2], path) for path, match in matches if match]
    return sorted(found, key=lambda change: change.number)


def note_decisions(history: Path, kind: str, before: bytes | None) -> None:
    """Keep curation.json as it was before a change; None when there was none."""
    stem = f"{_next_number(history):06d}-{kind}"
    if before is None:
        write_atomic(history / f"{stem}.none", b"")
    else:
        write_atomic(history / f"{stem}.json.gz", gzip.compress(before, 6, mtime=0))
    _forget_oldest(history)


def note_apply(history: Path, before: dict[str, Any]) -> None:
    """Keep what a folder of copies held before; see apply.sync."""
    write_json(history / f"{_next_number(history):06d}-apply.json", before)
    _forget_oldest(history)


def decisions_before(change: Change) -> bytes | None:
    """Return curation.json as it was before a change of decisions."""
    return None if change.path.suffix == ".none" else gzip.decompress(change.path.read_bytes())


def copies_before(change: Change) -> dict[str, Any]:
    """Return what `note_apply` kept."""
    found: dict[str, Any] = json.loads(change.path.read_text(encoding="utf-8"))
    return found


def _next_number(history: Path) -> int:
    known = changes(history)
    return known[-1].number + 1 if known else 1


def _forget_oldest(history: Path) -> None:
    for change in changes(history)[:-KEPT_CHANGES]:
        change.path.unlink(missing_ok=True)

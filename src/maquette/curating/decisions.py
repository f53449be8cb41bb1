"""curation.json: every picture's decision, beside the pictures, readable by people and by other stages.

One line a picture, sorted by name, so that two versions compare well. Settings that a later run goes on with stand at
its head. A person's own decision is an entry's `yours`; no run changes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.curating.records import MAQUETTE, STATES, YOU, Decider, Look, Reason, State
from maquette.errors import DatasetError, Problem
from maquette.project.validation import checked
from maquette.reading import FileKind, read_table

DECISIONS_NAME = "curation.json"
WORK_NAME = ".curation"
SCHEMA = 1
UNDO = "Take back the last change with --undo, or move the file away: it holds your own decisions."
FILE = FileKind("a file that curate wrote", UNDO, DatasetError, damaged=UNDO)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about one picture."""

    name: str
    """Path below the folder, with `/`."""
    state: State
    decided_by: Decider
    reasons: tuple[Reason, ...] = ()
    sha256: str = ""
    """Of the file when it was looked at; empty when it could not be read."""
    similarity: float | None = None
    nearest_reference: str = ""
    faces: int | None = None
    face_similarity: float | None = None
    cluster: int | None = None
    quality: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """The reasons in words, the decisive ones first."""
        order = {"reject": 0, "review": 1, "note": 2}
        return tuple(reason.text for reason in sorted(self.reasons, key=lambda reason: order[reason.weight]))


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """A folder's curation.json."""

    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the last run was asked for: references, threshold, encoder, target, profile, faces, limits."""
    identity: Mapping[str, Any] | None = None
    """Calibration and histogram of the last run with references."""
    pictures: Mapping[str, Decision] = field(default_factory=dict)
    absent: Mapping[str, Decision] = field(default_factory=dict)
    """A person's decisions about pictures that are gone; they count again when the picture is back."""

    @property
    def threshold(self) -> float | None:
        """The identity threshold of the last run."""
        return (self.identity or {}).get("threshold")

    @property
    def encoder(self) -> str:
        return str((self.identity or {}).get("encoder", ""))

    @property
    def faces(self) -> str:
        return str(self.settings.get("faces") or "off")

    def in_state(self, state: State) -> list[Decision]:
        """Return the decisions of one state, by name."""
        return [decision for decision in self.pictures.values() if decision.state == state]

    def similarities(self) -> dict[Path, float]:
        """Return path → similarity to the references, of the pictures for which it was measured."""
        return {
            self.folder / name: decision.similarity
            for name, decision in self.pictures.items()
            if decision.similarity is not None
        }


def decisions_path(folder: Path) -> Path:
    return folder / DECISIONS_NAME


@dataclass(frozen=True, kw_only=True)
class _File:
    """What the file holds."""

    schema: int
    counts: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any]
    identity: Mapping[str, Any] | None = None
    pictures: Mapping[str, Decision]
    absent: Mapping[str, Decision] = field(default_factory=dict)


def read_decisions(folder: Path) -> Decisions | None:
    """Return what was decided about the pictures in `folder`, or None where curation has not been.

    Raises DatasetError when curation.json is damaged or of a newer version.
    """
    path = decisions_path(folder)
    if not path.is_file():
        return None
    table = read_table(path, FILE)
    if table.get("schema") != SCHEMA:
        raise DatasetError(Problem(str(path), f"schema {table.get('schema')!r}", f"schema {SCHEMA}", UNDO))
    for name in ("pictures", "absent"):
        if isinstance(table.get(name), dict):
            table[name] = {key: _named(key, entry) for key, entry in table[name].items()}
    found = checked(_File, table, str(path), FILE)
    return Decisions(
        folder=folder,
        settings=found.settings,
        identity=found.identity,
        pictures=found.pictures,
        absent=found.absent,
    )


def _named(name: str, entry: Any) -> Any:
    """A decision's name is the key that it stands under."""
    return {"name": name, **entry} if isinstance(entry, dict) else entry


def decision_of(look: Look) -> Decision:
    """Return the decision that a look has come to."""
    return Decision(
        name=look.name,
        state=look.state,
        decided_by=YOU if look.yours else MAQUETTE,
        reasons=tuple(look.reasons),
        sha256=look.sha256,
        similarity=None if look.similarity is None else round(look.similarity, 4),
        nearest_reference=look.nearest_reference,
        faces=look.faces,
        face_similarity=None if look.face_similarity is None else round(look.face_similarity, 4),
        cluster=look.cluster,
        quality=look.quality,
        measures=look.measures,
    )


def as_text(decisions: Decisions) -> str:
    """Return the file's text; equal decisions give equal bytes."""
    counts: dict[str, int] = {state: len(decisions.in_state(state)) for state in STATES}
    head: dict[str, Any] = {
        "schema": SCHEMA,
        "counts": {"pictures": len(decisions.pictures), **counts},
        "settings": decisions.settings,
        "identity": decisions.identity,
    }
    lines = ["{"]
    lines += [f"  {_json(key)}: {_json(value)}," for key, value in head.items()]
    lines += ['  "pictures": {', *_entries(decisions.pictures.values()), "  },"]
    lines += ['  "absent": {', *_entries(decisions.absent.values()), "  }", "}"]
    return "\n".join(lines) + "\n"


def _entries(decisions: Iterable[Decision]) -> list[str]:
    ordered = sorted(decisions, key=lambda decision: decision.name)
    lines = [f"    {_json(decision.name)}: {_json(_entry(decision))}" for decision in ordered]
    return [f"{line}," for line in lines[:-1]] + lines[-1:]


def _entry(decision: Decision) -> dict[str, Any]:
    entry: dict[str, Any] = {"state": decision.state, "decided_by": decision.decided_by}
    if decision.reasons:
        entry["reasons"] = [_reason(reason) for reason in decision.reasons]
    for key in ("similarity", "nearest_reference", "faces", "face_similarity", "cluster"):
        value = getattr(decision, key)
        if value is not None and value != "":
            entry[key] = value
    return entry | {
        "quality": decision.quality,
        "measures": dict(decision.measures),
        "sha256": decision.sha256,
    }


def _reason(reason: Reason) -> dict[str, Any]:
    entry: dict[str, Any] = {"code": reason.code, "weight": reason.weight, "text": reason.text}
    if reason.value is not None:
        entry |= {"value": round(reason.value, 4), "limit": reason.limit}
    return entry | ({"other": reason.other} if reason.other else {})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

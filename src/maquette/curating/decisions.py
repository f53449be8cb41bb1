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

from maquette.curating.records import MAQUETTE, STATES, YOU, Look, Reason, State
from maquette.errors import DatasetError, Problem

DECISIONS_NAME = "curation.json"
WORK_NAME = ".curation"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about one picture."""

    name: str
    """Path below the folder, with `/`."""
    state: State
    decided_by: str
    """`maquette` or `you`."""
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


def read_decisions(folder: Path) -> Decisions | None:
    """Return what was decided about the pictures in `folder`, or None where curation has not been.

    Raises DatasetError when curation.json is damaged or of a newer version.
    """
    path = decisions_path(folder)
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            given = data.get("schema") if isinstance(data, dict) else "no object"
            raise DatasetError(_unreadable(path, f"schema {given!r}", f"schema {SCHEMA}"))
        return Decisions(
            folder=folder,
            settings=data["settings"],
            identity=data.get("identity"),
            pictures={name: _decision(name, entry) for name, entry in data["pictures"].items()},
            absent={name: _decision(name, entry) for name, entry in data.get("absent", {}).items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DatasetError(_unreadable(path, f"damaged ({error})", "a file that curate wrote")) from None


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


def _decision(name: str, entry: Mapping[str, Any]) -> Decision:
    if entry["state"] not in STATES:
        raise ValueError(f"{name}: state {entry['state']!r}")
    known = ("similarity", "nearest_reference", "faces", "face_similarity", "cluster")
    return Decision(
        name=name,
        state=entry["state"],
        decided_by=entry["decided_by"],
        reasons=tuple(Reason(**reason) for reason in entry.get("reasons", ())),
        sha256=entry.get("sha256", ""),
        quality=entry.get("quality", 0.0),
        measures=entry.get("measures", {}),
        **{key: entry[key] for key in known if key in entry},
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _unreadable(path: Path, given: str, required: str) -> Problem:
    return Problem(
        str(path),
        given,
        required,
        "Take back the last change with --undo, or move the file away: it holds your own decisions.",
    )

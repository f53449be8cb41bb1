"""What a rule finds, and how it can be repaired. Plain records: nothing here reads a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from maquette.errors import Problem

Severity = Literal["error", "warning", "hint"]
Repair = Literal["none", "safe", "decides"]
"""What a repair does: safe ones change no meaning and lose nothing; others decide something for the person (a background, a
word that is added or taken out), who should look at it afterwards. Either can be undone."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")


@dataclass(frozen=True)
class WriteText:
    """Replace a text file's whole content (UTF-8); the file may be new."""

    path: Path
    text: str


@dataclass(frozen=True)
class SetAside:
    """Move a file out of the dataset into the folder that undoing takes it back from."""

    path: Path


@dataclass(frozen=True)
class WriteBytes:
    """Replace a file's whole content, e.g. a picture saved turned upright."""

    path: Path
    data: bytes


Edit = WriteText | WriteBytes | SetAside


@dataclass(frozen=True)
class Fix:
    """A repair that loses nothing: what it does in a few words, and the edits that do it."""

    summary: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a rule found. Message and remedy are whole sentences in plain words."""

    code: str
    severity: Severity
    path: Path | None
    """The file or folder it is about; None where it is about the machine."""
    place: str = ""
    """Where within: a key, a flag, `line 12`, a tensor's name."""
    message: str
    remedy: str
    fix: Fix | None = None
    repair: Repair = "none"

    @property
    def fixable(self) -> bool:
        return self.fix is not None

    @property
    def where(self) -> str:
        """Return path and place as one text."""
        return ": ".join(part for part in (str(self.path) if self.path else "", self.place) if part)

    @property
    def key(self) -> str:
        """Return what tells this finding from every other, in this check and in the next."""
        said = "\0".join((self.code, str(self.path or ""), self.place, self.message))
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "path": str(self.path) if self.path is not None else None,
            "place": self.place,
            "message": self.message,
            "remedy": self.remedy,
            "fixable": self.fixable,
            "fix": self.fix.summary if self.fix else None,
            "repair": self.repair,
        }

    def as_problem(self) -> Problem:
        """Return the finding as the problem that stops a stage."""
        return Problem(
            self.where or "this machine", self.message.rstrip("."), f"see {self.code}", self.remedy
        )


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with errors before warnings before hints, otherwise by code, path and place."""
    rank = {severity: index for index, severity in enumerate(SEVERITIES)}
    return sorted(findings, key=lambda f: (rank[f.severity], f.code, str(f.path or ""), f.place))

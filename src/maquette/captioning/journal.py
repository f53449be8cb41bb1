"""Answers of a run that is under way, so that a killed one does not ask for them again.

`.maquette/captioning.jsonl`: a header that says what was asked how, then one line an answer, on the disk before its caption is
written. A run that ends removes it; a run that asks otherwise begins anew.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maquette.captioning.records import Answer, Target
from maquette.captioning.targets import file_state
from maquette.errors import OutputError, Problem
from maquette.files import append_line
from maquette.reading import Unreadable, read_lines

PLACE = Path(".maquette") / "captioning.jsonl"


class Journal:
    """The answers that came so far."""

    def __init__(self, root: Path, how: Mapping[str, Any], *, keep: bool = True) -> None:
        """`how` is everything that answers depend on besides the pictures; `keep` False remembers nothing on disk."""
        self._file = Path(root) / PLACE
        self._keep = keep
        self._lock = threading.Lock()
        self._how = hashlib.sha256(json.dumps(how, sort_keys=True, default=str).encode()).hexdigest()
        self._known = self._read()
        self.num_recalled = len(self._known)
        """Answers left by a run that did not end."""

    def answer(self, target: Target) -> Answer | None:
        """Return what was answered for a picture that has not changed since; None for one that must be asked for."""
        line = self._known.get(target.name)
        if line is None or line["state"] != _state(target):
            return None
        return Answer(text=line["text"], refused=line["refused"])

    def remember(self, target: Target, answer: Answer) -> None:
        """Keep an answer. One that never came is not kept: it is asked for again."""
        if answer.failed or not self._keep:
            return
        line = {
            "picture": target.name,
            "state": _state(target),
            "text": answer.text,
            "refused": answer.refused,
        }
        try:
            with self._lock:
                if not self._file.is_file():
                    self._file.parent.mkdir(parents=True, exist_ok=True)
                    append_line(self._file, {"how": self._how})
                append_line(self._file, line)
        except OSError as error:
            raise OutputError(
                Problem(
                    str(self._file),
                    f"cannot be written ({error.strerror})",
                    "room for the answers of this run",
                    "Make the folder writable or free some space.",
                )
            ) from error

    def end(self) -> None:
        """Forget everything: the run is done."""
        if self._keep:
            self._file.unlink(missing_ok=True)
            if self._file.parent.is_dir() and not any(self._file.parent.iterdir()):
                self._file.parent.rmdir()

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self._file.is_file():
            return {}
        try:
            header, *lines = list(read_lines(self._file)) or [{}]
        except Unreadable:
            header, lines = {}, []
        if header.get("how") != self._how:
            self.end()
            return {}
        return {str(line.get("picture")): line for line in lines if {"state", "text", "refused"} <= set(line)}


def _state(target: Target) -> str:
    try:
        return file_state(target.picture)
    except OSError:
        return "unreadable"

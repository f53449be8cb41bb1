"""What the pipeline knows of its stages: PROJECT/.maquette/auto/stages.json, with the content that each was done with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.errors import OutputError
from maquette.files import write_json
from maquette.jobs.contents import Contents, Hashes, difference, digest
from maquette.locking import OWN_FOLDER
from maquette.reading import FileKind, read_table

FILE = FileKind("what the pipeline has done", "Remove it: every stage runs again.", OutputError)


def folder_of(project: Path) -> Path:
    """Return where the pipeline of a project keeps what it knows, and what it holds while it is at work."""
    return project / OWN_FOLDER / "auto"


@dataclass
class Known:
    """The stages that were done, each with the content that it read and what it gave."""

    path: Path
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, Contents] = field(default_factory=dict)
    """By digest: several stages read the same."""
    hashes: Hashes = field(default_factory=lambda: Hashes({}))

    @classmethod
    def read(cls, project: Path) -> Known:
        """Return what is known; nothing in a project that the pipeline never saw. Raises OutputError."""
        path = folder_of(project) / "stages.json"
        if not path.is_file():
            return cls(path)
        table = read_table(path, FILE)
        return cls(
            path,
            dict(table.get("stages", {})),
            dict(table.get("contents", {})),
            Hashes(table.get("hashes", {})),
        )

    def changed(self, stage: str, now: Contents) -> str | None:
        """Return in words why a stage is not fresh: what it reads changed, or it was not done yet. None: it is fresh."""
        known = self.stages.get(stage)
        if known is None:
            return "not done yet"
        if known.get("read") == digest(now):
            return None
        return difference(self.contents.get(str(known.get("read")), {}), now) or "what it reads changed"

    def gave(self, stage: str) -> dict[str, Any]:
        """Return what a stage gave when it was done last; empty where it was not."""
        return dict(self.stages.get(stage, {}).get("gave", {}))

    def note(self, stage: str, read: Contents, **gave: Any) -> None:
        """Keep that a stage was done with this content, and what it gave."""
        key = digest(read)
        self.contents[key] = read
        self.stages[stage] = {"read": key, "gave": gave}
        used = {entry["read"] for entry in self.stages.values()}
        self.contents = {name: each for name, each in self.contents.items() if name in used}
        self.write()

    def forget(self, stage: str) -> None:
        """Take a stage for not done."""
        if self.stages.pop(stage, None) is not None:
            self.write()

    def write(self) -> None:
        write_json(
            self.path,
            {"version": 1, "stages": self.stages, "contents": self.contents, "hashes": self.hashes.to_json()},
        )

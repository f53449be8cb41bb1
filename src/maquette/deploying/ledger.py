"""What this program wrote beside a drawing program, so that whatever a person changed since is never overwritten.

ROOT/maquette/written.json   {"version": 1, "files": {path: SHA-256 as written}}, paths below ROOT relative to it
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from maquette.errors import MaquetteError, OutputError, Problem
from maquette.files import sha256_file, write_atomic, write_json
from maquette.reading import FileKind, read_table

VERSION = 1
FILE = FileKind("the list of files that were written here", "Delete it: then every file counts as yours.")
_MOST_NAMES = 10_000


How = Literal["new", "again", "same", "kept"]
"""`new`: nothing was there; `again`: ours is written anew; `same`: it says that already; `kept`: a person's, and stays."""


@dataclass(frozen=True, kw_only=True)
class Put:
    """A file of an installation, and what becomes of what is there."""

    path: Path
    how: How


class Ledger:
    """The files of one drawing program that are ours, and the only way to write them. `dry`: all is decided, nothing written."""

    def __init__(self, root: Path, *, dry: bool = False) -> None:
        self._root = root
        self._path = root / "maquette" / "written.json"
        self._files = self._read()
        self._dry = dry
        self._is_noted = self._path.is_file()
        self.puts: list[Put] = []

    @property
    def kept(self) -> list[Path]:
        """Files that hold something else than was to be written, and stayed as they are."""
        return [put.path for put in self.puts if put.how == "kept"]

    @property
    def files(self) -> tuple[Put, ...]:
        """All that was put, and this list itself."""
        return (*self.puts, Put(path=self._path, how="again" if self._is_noted else "new"))

    def put(self, path: Path, content: str | bytes) -> Path:
        """Write `path`, unless a person made or changed what is there: then it stays, and is noted. Returns `path`."""
        how = self._how(path, content)
        self.puts.append(Put(path=path, how=how))
        return path if how == "kept" else self._write(path, content)

    def put_under_free_name(self, folder: Path, stem: str, ending: str, content: str | bytes) -> Path:
        """Write FOLDER/STEM + ending, or STEM-2, STEM-3… where a person made or changed the one before; return the path."""
        for path in _names(folder, stem, ending):
            how = self._how(path, content)
            self.puts.append(Put(path=path, how=how))
            if how != "kept":
                return self._write(path, content)
        raise OutputError(
            Problem(
                str(folder),
                f"holds thousands of files {stem}-N{ending}",
                "a free name",
                "Remove some of them.",
            )
        )

    def _how(self, path: Path, content: str | bytes) -> How:
        """Return what becomes of the file: it is ours while it is as it was written here, or already holds `content`."""
        if not path.exists():
            return "new"
        if not path.is_file():
            return "kept"
        digest = sha256_file(path)
        if digest == _digest(content):
            return "same"
        return "again" if digest == self._files.get(self._key(path)) else "kept"

    def _write(self, path: Path, content: str | bytes) -> Path:
        if self._dry:
            return path
        digest = _digest(content)
        if not path.is_file() or sha256_file(path) != digest:
            write_atomic(path, content)
        if self._files.get(self._key(path)) != digest:
            self._files[self._key(path)] = digest
            write_json(self._path, {"version": VERSION, "files": dict(sorted(self._files.items()))})
        return path

    def _key(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix() if path.is_relative_to(self._root) else path.as_posix()

    def _read(self) -> dict[str, str]:
        """Return the list; a missing or damaged one is empty, which makes every file a person's."""
        if not self._path.is_file():
            return {}
        try:
            files = read_table(self._path, FILE).get("files")
        except MaquetteError:
            return {}
        return {str(key): str(value) for key, value in files.items()} if isinstance(files, dict) else {}


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode("utf-8") if isinstance(content, str) else content).hexdigest()


def _names(folder: Path, stem: str, ending: str) -> Iterator[Path]:
    yield folder / f"{stem}{ending}"
    for number in range(2, _MOST_NAMES):
        yield folder / f"{stem}-{number}{ending}"

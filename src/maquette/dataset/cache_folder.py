"""A folder of computed tensors between runs: each entry named by all that decides it, the whole bounded in size.

    FOLDER/ab/abcdef….safetensors   an entry: tensors, its own key and a digest of their values
    FOLDER/.in-use/NAME.keys        keys that a running process needs, locked by it (see `needed`)

Entries appear whole, so that any number of processes may fill one folder; what is damaged is told from what is sound and
made again. Beyond the limit the entries that were longest not used go first, never one that a running process needs.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from maquette.files import remove_stale_partials, require_writable_folder, write_atomic

if TYPE_CHECKING:
    from filelock import BaseFileLock

ENDING = ".safetensors"
IN_USE = ".in-use"
ROOM_SHARE = 0.05
"""Of the limit: so much is freed at once where room is made, and so much is written before all is counted again, since
others may fill the folder too."""


@dataclass
class CacheFolder:
    """Entries of one folder, as one process sees them. `open` comes first, `close` at the end."""

    path: Path
    limit_bytes: int | None = None
    """None: without bound."""
    removed: int = 0
    """Entries that had to make room."""
    is_full: bool = False
    """Whether all that is left in it is needed, and nothing more fits."""
    _size_bytes: int = 0
    """Of all entries; counted now and then, in between kept up with what this process writes and removes."""
    _since_count_bytes: int = 0
    _needed: set[str] = field(default_factory=set, repr=False)
    _lock: BaseFileLock | None = field(default=None, repr=False)

    def open(self) -> None:
        """Prove that the folder can be written, and clear away what killed processes left. Raises OutputError."""
        require_writable_folder(self.path)
        remove_stale_partials(self.path)

    def need(self, keys: Collection[str]) -> None:
        """Note that this process needs the entries of `keys` until it ends, whether they are there yet or not."""
        if self.limit_bytes is None:
            return
        from filelock import FileLock

        self._needed |= set(keys)
        notes = self.path / IN_USE
        if self._lock is None:
            notes.mkdir(exist_ok=True)
            self._lock = FileLock(notes / f"{uuid.uuid4().hex}.lock", is_singleton=False, thread_local=False)
            self._lock.acquire()
            self._size_bytes = sum(size for _, size, _ in self._entries())
        write_atomic(Path(self._lock.lock_file).with_suffix(".keys"), "\n".join(sorted(self._needed)))

    def close(self) -> None:
        """Let the entries go that `need` held."""
        if self._lock is not None:
            lock = Path(self._lock.lock_file)
            lock.with_suffix(".keys").unlink(missing_ok=True)
            self._lock.release()
            lock.unlink(missing_ok=True)
            self._lock = None

    def __del__(self) -> None:
        with suppress(OSError):
            self.close()

    def file_of(self, key: str) -> Path:
        return self.path / key[:2] / f"{key}{ENDING}"

    def names(self) -> frozenset[str]:
        """Return the keys of all entries, sound or not: a look at the names alone."""
        return frozenset(_key_of(name) for name, _, _ in self._entries())

    def read(self, key: str) -> dict[str, Tensor] | str | None:
        """Return an entry's tensors, None where there is none, or what is wrong with its file; note that it was used."""
        path = self.file_of(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, OSError) as error:
            return f"could not be read ({error})"
        if metadata.get("key") != key:
            return "belong to something else"
        if metadata.get("sha256") != digest(tensors):
            return "were damaged"
        with suppress(OSError):  # an entry that another process has just removed, or may not be touched
            os.utime(path)
        return tensors

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> bool:
        """Keep an entry; return whether there was room for it. Raises OutputError."""
        data = save(dict(tensors), {"key": key, "sha256": digest(tensors)})
        if self.limit_bytes is not None and not self._make_room(len(data)):
            return False
        # Not pushed to the disk: what a power cut leaves of it is told from a sound entry and made again.
        write_atomic(self.file_of(key), data, durable=False)
        self._size_bytes += len(data)
        return True

    def _make_room(self, wanted_bytes: int) -> bool:
        """Remove what was longest not used until `wanted_bytes` fit; False where what is needed fills the folder."""
        assert self.limit_bytes is not None
        self._since_count_bytes += wanted_bytes
        is_old = self._since_count_bytes > self.limit_bytes * ROOM_SHARE
        if self._size_bytes + wanted_bytes <= self.limit_bytes and not is_old:
            return True
        if self.is_full:
            return False
        self._since_count_bytes = 0
        entries = sorted(self._entries(), key=lambda entry: entry[2])
        self._size_bytes = sum(size for _, size, _ in entries)
        if self._size_bytes + wanted_bytes <= self.limit_bytes:
            return True
        needed = self._needed | self._needed_by_others()
        most = self.limit_bytes * (1 - ROOM_SHARE) - wanted_bytes
        for name, size, _ in entries:
            if self._size_bytes <= most:
                break
            if _key_of(name) not in needed:
                Path(name).unlink(missing_ok=True)
                self._size_bytes -= size
                self.removed += 1
        self.is_full = self._size_bytes + wanted_bytes > self.limit_bytes
        return not self.is_full

    def _needed_by_others(self) -> set[str]:
        """Return the keys that other running processes need; notes of ended ones are removed."""
        from filelock import FileLock, Timeout

        found: set[str] = set()
        for note in (self.path / IN_USE).glob("*.keys"):
            own = note.with_suffix(".lock")
            if self._lock is not None and own == Path(self._lock.lock_file):
                continue
            try:
                with FileLock(own, timeout=0, is_singleton=False):
                    note.unlink(missing_ok=True)
                own.unlink(missing_ok=True)
            except Timeout:
                with suppress(OSError):
                    found |= set(note.read_text(encoding="ascii", errors="replace").split())
        return found

    def _entries(self) -> Iterator[tuple[str, int, float]]:
        """Yield every entry's path, size and time of last use."""
        with suppress(FileNotFoundError):
            folders = [each.path for each in os.scandir(self.path) if len(each.name) == 2 and each.is_dir()]
            for folder in folders:
                for each in os.scandir(folder):
                    if each.name.endswith(ENDING):
                        with suppress(FileNotFoundError):  # another process has just removed it
                            status = each.stat()
                            yield each.path, status.st_size, status.st_mtime


def _key_of(name: str) -> str:
    return Path(name).name.removesuffix(ENDING)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of the tensors' values. One tensor alone is hashed without its name."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        if len(tensors) > 1:
            found.update(name.encode())
        found.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()

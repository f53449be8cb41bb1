"""The hash of the base model's file, worked out beside what else goes on: it takes seconds and is needed late."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from maquette.files import sha256_file


class BaseHash:
    """Hashes a file on another thread from `begin` on."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._given_up = threading.Event()
        """Set once nobody waits for it any more: the program is not to end later because of it."""
        self._found: Future[str] | None = None

    def begin(self, path: Path | None) -> None:
        """Begin with the base at `path`; of one that is no single file the hash is empty."""
        if self._found is None:
            self._found = self._pool.submit(self._of, path)

    def result(self) -> str:
        """Return the hash, which was begun."""
        assert self._found is not None
        return self._found.result()

    def close(self) -> None:
        """Give it up where nobody has asked for it yet."""
        self._given_up.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _of(self, path: Path | None) -> str:
        return sha256_file(path, self._given_up.is_set) if path is not None and path.is_file() else ""

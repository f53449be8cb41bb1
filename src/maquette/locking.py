"""One at a time: who changes a folder holds it, and who comes second is told by whom.

    FOLDER/.maquette/lock         locked through the system: it comes free with the process, however that ends
    FOLDER/.maquette/owner.json   who that is, for people and for the second one to tell

Both go when the folder is let go. What a killed process left is taken over.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.errors import OutputError, Problem
from maquette.events import Stage, T
from maquette.files import cannot_write, remove_stale_partials, write_json
from maquette.reading import parse_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

OWN_FOLDER = ".maquette"
OWNER_BYTES = 4096
"""An owner's note is some hundred bytes; more of a file is not read."""
TRIES = 5


class HeldByAnother(OutputError):
    """A folder that another process is working in."""


@dataclass(frozen=True)
class Owner:
    """Who holds a folder, as it says itself."""

    pid: int
    host: str
    started: str
    what: str

    def __str__(self) -> str:
        return f"maquette {self.what} (process {self.pid} on {self.host}, since {self.started})"


class Hold:
    """A folder that this process alone works in, until `release`."""

    def __init__(self, folder: Path, lock: BaseFileLock, *, is_new: bool, before: Owner | None) -> None:
        self.folder = folder
        self.before = before
        """Who was killed while holding it."""
        self._lock = lock
        self._is_new = is_new
        self._inode = os.stat(lock.lock_file).st_ino  # noqa: PTH116 (a path of the library's)

    def require_there(self) -> None:
        """Raise OutputError where the folder was taken away, or replaced, while it was held."""
        try:
            there = os.stat(self._lock.lock_file).st_ino == self._inode  # noqa: PTH116
        except OSError:
            there = False
        if not there:
            raise OutputError(
                Problem(
                    str(self.folder),
                    "was removed or replaced while it was being written",
                    "the folder, left alone until the end",
                    "Start again; nothing more is written there.",
                )
            )

    def release(self) -> None:
        """Let the folder go. One that came into being with this hold and holds nothing is removed."""
        if not self._lock.is_locked:
            return
        own = self.folder / OWN_FOLDER
        with suppress(OSError, OutputError):
            self.require_there()
            (own / "owner.json").unlink(missing_ok=True)
            with suppress(OSError):
                # While it is locked, so that nobody locks what is about to go; Windows removes no open file.
                (own / "lock").unlink(missing_ok=True)
        self._lock.release()
        with suppress(OSError):
            own.rmdir()
            if self._is_new:
                self.folder.rmdir()

    close = release

    def __del__(self) -> None:
        if hasattr(self, "_inode"):
            self.release()


def hold(folder: Path, what: str) -> Hold:
    """Take `folder` for this process to do `what` in, and clear away what a killed one left half written there.

    Raises HeldByAnother, saying by whom, where it is taken; OutputError where the folder cannot be written.
    """
    try:
        is_new = not folder.exists()
        lock = _locked(folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    if lock is None:
        raise HeldByAnother(_taken(folder))
    hold = Hold(folder, lock, is_new=is_new, before=_owner(folder))
    started = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    note = {"pid": os.getpid(), "host": socket.gethostname(), "started": started, "what": what}
    try:
        write_json(folder / OWN_FOLDER / "owner.json", note)
        if remove_stale_partials(folder / OWN_FOLDER, below=False) or hold.before is not None:
            remove_stale_partials(folder)
    except BaseException:
        hold.release()
        raise
    return hold


@contextmanager
def held(*folders: Path, what: str) -> Iterator[tuple[Hold, ...]]:
    """Hold all `folders` (see `hold`) within, each once whatever it is called."""
    with ExitStack() as open_:
        taken = []
        for folder in {Path(each).resolve(): Path(each) for each in folders}.values():
            taken.append(hold(folder, what))
            open_.callback(taken[-1].release)
        yield tuple(taken)


def holding(folder: Path, what: str, begin: Callable[[], Stage[T]]) -> Stage[T]:
    """Return the stage that `begin` makes, with `folder` held from before it looks at anything until it ends.

    A folder that is not there is not made: what is wrong with it is for `begin` to say.
    """
    if not folder.is_dir():
        return begin()
    taken = hold(folder, what)
    try:
        return _until_its_end(begin(), taken)
    except BaseException:
        taken.release()
        raise


def _until_its_end(stage: Stage[T], taken: Hold) -> Stage[T]:
    with closing(taken):
        return (yield from stage)


def holder_of(folder: Path) -> Owner | None:
    """Return who notes to hold `folder`, without touching it; None where nobody does, or who did is gone from this machine."""
    import psutil

    owner = _owner(folder)
    is_gone = owner is not None and owner.host == socket.gethostname() and not psutil.pid_exists(owner.pid)
    return None if is_gone else owner


def _locked(folder: Path) -> BaseFileLock | None:
    """Return the lock of `folder`, locked; None where another holds it."""
    from filelock import FileLock, Timeout

    own = folder / OWN_FOLDER
    for attempt in range(TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        if own.is_symlink():
            raise OSError(f"{OWN_FOLDER} is a link that leads elsewhere")
        own.mkdir(exist_ok=True)
        lock = FileLock(own / "lock", timeout=0, thread_local=False, is_singleton=False)
        try:
            lock.acquire()
            return lock
        except Timeout:
            return None
        except FileNotFoundError:  # who held it has just taken its folder away
            if attempt == TRIES - 1:
                raise
    return None


def _taken(folder: Path) -> Problem:
    owner = None
    for _ in range(TRIES):  # who has just taken it is writing down who it is
        owner = owner or _owner(folder)
        time.sleep(0 if owner else 0.05)
    return Problem(
        str(folder),
        f"in use by {owner or 'another process'}",
        "one at a time in a folder",
        "Wait until it has ended, or end it.",
    )


def _owner(folder: Path) -> Owner | None:
    """Return who noted to hold `folder`; None where nobody did, or the note is none."""
    try:
        with (folder / OWN_FOLDER / "owner.json").open("rb") as file:
            note = parse_json(file.read(OWNER_BYTES))
        return Owner(int(note["pid"]), *(_plain(note[name]) for name in ("host", "started", "what")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plain(value: object) -> str:
    """Return a short text without what a terminal obeys: a note may come with a stranger's folder."""
    return "".join(letter for letter in str(value)[:80] if letter.isprintable())

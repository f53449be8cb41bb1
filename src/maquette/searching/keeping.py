"""The leases of this process, renewed beside its work: however long a pass over the base or the loading of one takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TypeVar

from maquette.errors import OutputError, Problem
from maquette.searching.leases import Leases

T = TypeVar("T")
PATIENCE_S = 600.0
"""A database that is away comes back within minutes, or somebody has to look."""
LONGEST_PAUSE_S = 10.0
RENEWALS = 4
"""In the time for which a lease holds."""


class Keeper:
    """Takes, renews and lets go of trials while it is open; then lets go of all, so that others go on with them at once."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self._held: set[int] = set()
        self._lost: set[int] = set()
        self._change = threading.Lock()
        self._ended = threading.Event()
        self._sure_until = 0.0
        self._thread = threading.Thread(target=self._renew_on, name="leases", daemon=True)

    def __enter__(self) -> Keeper:
        patiently(self.leases.join)
        self._sure_until = time.monotonic() + self.leases.seconds
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(timeout=self.leases.seconds)
        with suppress(*_away()):  # a lease that nobody renews ends by itself
            self.leases.leave()

    def take(self, trial: int) -> bool:
        """Take a trial where nobody has it; return whether."""
        if not patiently(lambda: self.leases.take(trial)):
            return False
        with self._change:
            self._held.add(trial)
            self._lost.discard(trial)
        return True

    def release(self, trials: Iterable[int]) -> None:
        """Let go of trials."""
        given = set(trials)
        with self._change:
            self._held -= given
            self._lost -= given
        if given:
            patiently(lambda: self.leases.release(given))

    def holds(self, trial: int) -> bool:
        """Return whether a trial is this process's: what it says of the trial then counts."""
        if trial in self.lost:
            return False
        return patiently(lambda: self.leases.holds(trial))

    def note(self, trial: int, step: int) -> None:
        """Write down how far a trial came."""
        patiently(lambda: self.leases.note(trial, step))

    @property
    def held(self) -> frozenset[int]:
        """Trials that were taken and not let go of."""
        with self._change:
            return frozenset(self._held)

    @property
    def lost(self) -> frozenset[int]:
        """Those of them that went to another, or may have."""
        with self._change:
            if time.monotonic() > self._sure_until:
                # Nobody could be asked for as long as a lease holds: others may have taken all.
                self._lost |= self._held
            return frozenset(self._lost)

    def _renew_on(self) -> None:
        while not self._ended.wait(self.leases.seconds / RENEWALS):
            with suppress(*_away()):
                self._renew()

    def _renew(self) -> None:
        asked = self.held
        before = time.monotonic()
        lost = self.leases.renew(asked)
        with self._change:
            self._lost |= lost & self._held
            self._sure_until = before + self.leases.seconds


def patiently(call: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Return what `call` returns, called again while the database is away: it is restarted, or the network is down for a while.

    For calls that may be done twice. Raises OutputError where it stays away.
    """
    began, pause = time.monotonic(), 0.1
    while True:
        try:
            return call()
        except _away() as error:
            if not _is_away(error):
                raise
            if time.monotonic() - began + pause > patience_s:
                raise OutputError(_gone_for_good(error, patience_s)) from None
        time.sleep(pause)
        pause = min(LONGEST_PAUSE_S, pause * 2)


def _away() -> tuple[type[Exception], ...]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import DBAPIError, TimeoutError

    return (DBAPIError, TimeoutError, StorageInternalError)


def _is_away(error: BaseException) -> bool:
    """Return whether it is the database that could not be asked, not the question that was wrong."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError

    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, InterfaceError | OperationalError | TimeoutError)


def _gone_for_good(error: Exception, patience_s: float) -> Problem:
    cause: BaseException = error.__cause__ or error
    kinds: Sequence[str] = [type(each).__name__ for each in (getattr(cause, "orig", None), cause) if each]
    return Problem(
        "--storage",
        f"the database did not answer for {patience_s:.0f} s ({kinds[0]})",
        "a database that can be reached",
        "Start it again; the search goes on with: maquette search PROJECT --resume",
    )

"""What the ledger of jobs tells, to every open page at once: one thread looks, however many listen.

A listener has its own number of the last event that it heard, so that who comes late or comes back misses none and hears none
twice.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from maquette.errors import MaquetteError
from maquette.jobs.following import is_ended
from maquette.jobs.ledger import Ledger
from maquette.jobs.settling import see_to_what_was_lost

LOOKS_EVERY_S = 0.02
"""Whether the ledger was changed at all, which costs next to nothing; only then is it read."""
SETTLES_EVERY_S = 2.0
COMES_BACK_MS = 500
"""So soon a browser whose connection broke tries again."""
SIGN_OF_LIFE_S = 15.0
"""So often something is sent, so that a page that is gone is noticed."""


@dataclass(eq=False, kw_only=True)
class _Listener:
    loop: asyncio.AbstractEventLoop
    job: int | None
    """Whose events it hears; None: the whole queue, whenever it changed."""
    after: int = -1
    heard: asyncio.Queue[str | None] = field(default_factory=asyncio.Queue)
    last: str = ""
    has_looked: bool = False
    file: Path | None = None
    """Instead of the ledger it hears of a file, whenever whoever writes it has changed it."""

    def look(self, ledger: Ledger, queue: Callable[[], str]) -> None:
        """Take in what is new; `queue` gives the text of the whole queue."""
        if self.file is not None:
            self._look_at(self.file)
            return
        if self.job is None:
            if (text := queue()) != self.last:
                self.last = text
                self._tell(f"data: {text}\n\n")
            return
        # The state first: what is told after it was read is heard before the end.
        job = ledger.find(self.job)
        while events := ledger.events(self.job, self.after):
            self.after = int(events[-1]["sequence"])
            for event in events:
                self._tell(f"id: {event['sequence']}\ndata: {json.dumps(event)}\n\n")
        if job is None or is_ended(job):
            self._tell(f"event: end\ndata: {json.dumps(job.to_json() if job else None)}\n\n")
            self.end()

    def end(self) -> None:
        """End the stream behind what it has heard."""
        self._tell(None)

    def _look_at(self, file: Path) -> None:
        with suppress(OSError):  # it is not there yet, or just being replaced
            told = file.stat()
            mark = json.dumps([told.st_mtime_ns, told.st_size, told.st_ino])
            if mark != self.last:
                self.last = mark
                self._tell(f"data: {mark}\n\n")

    def _tell(self, text: str | None) -> None:
        with suppress(RuntimeError):  # the server has ended meanwhile
            self.loop.call_soon_threadsafe(self.heard.put_nowait, text)


class Feed:
    """The one thread that looks, while anybody listens."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def listen(self, job: int | None = None, after: int = -1) -> AsyncIterator[str]:
        """Yield server-sent events: those of a job after number `after` until it is over, or the queue whenever it changes."""
        return self._heard(_Listener(loop=asyncio.get_running_loop(), job=job, after=after))

    def watch(self, file: Path) -> AsyncIterator[str]:
        """Yield a server-sent event now and whenever a file was changed, by whomever."""
        return self._heard(_Listener(loop=asyncio.get_running_loop(), job=None, file=file))

    async def _heard(self, listener: _Listener) -> AsyncIterator[str]:
        self._join(listener)
        try:
            yield f"retry: {COMES_BACK_MS}\n"
            while True:
                try:
                    text = await asyncio.wait_for(listener.heard.get(), SIGN_OF_LIFE_S)
                except TimeoutError:
                    text = ": still here\n\n"
                if text is None:
                    return
                yield text
        finally:
            with self._lock:
                self._listeners.discard(listener)

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def close(self) -> None:
        """End every stream: the server is to end, and waits for no page."""
        with self._lock:
            for listener in self._listeners:
                listener.end()

    def _join(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="feed", daemon=True)
                self._thread.start()

    def _look(self) -> None:
        with Ledger() as ledger:
            known, settled = -1, -SETTLES_EVERY_S
            while True:
                with self._lock:
                    listeners = list(self._listeners)
                    if not listeners:
                        self._thread = None
                        return
                # A ledger that is busy, or gone for a moment, is looked at again.
                with suppress(MaquetteError, OSError):
                    if time.monotonic() - settled >= SETTLES_EVERY_S:
                        settled = time.monotonic()
                        if see_to_what_was_lost(ledger):
                            known = -1
                    now = ledger.changes_by_others()
                    _tell_what_is_new(ledger, listeners, is_changed=now != known)
                    known = now
                time.sleep(LOOKS_EVERY_S)


def _tell_what_is_new(ledger: Ledger, listeners: Iterable[_Listener], *, is_changed: bool) -> None:
    """Let those look who have reason to; the queue's text is made once for all of them."""
    queue = cache(lambda: json.dumps({"jobs": [job.to_json() for job in ledger.jobs()]}))
    for listener in listeners:
        if is_changed or listener.file is not None or not listener.has_looked:
            listener.look(ledger, queue)
            listener.has_looked = True

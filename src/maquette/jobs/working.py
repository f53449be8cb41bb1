"""A worker's side of its job: it says who it is, tells what happens, heeds what is asked of it, notes how it ended."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from maquette.errors import MaquetteError
from maquette.events import Event, Finished, Progress
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Job, State
from maquette.processes import own_identity

TELLS_EVERY_S = 0.1
"""At most so often; what happens after a quiet while is told at once."""


class Work:
    """One attempt at a job in this process. A thread of its own tells and listens, so that no step waits for the ledger."""

    def __init__(self, folder: Path, job: int, attempt: int) -> None:
        self._folder, self._job, self._attempt = folder, job, attempt
        self._heard: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._is_over, self._is_new = threading.Event(), threading.Event()
        self._is_asked = False
        self._stages = 0
        self._reached = 0.0
        self._thread = threading.Thread(target=self._tell_and_listen, name="ledger", daemon=True)

    def begin(self) -> Job | None:
        """Return the job, which is this process's from now on; None where the attempt was given up meanwhile."""
        with Ledger(self._folder) as ledger:
            if not ledger.register(self._job, self._attempt, own_identity()):
                return None
            job = ledger.job(self._job)
        self._thread.start()
        return job

    def hear(self, event: Event) -> None:
        """Take an event to be told; of progress that follows too fast the last."""
        if isinstance(event, Finished):
            self._stages += 1
        told = event.to_json()
        told["time"] = told.get("time") or time.time()
        with self._lock:
            if isinstance(event, Progress):
                self._reached = max(
                    self._reached, self._stages + event.done / (event.total or event.done + 1)
                )
                last = self._heard[-1] if self._heard else {}
                if last.get("event") == "progress" and last.get("stage") == event.stage:
                    self._heard.pop()
            self._heard.append(told)
        self._is_new.set()

    def end(self, code: int, answer: Mapping[str, Any]) -> Job | None:
        """Note how it ended, by the command's exit code and answer; return the job where it was this attempt's to end."""
        self._is_over.set()
        self._is_new.set()
        self._thread.join()
        problems = answer.get("error")
        state, error, result = (
            ("done", None, answer) if code == 0 else ("failed", _words(code, problems), None)
        )
        if code == 130:
            state = "interrupted"
        with Ledger(self._folder) as ledger:
            self._flush(ledger)
            if ledger.end(self._job, self._attempt, cast(State, state), error=error, result=result):
                return ledger.job(self._job)
        return None

    def _tell_and_listen(self) -> None:
        with Ledger(self._folder) as ledger:
            while not self._is_over.is_set():
                is_new = self._is_new.wait(TELLS_EVERY_S)
                self._is_new.clear()
                with suppress(MaquetteError):  # a full disk: the work is worth more than what is told of it
                    self._flush(ledger)
                    self._listen(ledger)
                if is_new:
                    self._is_over.wait(TELLS_EVERY_S)

    def _listen(self, ledger: Ledger) -> None:
        job = ledger.find(self._job)
        if not self._is_asked and job is not None and job.asked is not None:
            self._is_asked = True
            # As Ctrl-C would: the stage ends at its next step, keeping what is finished.
            if hasattr(signal, "pthread_kill"):  # wakes it where it waits
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            else:
                signal.raise_signal(signal.SIGTERM)

    def _flush(self, ledger: Ledger) -> None:
        with self._lock:
            heard, self._heard = self._heard, []
        ledger.tell(self._job, heard, self._reached)


def _words(code: int, problems: Any) -> str:
    """Return in one line why a command failed."""
    if not isinstance(problems, list) or not problems:
        return f"it ended with exit code {code}; its log says why"
    return "; ".join(
        " — ".join(str(part) for name in ("where", "given", "required", "remedy") if (part := each.get(name)))
        for each in problems
    )

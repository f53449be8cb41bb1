"""The runner: one process that takes jobs in order, one for each device, and ends when nothing is left to do.

    python -m maquette.jobs.runner FOLDER

It is started on demand (`starting.py`) and may be killed at any time: its workers go on by themselves, and the next runner finds
them by what the ledger says of them.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

from maquette.jobs.ledger import Ledger
from maquette.jobs.notifying import notify
from maquette.jobs.records import Job
from maquette.jobs.settling import MOST_STRIKES, is_outstanding, settle
from maquette.jobs.starting import WORKER, detached
from maquette.locking import HeldByAnother, hold
from maquette.processes import is_alive, own_identity

LOOKS_EVERY_S = 0.2
IDLE_S = 3.0
"""How long a runner waits for another job before it ends."""


class Runner:
    """What the one runner knows beside the ledger."""

    def __init__(self, ledger: Ledger, default_device: str) -> None:
        self._ledger = ledger
        self._default = default_device
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        """Workers that this runner started, by job."""
        self._workers: dict[str, str] = {}
        """Device by worker: of one that has noted its job's end and still holds memory too."""

    def look(self) -> bool:
        """Do what is to be done now; return whether there is anything to wait for."""
        ledger = self._ledger
        self._children = {job: child for job, child in self._children.items() if child.poll() is None}
        for lost in settle(ledger, self._children):
            # Beside, so that no job waits for an address that does not answer.
            threading.Thread(target=notify, args=(lost,), daemon=True).start()
        for job in ledger.jobs(("interrupted",)):
            ledger.retry(job.id, MOST_STRIKES)
        busy = self._busy()
        for job in ledger.jobs(("queued",)):
            device = device_of(job.device, self._default)
            if device not in busy and self._start(job):
                busy.add(device)
        return bool(busy) or is_outstanding(ledger)

    def _busy(self) -> set[str]:
        running = self._ledger.jobs(("running",))
        for job in running:
            if job.worker is not None:
                self._workers[job.worker] = device_of(job.device, self._default)
        self._workers = {who: device for who, device in self._workers.items() if is_alive(who)}
        return {*self._workers.values(), *(device_of(job.device, self._default) for job in running)}

    def _start(self, job: Job) -> bool:
        attempt = self._ledger.take(job.id)
        if attempt is None:
            return False
        log = self._ledger.job_folder(job.id) / "output.log"
        program = [WORKER, str(self._ledger.folder), str(job.id), str(attempt)]
        self._children[job.id] = detached(program, log, self._ledger.folder)
        return True


def device_of(wanted: str, default: str) -> str:
    """Return the device that a job takes for itself: `auto` is the machine's ordinary one, `cuda` its first card."""
    device = default if wanted == "auto" else wanted
    return "cuda:0" if device == "cuda" else device


def default_device() -> str:
    """Return what `auto` means here, without loading torch."""
    from maquette.project.machine_look import look_at_machine

    kinds = {gpu.kind for gpu in look_at_machine().gpus}
    return "mps" if "mps" in kinds else "cuda" if kinds else "cpu"


def run(folder: Path) -> None:
    """Be the runner of the ledger in `folder`, unless there is one; return when nothing was left to do for a while."""
    me = own_identity()
    with Ledger(folder) as ledger:
        while True:
            try:
                taken = hold(folder, "queue")
            except HeldByAnother:
                return
            with closing(taken):
                ledger.enter_runner(me)
                _until_idle(Runner(ledger, default_device()))
                # Whoever adds a job from here on sees no runner and starts one; whoever did before is seen below.
                ledger.leave_runner(me)
            if not is_outstanding(ledger):
                return


def _until_idle(runner: Runner) -> None:
    idle_since = time.monotonic()
    while time.monotonic() - idle_since < IDLE_S:
        if runner.look():
            idle_since = time.monotonic()
        time.sleep(LOOKS_EVERY_S)


if __name__ == "__main__":
    run(Path(sys.argv[1]))

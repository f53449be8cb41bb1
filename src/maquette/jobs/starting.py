"""Processes that outlive whoever starts them: the runner, and the worker of a job.

Each leads a session of its own, so that neither the terminal nor the login takes it along; on Windows a process group of its
own without a console.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from maquette.jobs.ledger import Ledger
from maquette.processes import is_alive, pid_of

RUNNER, WORKER = "maquette.jobs.runner", "maquette.cli.working"
_STARTED: list[subprocess.Popen[bytes]] = []
"""Runners that this process started: Python says a warning of a child that it forgets while it runs."""


def wake_runner(ledger: Ledger) -> None:
    """Start a runner unless one is there. Of two that start at once, one ends at once."""
    _STARTED[:] = [each for each in _STARTED if each.poll() is None]  # what has ended is not left a zombie
    if not is_alive(ledger.runner()):
        log = ledger.folder / "runner.log"
        _STARTED.append(detached([RUNNER, str(ledger.folder)], log, ledger.folder))


def detached(program: list[str], log: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start `python -m PROGRAM…` in `folder`, its words going to the end of `log`."""
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as told:
        return subprocess.Popen(
            # -P: the folder that it is started in holds no modules of ours.
            [sys.executable, "-P", "-m", *program],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=os.name == "posix",
            creationflags=flags,
        )


def end_remains(worker: str) -> None:
    """End what a lost worker left running: helpers in its session that would hold the device's memory."""
    if os.name != "posix" or is_alive(worker):
        return
    import psutil

    leader = pid_of(worker)
    if psutil.pid_exists(
        leader
    ):  # the number is another's by now; where it leads a session, nothing of ours is left
        return
    for process in psutil.process_iter():
        with suppress(OSError, psutil.Error):
            if os.getsid(process.pid) == leader:
                os.kill(process.pid, signal.SIGKILL)

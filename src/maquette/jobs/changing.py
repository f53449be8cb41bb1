"""What a person asks of jobs that takes more than the ledger: a checkpoint now, an end at once, forgetting what is over."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.jobs.following import require_run
from maquette.jobs.ledger import TRAIN, Ledger
from maquette.jobs.records import Job
from maquette.jobs.settling import LOST
from maquette.jobs.starting import end_remains
from maquette.processes import is_alive, pid_of
from maquette.runs.asked import Wish, ask_of_run
from maquette.runs.folder import RECORD_NAME, RunFolder
from maquette.runs.record import read_record
from maquette.spoken import counted

DIES_WITHIN_S = 10.0
LOOKS_EVERY_S = 0.05


def ask_of(what: str, wish: Wish) -> Path:
    """Ask the training that `what` means, a job's number or a run's folder; return the run's folder. Raises ConfigError."""
    if not what.isdecimal():
        run = require_run(Path(what))
    else:
        with Ledger() as ledger:
            job = ledger.job(int(what))
        if job.run is None or job.state != "running":
            given = f"{job.kind}, {job.state}" if job.run else f"{job.kind}, which trains no run"
            required = "a training that is at work"
            raise ConfigError(Problem(f"job {job.id}", given, required, "See: maquette queue list"))
        run = job.run
    ask_of_run(run, wish)
    return run


def cancel_now(ledger: Ledger, job: int) -> Job:
    """Cancel a job without waiting for its next step: its process is killed. What it has written stays."""
    found = ledger.cancel(job)
    worker = found.worker
    if found.state != "running" or worker is None:
        return found  # it did not run; or it is only starting, and hears the question first of all
    if is_alive(worker):
        _kill(worker)
    end_remains(worker)
    # Whoever sees to the queue may have found it gone meanwhile; either way it was asked to end, and so it did.
    ledger.end(job, found.attempt, "interrupted", error=LOST)
    return ledger.job(job)


def what_is_lost(job: Job) -> str:
    """Return in words what killing a job's process loses."""
    if job.state != "running":
        return "It does not run: nothing is lost."
    if job.kind != TRAIN or job.run is None or not (job.run / RECORD_NAME).is_file():
        return "What it is at is lost; what it finished stays."
    try:
        record = read_record(job.run)
    except MaquetteError:
        return "What it is at is lost; its checkpoints stay."
    saved = _newest_state(job.run)
    # The record is written at checkpoints and states alone; the job is told of every step.
    steps = max(0, max(record.step, job.done if job.stage == TRAIN else 0) - saved)
    kept = f"{counted(len(record.checkpoints), 'checkpoint')} and the state of step {saved} stay"
    if not saved:
        kept = (
            f"{counted(len(record.checkpoints), 'checkpoint')} stay; it would begin again at its first step"
        )
    return f"{counted(steps, 'step')} since step {saved} are lost. {kept}."


def forget_over(ledger: Ledger) -> list[int]:
    """Forget the jobs that are over, with what they printed; return their numbers. Runs, pictures and captions stay."""
    gone = ledger.clear()
    for job in gone:
        shutil.rmtree(ledger.job_folder(job), ignore_errors=True)
    return gone


def _newest_state(run: Path) -> int:
    found = (path.stem.rpartition("-")[2] for path in RunFolder(run).state.glob("state-*.safetensors"))
    return max((int(step) for step in found if step.isdecimal()), default=0)


def _kill(worker: str) -> None:
    """Kill a worker with what it started, and wait until it is gone: its device's memory is free then."""
    import psutil

    pid = pid_of(worker)
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        if os.name == "posix" and os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
        else:
            process = psutil.Process(pid)
            for each in (*process.children(recursive=True), process):
                with suppress(psutil.Error):
                    each.kill()
    until = time.monotonic() + DIES_WITHIN_S
    while is_alive(worker) and time.monotonic() < until:
        time.sleep(LOOKS_EVERY_S)

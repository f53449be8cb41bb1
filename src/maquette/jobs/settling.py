"""Jobs whose worker is gone are found and marked, by whoever looks: the runner, or a command that shows the queue."""

from __future__ import annotations

from collections.abc import Collection

from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Job
from maquette.jobs.starting import end_remains, wake_runner
from maquette.processes import is_alive

MOST_STRIKES = 3
"""So many workers of a job may be lost one after another, none of which came further than the ones before."""
LOST = "its process is gone: killed, out of memory, or the machine was switched off"


def settle(ledger: Ledger, starting: Collection[int] = ()) -> list[Job]:
    """Mark every running job whose worker is gone as interrupted; return these.

    starting: jobs whose workers the caller has just started, which have not yet said who they are. Of others such a worker is
    given up: it will find that out when it says so.
    """
    lost = []
    for job in ledger.jobs(("running",)):
        is_lost = job.id not in starting if job.worker is None else not is_alive(job.worker)
        if is_lost and ledger.end(job.id, job.attempt, "interrupted", error=LOST):
            if job.worker is not None:
                end_remains(job.worker)
            lost.append(ledger.job(job.id))
    return lost


def settle_from_outside(ledger: Ledger) -> None:
    """Make the states true that a command is about to show: where a runner is there, it sees to it itself."""
    if not is_alive(ledger.runner()):
        settle(ledger)


def is_outstanding(ledger: Ledger) -> bool:
    """Return whether there is anything for a runner to do."""
    waits = any(job.strikes < MOST_STRIKES for job in ledger.jobs(("interrupted",)))
    return waits or bool(ledger.jobs(("queued", "running")))


def see_to_what_was_lost(ledger: Ledger) -> bool:
    """Make the states true; where a worker or the runner was lost, see to another runner. Return whether a job was marked."""
    runner = ledger.runner()
    if is_alive(runner):
        return False
    lost = settle(ledger)
    if (lost or runner is not None) and is_outstanding(ledger):
        wake_runner(ledger)
    return bool(lost)


def see_to(ledger: Ledger) -> None:
    """Make the states true, and see to a runner where there is something to do."""
    settle_from_outside(ledger)
    if is_outstanding(ledger):
        wake_runner(ledger)

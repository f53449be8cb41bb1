"""`maquette status`."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from maquette import __version__
from maquette.cli.output import result_command
from maquette.cli.queue import line_of
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import STATES
from maquette.jobs.settling import see_to
from maquette.processes import is_alive, pid_of
from maquette.spoken import counted, disk_size, memory_size


@result_command(name="status")
def command() -> dict[str, Any]:
    """Say how things stand: the runner, the jobs that are not over, the machine's memory and disk.

    For other programs and phones: maquette status --json.
    """
    with Ledger() as ledger:
        see_to(ledger)
        jobs, runner = ledger.jobs(), ledger.runner()
        place = ledger.folder
    states = Counter(job.state for job in jobs)
    here = [job for job in jobs if not job.is_over]
    machine = _machine()
    gpus = [f"{gpu['name']}, {memory_size(gpu['total_bytes'])}" for gpu in machine["gpus"]]
    told = ", ".join(
        f"{counted(states[state], state)}".replace(f"{state}s", state) for state in STATES if states[state]
    )
    return {
        "version": __version__,
        "runner": {"pid": pid_of(runner)} if runner and is_alive(runner) else None,
        "counts": {state: states[state] for state in STATES},
        "jobs": [job.to_json() for job in here],
        "last": next(
            (job.to_json() for job in sorted(jobs, key=lambda job: job.ended_at or "")[::-1] if job.is_over),
            None,
        ),
        "machine": machine,
        "ledger": str(place / "ledger.db"),
        "lines": [
            f"Jobs: {told or 'none'}",
            *(line_of(job) for job in here),
            f"Memory: {memory_size(machine['free_memory_bytes'])} free of {memory_size(machine['memory_bytes'])}",
            *(f"Card: {gpu}" for gpu in gpus),
            f"Disk here: {disk_size(machine['free_disk_bytes'])} free",
        ],
    }


def _machine() -> dict[str, Any]:
    from maquette.project.machine_look import look_at_machine

    found = look_at_machine()
    return {
        "memory_bytes": found.ram_bytes,
        "free_memory_bytes": found.free_ram_bytes,
        "free_disk_bytes": shutil.disk_usage(Path.cwd()).free,
        "gpus": [
            {"name": gpu.name, "kind": gpu.kind, "total_bytes": gpu.total_bytes, "free_bytes": gpu.free_bytes}
            for gpu in found.gpus
        ],
    }

"""A worker that says who it is, tells what it is told to, and then waits to be killed or asked: `FOLDER JOB ATTEMPT DONE`."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from maquette.events import Progress, Started
from maquette.jobs.working import Work


def main() -> None:
    folder, job, attempt, done = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work = Work(folder, job, attempt)
    if work.begin() is None:
        sys.exit(3)
    work.hear(Started("train", 10))
    for step in range(1, done + 1):
        work.hear(Progress("train", step, 10))
        time.sleep(0.15)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        work.end(130, {})


if __name__ == "__main__":
    main()

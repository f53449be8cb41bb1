"""The worker of a job: runs its command line in this process, and tells the ledger.

python -m maquette.cli.working FOLDER JOB ATTEMPT
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from maquette.cli import main
from maquette.cli.output import INTERRUPTED, LISTENERS, say
from maquette.errors import MaquetteError, Problem
from maquette.jobs.ledger import Ledger
from maquette.jobs.notifying import notify
from maquette.jobs.records import Job
from maquette.jobs.working import Work
from maquette.reading import parse_json


def work(folder: Path, number: int, attempt: int) -> None:
    """Run the job, unless this attempt was given up meanwhile."""
    own = Work(folder, number, attempt)
    job = own.begin()
    if job is None:
        return
    LISTENERS.append(own.hear)
    ended = own.end(*_done(folder, job))
    if ended is not None:
        for trouble in notify(ended):
            say(trouble)


def _done(folder: Path, job: Job) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the answer of the job's command."""
    from maquette.cli.detaching import finished_before, ready

    try:
        os.chdir(job.cwd)
        if (answer := finished_before(job)) is not None:
            return 0, answer
        with Ledger(folder) as ledger:
            arguments = ready(ledger, job)
    except MaquetteError as error:
        for each in error.problems:
            say(f"error: {each}")
        return error.exit_code, {"error": [vars(each) for each in error.problems]}
    except OSError as error:
        gone = Problem(str(job.cwd), str(error.strerror), "the folder that it was typed in", "Make it again.")
        return 2, {"error": [vars(gone)]}
    except KeyboardInterrupt:
        return INTERRUPTED, {}
    return _run([job.kind, *arguments, "--json"])


def _run(arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """Run a command line as the terminal would; return its exit code and the object on its last line."""
    sys.argv = ["maquette", *arguments]
    told, code = io.StringIO(), 0
    try:
        with redirect_stdout(told):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    lines = told.getvalue().strip().splitlines()
    try:
        answer = parse_json(lines[-1], any_text=True) if lines else {}
    except ValueError:
        answer = {}
    return code, answer if isinstance(answer, dict) else {}


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

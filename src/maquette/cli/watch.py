"""`maquette watch`: a job or a run, live."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from maquette.cli.output import INTERRUPTED, json_line, result_command, say, shown
from maquette.jobs.following import is_trained, require_run, told_by_job, told_by_run
from maquette.jobs.ledger import Ledger
from maquette.jobs.records import Job
from maquette.jobs.view import View

DRAWS_EVERY_S = 0.25
GOOD = ("done", "paused")


@result_command(
    click.argument("what", required=False, metavar="[JOB|RUN]"),
    click.option(
        "--after", type=int, default=-1, metavar="N", help="Only events after number N: go on where you left."
    ),
    name="watch",
    json_lines=True,
)
def command(what: str | None, after: int, as_json: bool) -> dict[str, Any]:
    """Watch a JOB, or the RUN of a folder, live: state, loss, speed, memory, time left, what was said.

    Without one, the job that runs, else the newest. RUN may be trained in any other window. Ctrl-C ends the watching only.
    With --json every event is one line, each with its number, until the end; exit code 0 if it ended well, else 1.
    """
    with ExitStack() as open_:
        ledger = open_.enter_context(Ledger())
        job = _job(ledger, what)
        if job is not None:
            view = View(f"job {job.id}  {job.command}", job.run)
            events = told_by_job(ledger, job.id, after)
        else:
            run = require_run(Path(what or ""))
            view = View(str(run), run)
            view.state = "running" if is_trained(run) else "ended"
            events = told_by_run(run, after)
        try:
            _print(events, view) if as_json else _draw(events, view)
        except KeyboardInterrupt:
            say("No longer watched; the job goes on." if job else "No longer watched; the run goes on.")
            return {"exit_code": INTERRUPTED}
        state = ledger.job(job.id).state if job is not None else view.state
    return {"exit_code": 0 if state in GOOD else 1}


def _job(ledger: Ledger, what: str | None) -> Job | None:
    """Return the job that is meant; None where a run is."""
    from maquette.errors import ConfigError, Problem

    if what is None:
        jobs = ledger.jobs()
        running = [job for job in jobs if job.state == "running"]
        if not jobs:
            remedy = "Start one with --detach, or name a run's folder."
            raise ConfigError(Problem("maquette watch", "there are no jobs", "a job or a run", remedy))
        return running[0] if running else max(jobs, key=lambda job: job.id)
    return ledger.job(int(what)) if what.isdecimal() else None


def _print(events: Iterator[dict[str, Any] | None], view: View) -> None:
    for event in events:
        if event is not None:
            view.see(event)
            click.echo(json_line(event))
            sys.stdout.flush()


def _draw(events: Iterator[dict[str, Any] | None], view: View) -> None:
    """Show a block of lines that is drawn again in its place; on a pipe, lines as they come."""
    screen = _Block() if sys.stderr.isatty() else _Lines()
    for event in events:
        if event is not None:
            view.see(event)
        view.look()
        screen.show(view, event)
    screen.show(view, None, last=True)


class _Block:
    """A few lines on a terminal, drawn over themselves."""

    def __init__(self) -> None:
        self._drawn = 0
        self._at = 0.0

    def show(self, view: View, event: dict[str, Any] | None, *, last: bool = False) -> None:
        if time.monotonic() - self._at < DRAWS_EVERY_S and not last:
            return
        self._at = time.monotonic()
        width = shutil.get_terminal_size().columns - 1
        lines = view.lines(width, blocks=_can_show_blocks())
        up = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        click.echo(up + "\n".join(shown(line) for line in lines), err=True)
        self._drawn = len(lines)


class _Lines:
    """Each new thing in a line of its own; progress every few seconds."""

    EVERY_S = 10.0

    def __init__(self) -> None:
        self._at = 0.0

    def show(self, view: View, event: dict[str, Any] | None, *, last: bool = False) -> None:
        if last:
            for line in view.lines(100, blocks=_can_show_blocks()):
                say(line)
        elif event is None:
            return
        elif event["event"] in ("message", "artifact"):
            say(view.said[-1])
        elif event["event"] == "state" or time.monotonic() - self._at > self.EVERY_S:
            self._at = time.monotonic()
            for line in view.lines(100)[: 1 if event["event"] == "state" else 2]:
                say(line)


def _can_show_blocks() -> bool:
    try:
        "▁█".encode(sys.stderr.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True

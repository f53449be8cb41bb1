"""`maquette queue`: the jobs, in their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from maquette.cli.options import options_of
from maquette.cli.output import result_command
from maquette.jobs.ledger import Ledger
from maquette.jobs.notifying import NotifyOptions
from maquette.jobs.records import Job
from maquette.jobs.settling import see_to
from maquette.spoken import counted

if TYPE_CHECKING:
    from maquette.runs.asked import Wish

NUMBER = click.argument("job", type=int)
TRAINED = click.argument("what", metavar="JOB|RUN")


@click.group(name="queue")
def command() -> None:
    """Show and change the queue: jobs that go on when window, terminal and login are gone.

    One runner takes them in order, one for each device; it starts when there is something to do and ends when there is not.

    \b
      maquette train my-project --detach       (any long command takes --detach)
      maquette queue list
      maquette queue pause 3
      maquette watch 3
    """


@result_command(
    click.argument("kind", metavar="COMMAND"),
    click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENTS]…"),
    name="add",
    passes_on=True,
)
def add(kind: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    """Put a command into the queue, as `maquette COMMAND … --detach` does.

    \b
      maquette queue add train my-project --steps 800
      maquette queue add evaluate my-project/runs/myword
    """
    from maquette.cli.detaching import queued, read_command

    return queued(read_command(kind, arguments))


@result_command(
    click.option(
        "--all", "with_over", is_flag=True, help="Also those that are over, in words (JSON has all)."
    ),
    name="list",
)
def list_(with_over: bool) -> dict[str, Any]:
    """List the jobs, the next one first."""
    with Ledger() as ledger:
        see_to(ledger)
        jobs = ledger.jobs()
    shown = [job for job in jobs if with_over or not job.is_over]
    lines = [line_of(job) for job in shown] or ["Nothing waits and nothing runs."]
    if len(shown) < len(jobs):
        lines.append(f"{counted(len(jobs) - len(shown), 'job')} over: maquette queue list --all")
    return {"jobs": [job.to_json() for job in jobs], "lines": lines}


@result_command(NUMBER, name="show")
def show(job: int) -> dict[str, Any]:
    """Say everything about a job."""
    with Ledger() as ledger:
        see_to(ledger)
        found = ledger.job(job)
    told = found.to_json()
    return {
        **told,
        "lines": [f"{name}: {value}" for name, value in told.items() if value not in (None, {}, "")],
    }


@result_command(NUMBER, name="pause")
def pause(job: int) -> dict[str, Any]:
    """Stop a job at its next step, keep its state and free the device; one that waits stays where it is.

    `maquette queue resume` goes on: a training to the same weights, to the bit.
    """
    return _changed(job, Ledger.pause)


@result_command(NUMBER, name="resume")
def resume(job: int) -> dict[str, Any]:
    """Go on with a paused, interrupted or failed job when its turn comes."""
    return _changed(job, Ledger.resume)


@result_command(
    NUMBER,
    click.option(
        "--now",
        is_flag=True,
        help="Do not wait for its next step: kill its process. What it has written by then stays.",
    ),
    name="cancel",
)
def cancel(job: int, now: bool) -> dict[str, Any]:
    """Stop a job at its next step for good. What it finished, checkpoints for one, stays."""
    if not now:
        return _changed(job, Ledger.cancel)
    from maquette.jobs.changing import cancel_now, what_is_lost

    with Ledger() as ledger:
        lost = what_is_lost(ledger.job(job))
    answer = _changed(job, cancel_now)
    return {**answer, "lost": lost, "lines": [*answer["lines"], lost]}


@result_command(TRAINED, name="save")
def save(what: str) -> dict[str, Any]:
    """Save a checkpoint of a training now: after the step that it is at.

    JOB is a number of the queue, RUN the folder of a run, in whichever window it is trained. The training goes on as it would
    have, to the bit; the checkpoint is one like any other.
    """
    return _wished(what, "save", "A checkpoint is saved after the step that it is at.")


@result_command(TRAINED, name="sample")
def sample(what: str) -> dict[str, Any]:
    """Draw the samples of a training now: after the step that it is at. Its settings must have sample_prompts."""
    return _wished(what, "sample", "Its samples are drawn after the step that it is at.")


@result_command(
    NUMBER,
    click.option("--before", type=int, metavar="JOB", help="Put it before this job."),
    click.option("--last", is_flag=True, help="Put it behind all others."),
    click.option("--up", is_flag=True, help="Put it one place nearer to the front."),
    click.option("--down", is_flag=True, help="Put it one place nearer to the end."),
    name="move",
)
def move(job: int, before: int | None, last: bool, up: bool, down: bool) -> dict[str, Any]:
    """Move a job to the front of the queue, before another one, one place, or to the end."""
    from maquette.errors import ConfigError, Problem

    flags = {"--before": before is not None, "--last": last, "--up": up, "--down": down}
    given = [name for name, is_given in flags.items() if is_given]
    if len(given) > 1:
        together = f"given together with {', '.join(given[1:])}"
        raise ConfigError(Problem(given[0], together, "one place", "Give one of them."))
    with Ledger() as ledger:
        ledger.job(job)
        if before is not None:
            ledger.job(before)
        if up or down:
            ledger.shift(job, -1 if up else 1)
        else:
            ledger.move(job, before=before, to_end=last)
        jobs = ledger.jobs(("queued", "paused", "interrupted", "running"))
    return {"jobs": [each.to_json() for each in jobs], "lines": [line_of(each) for each in jobs]}


@result_command(name="clear")
def clear() -> dict[str, Any]:
    """Forget the jobs that are over. Runs, pictures and captions stay."""
    from maquette.jobs.changing import forget_over

    with Ledger() as ledger:
        gone = forget_over(ledger)
    return {"cleared": gone, "lines": [f"{counted(len(gone), 'job')} forgotten."]}


@result_command(
    *options_of(NotifyOptions),
    click.option("--off", is_flag=True, help="Tell nothing any more."),
    click.option("--test", is_flag=True, help="Tell something now."),
    name="notify",
)
def notify_(off: bool, test: bool, **given: Any) -> dict[str, Any]:
    """Hear of jobs that ended or failed: on the desktop, or at an address of the web (Slack, Discord, your own).

    What is not said stays as it was. The address is kept where only you may read it, and never shown again.

    \b
      maquette queue notify --desktop
      maquette queue notify --webhook https://hooks.example.org/T0/B1 --failures-only
      maquette queue notify --test
    """
    from maquette.jobs.notifying import read_notify, say_something, write_notify

    options = NotifyOptions() if off else NotifyOptions.made_from(read_notify(), given)
    write_notify(options)
    troubles = say_something(options) if test else []
    told = [*(["desktop"] if options.desktop else []), *(["webhook"] if options.webhook else [])]
    which = "jobs that failed" if options.failures_only else "jobs that ended or failed"
    line = f"Told of {which}: {' and '.join(told)}." if told else "Nothing is told."
    answer = {
        "desktop": options.desktop,
        "webhook": bool(options.webhook),
        "failures_only": options.failures_only,
    }
    return {**answer, "troubles": troubles, "exit_code": 1 if troubles else 0, "lines": [line, *troubles]}


for each in (add, list_, show, pause, resume, save, sample, cancel, move, clear, notify_):
    command.add_command(each)


def line_of(job: Job) -> str:
    """Return a job in one line."""
    place = f"{job.stage} {job.done}/{job.total}" if job.total and job.state in ("running", "paused") else ""
    asked = f" ({job.asked} at its next step)" if job.asked else ""
    about = job.run or job.project or ""
    told = f"{job.id:>4}  {job.state + asked:<12} {job.kind:<10} {place:<16} {about}".rstrip()
    return f"{told}  {job.error}" if job.error else told


def _wished(what: str, wish: Wish, told: str) -> dict[str, Any]:
    from maquette.jobs.changing import ask_of

    run = ask_of(what, wish)
    return {"run": str(run), "asked": wish, "lines": [told, f"Next: maquette watch {what}"]}


def _changed(job: int, change: Callable[[Ledger, int], Job]) -> dict[str, Any]:
    with Ledger() as ledger:
        ledger.job(job)
        see_to(ledger)
        found = change(ledger, job)
        see_to(ledger)
    told = found.to_json()
    return {"job": job, **told, "lines": [line_of(found)]}

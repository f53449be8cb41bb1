"""What every command shares: `--json`, one-line errors, exit codes, and the terminal's view of events.

Human text goes to standard error; standard output carries results alone, and with --json its last line is one object.
Exit codes: 0 done, 1 a failed judgement or run, 2 unusable input, 130 interrupted.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from maquette.cli.signals import signals_ask, signals_interrupt
from maquette.errors import MaquetteError, Problem
from maquette.events import Artifact, Event, Message, Progress, Stage, Started, run_stage
from maquette.spoken import printable, without_passwords
from maquette.stopping import Stop, Stopped, stoppable

INTERRUPTED = 130
T = TypeVar("T")
HELP_NAMES = ["-h", "--help"]
TYPED = "maquette.typed"
"""Where a command's context keeps the arguments as they were typed."""


LISTENERS: list[Callable[[Event], None]] = []
"""Who else hears the events that `follow` shows: where the command is a job, whoever tells the ledger."""


def result_command(
    *parameters: Callable[..., Any],
    detachable: bool = False,
    passes_on: bool = False,
    json_lines: bool = False,
    **attributes: Any,
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function that returns a JSON-ready dict into a command with `--json`, errors and exit codes done one way.

    A result may carry the key `exit_code`, which is taken out and used. A `detachable` command has `--detach`, with which it
    becomes a job of the queue. One that `passes_on` takes flags that it does not know among its last argument. With `json_lines`
    the function is told `as_json` and prints its lines itself.
    """

    def make(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            as_json = arguments["as_json"] if json_lines else arguments.pop("as_json")
            if arguments.pop("detach", False):
                from maquette.cli.detaching import detached

                typed = click.get_current_context().meta[TYPED]
                sys.exit(_guarded(detached, {"typed": typed}, as_json))
            sys.exit(_guarded(function, arguments, as_json, answers=not json_lines))

        decorated: Any = run
        own = (*parameters, *((_detach_option(),) if detachable else ()))
        for parameter in reversed(own):
            decorated = parameter(decorated)
        option = click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print one JSON object a line as things happen."
            if json_lines
            else "Print one JSON object as the last line of standard output.",
        )
        # Click keeps the names of --help from the first time it is asked for, with a parent command or without.
        settings: dict[str, Any] = {"help_option_names": HELP_NAMES}
        if passes_on:
            settings |= {"ignore_unknown_options": True, "allow_interspersed_args": False}
        attributes.setdefault("cls", GroupedCommand)
        return click.command(context_settings=settings, **attributes)(option(decorated))

    return make


def _detach_option() -> Callable[..., Any]:
    told = "Put it into the queue and return at once: it goes on when this window is gone (maquette watch)."
    return click.option("--detach", is_flag=True, help=told)


class GroupedCommand(click.Command):
    """A command whose --help shows options under the headings that they name (`group`), where there are several."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.meta[TYPED] = tuple(args)
        if not context.allow_interspersed_args and "--json" in args:  # what is passed on may stand before it
            args = ["--json", *(each for each in args if each != "--json")]
        return super().parse_args(context, args)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        options = [each for each in self.get_params(context) if isinstance(each, click.Option)]
        titles = {getattr(each, "group", "") for each in options} - {""}
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for option in options:
            if (row := option.get_help_record(context)) is not None:
                title = getattr(option, "group", "") if len(titles) > 1 else ""
                groups.setdefault(title, []).append(row)
        for title, rows in groups.items():
            with formatter.section(title or "Options"):
                formatter.write_dl(rows)


def _guarded(
    function: Callable[..., Any], arguments: dict[str, Any], as_json: bool, *, answers: bool = True
) -> int:
    try:
        with _spoken_warnings(), signals_interrupt():
            result = dict(function(**arguments) or {})
    except MaquetteError as error:
        for problem in error.problems:
            say(f"error: {problem}")
        if as_json:
            _print_json({"error": [vars(problem) for problem in error.problems]})
        return error.exit_code
    except (Stopped, KeyboardInterrupt) as ending:
        line = _told_of_ending(ending)
        say(line)
        if as_json:
            _print_json({"error": [vars(Problem("interrupted", line, "", ""))]})
        return INTERRUPTED
    except (click.ClickException, click.exceptions.Exit):  # of a command that was passed on
        raise
    except Exception as error:
        log = _write_crash_log()
        say(f"error: {type(error).__name__}: {error} (the full trace is in {log})")
        if as_json:
            _print_json(
                {
                    "error": [
                        {
                            "where": type(error).__name__,
                            "given": str(error),
                            "required": "",
                            "remedy": str(log),
                        }
                    ]
                }
            )
        return 1
    code = int(result.pop("exit_code", 0))
    lines = result.pop("lines", ())
    if as_json and answers:
        _print_json(result)
    elif not as_json:
        for line in lines:
            click.echo(shown(line))
    return code


@contextmanager
def _spoken_warnings() -> Iterator[None]:
    """Say warnings that our own code raises in one line each; libraries' notes to programmers stay out of sight."""

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if category.__module__.startswith("maquette."):
            say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def say(text: str) -> None:
    """Say something to the person at the terminal (standard error)."""
    click.echo(shown(text), err=True)


def painted(text: str, **style: Any) -> str:
    """Return `text` in a colour or weight (as click names them) for `say` and for lines of a result."""
    begin, _, end = click.style("\0", **style).partition("\0")
    return begin.replace("\x1b", _MARK) + printable(text) + end.replace("\x1b", _MARK)


_MARK = f"\0{secrets.token_hex(8)}"
"""Stands for an escape of our own until the line is printed: no text of a stranger can hold it."""


def shown(text: str) -> str:
    """Return a line as the terminal gets it: everything a stranger wrote escaped, our own colours alone in force.

    One line stays one: a picture's name with a line end in it could else write an error of its own.
    """
    return "\x1b".join(printable(part).replace("\n", "\\n") for part in text.split(_MARK))


def follow(stage: Stage[T], stop: Stop | None = None, view: TerminalView | None = None) -> T:
    """Show the events of `stage` on the terminal as they come, in a `view` of its own or line by line; return its result.

    Ctrl-C and SIGTERM ask `stop`, where the stage heeds it itself; else they stop it at the next event.
    """
    view = view or TerminalView()

    def hear(event: Event) -> None:
        for tell in (view.show, *LISTENERS):
            tell(event)

    if stop is None:
        stop = Stop()
        stage = stoppable(stage, stop)
    try:
        with signals_ask(stop):
            return run_stage(stage, hear)
    finally:
        view.end_line()


def _print_json(value: Any) -> None:
    click.echo(json_line(value))


def json_line(value: Any) -> str:
    """Return `value` as one line of JSON that any terminal may show: what it would obey or cannot print is escaped."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, default=str)
    return text if printable(text) == text else json.dumps(value, default=str)


def _told_of_ending(ending: Stopped | KeyboardInterrupt) -> str:
    """Return where the command ended and how it goes on; a stage that knows better has said so."""
    again = without_passwords(shlex.join(["maquette", *sys.argv[1:]]))
    if isinstance(ending, KeyboardInterrupt):
        notes = getattr(ending, "__notes__", ())
        return notes[-1] if notes else f"interrupted; nothing finished was lost; go on with: {again}"
    if ending.go_on:
        return str(ending)
    return f"{ending}; nothing finished was lost; go on with: {again}"


def _write_crash_log() -> Path:
    """Write the traceback where the person can find it; a run's own failures are in its run.log already.

    The file is new, has a name that nobody can foresee and is this user's alone: the folder may be everybody's.
    """
    import tempfile

    begin = f"maquette-crash-{time.strftime('%Y%m%d-%H%M%S')}-"
    handle, name = tempfile.mkstemp(prefix=begin, suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(printable(traceback.format_exc()))
    return Path(name)


class TerminalView:
    """One live line on a terminal; on a pipe, a line every few seconds."""

    PIPE_INTERVAL_S = 10.0
    TERMINAL_INTERVAL_S = 0.1

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._line_open = False
        self._last_shown = 0.0
        self._began: dict[str, tuple[float, int]] = {}

    def show(self, event: Event) -> None:
        if isinstance(event, Started):
            self._began[event.stage] = (time.perf_counter(), 0)
            self._say(event.stage if event.total is None else f"{event.stage}: {event.total} {event.unit}s")
        elif isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Message):
            self._say(("warning: " if event.level == "warning" else "") + event.text)
        elif isinstance(event, Artifact):
            self._say(f"{event.kind}: {event.path}")

    def end_line(self) -> None:
        if self._line_open:
            click.echo("", err=True)
            self._line_open = False

    def _say(self, text: str) -> None:
        self.end_line()
        say(text)

    def _progress(self, event: Progress) -> None:
        moment = time.perf_counter()
        began, first = self._began.setdefault(event.stage, (moment, event.done))
        if first == 0 and event.done > 0:
            # The first unit carries warm-up (and a resumed run starts late): time is measured from it on.
            self._began[event.stage] = began, first = moment, event.done
        last = event.total is not None and event.done >= event.total
        interval = self.TERMINAL_INTERVAL_S if self._live else self.PIPE_INTERVAL_S
        if moment - self._last_shown < interval and not last:
            return
        self._last_shown = moment
        self._write(_progress_line(event, moment - began, event.done - first))

    def _write(self, line: str) -> None:
        if not self._live:
            say(line)
            return
        click.echo(f"\r\x1b[K{shown(line)}", nl=False, err=True)
        self._line_open = True


def _progress_line(event: Progress, elapsed_s: float, counted: int) -> str:
    parts = [f"{event.stage} {event.done}" + (f"/{event.total}" if event.total is not None else "")]
    parts += [
        f"{name} {value if isinstance(value, str) else f'{value:.4g}'}"
        for name, value in event.values.items()
    ]
    if counted > 0 and event.total is not None and elapsed_s > 0:
        parts.append(f"{_duration((event.total - event.done) * elapsed_s / counted)} left")
    return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

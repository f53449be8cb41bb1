"""Ctrl-C and SIGTERM: the first asks the stage to stop where nothing is lost, the second ends it at once."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from maquette.spoken import printable, without_passwords
from maquette.stopping import Stop

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


@contextmanager
def signals_ask(stop: Stop) -> Iterator[None]:
    """Within, the first signal asks `stop`, another raises KeyboardInterrupt."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask(NAMES[signal.Signals(number)])

    with _handled(dict.fromkeys(NAMES, ask)):
        yield


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Within, either signal raises KeyboardInterrupt, so that what is under way cleans up."""
    with _handled(dict.fromkeys(NAMES, signal.default_int_handler)):
        yield


def signals_end_the_start() -> None:
    """From now on either signal ends the process with one line: while libraries load, nothing was begun that could be lost."""

    def end(number: int, frame: FrameType | None) -> None:
        again = without_passwords(shlex.join(["maquette", *sys.argv[1:]]))
        told = f"interrupted before anything began; go on with: {again}"
        os.write(2, f"{printable(told)}\n".encode("ascii", "backslashreplace"))
        if "--json" in sys.argv[1:]:
            problem = {"where": "interrupted", "given": told, "required": "", "remedy": ""}
            os.write(1, f"{json.dumps({'error': [problem]})}\n".encode("ascii"))
        os._exit(128 + signal.SIGINT)

    for known in NAMES:
        signal.signal(known, end)


@contextmanager
def ctrl_c_at_once() -> Iterator[None]:
    """Within, Ctrl-C raises KeyboardInterrupt: a person who is being asked waits for no stage."""
    with _handled({signal.SIGINT: signal.default_int_handler}):
        yield


@contextmanager
def _handled(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    # Python allows signal handlers in the main thread alone; elsewhere whoever runs the command stops it.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

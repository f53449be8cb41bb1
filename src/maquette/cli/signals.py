"""Ctrl-C and SIGTERM: the first asks the stage to stop where nothing is lost, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

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

"""Asking a stage to end early: a signal, a web page or a queue asks, the stage leaves at the next event.

`Stop` is the question, `stoppable` puts it to any stage, `Stopped` is the stage's answer. What a stage has finished by then
it keeps, as it does however it ends.
"""

from __future__ import annotations

from maquette.events import Event, Progress, Stage, Started, T, mapped


class Stopped(Exception):
    """A stage ended early because it was asked to."""

    def __init__(self, where: str, go_on: str = "") -> None:
        """`where` is how far it came, in words; `go_on` the command that goes on, empty where it is the same again."""
        super().__init__(where, go_on)
        self.where = where
        self.go_on = go_on

    def __str__(self) -> str:
        return f"interrupted at {self.where}" + (f"; go on with: {self.go_on}" if self.go_on else "")


class Stop:
    """Can be asked once and for all, from any thread and from a signal's handler."""

    def __init__(self) -> None:
        # One assignment, no lock: a handler may interrupt the very thread that would hold the lock.
        self._reason: str | None = None

    def ask(self, reason: str = "") -> None:
        """Ask whoever heeds this to end; the first reason stays."""
        if self._reason is None:
            self._reason = reason

    @property
    def asked(self) -> bool:
        return self._reason is not None

    @property
    def reason(self) -> str:
        """Who asked or why, in words; empty where nobody did or nothing was said."""
        return self._reason or ""


def stoppable(stage: Stage[T], stop: Stop | None) -> Stage[T]:
    """Yield the events of `stage` and return its result; once `stop` is asked, close it and raise Stopped.

    It is left where something begins or has gone on, not where a part has just been completed: what is then left to do is
    writing down what was made.
    """
    if stop is None:
        return stage
    last: list[Event] = []

    def note(event: Event) -> Event:
        last[:] = [event]
        return event

    def heed() -> None:
        if stop.asked and (not last or _may_end(last[0])):
            raise Stopped(_place(last[0]) if last else "the beginning")

    return mapped(stage, note, before=heed)


def _may_end(event: Event) -> bool:
    if isinstance(event, Progress):
        return event.total is None or event.done < event.total
    return isinstance(event, Started)


def _place(event: Event) -> str:
    if isinstance(event, Progress):
        total = f" of {event.total}" if event.total is not None else ""
        return f"{event.unit} {event.done}{total} ({event.stage})"
    return event.stage if isinstance(event, Started) else ""

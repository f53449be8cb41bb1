"""What a stage says while it works. Terminal, web page and tests read the same events; no stage prints.

A stage is a generator: it yields events and returns its result. So stages compose by `result = yield from stage`, and
`run_stage` takes the outermost to its end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar


@dataclass(frozen=True, kw_only=True)
class _Stamped:
    """What an event carries once it is told: its place in the stream and when it was. Stamps do not count in comparisons."""

    sequence: int | None = field(default=None, compare=False)
    """0, 1, 2… within a stream; of a run's stream growing over resumes."""
    time: float | None = field(default=None, compare=False)
    """Unix seconds of the wall clock."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values: `sequence`, `time`, the tag `event`, then the event's own fields; paths are text.

        A number that JSON does not know (NaN, infinite) becomes text.
        """
        stamp = {name: value for name in _STAMP if (value := getattr(self, name)) is not None}
        own = {
            each.name: _plain(getattr(self, each.name)) for each in fields(self) if each.name not in _STAMP
        }
        return {**stamp, "event": type(self).__name__.lower(), **own}


_STAMP = ("sequence", "time")


@dataclass(frozen=True)
class Started(_Stamped):
    """A stage begins; `total` counts `unit`s, None when unknown."""

    stage: str
    total: int | None = None
    unit: str = "step"


@dataclass(frozen=True)
class Progress(_Stamped):
    """`done` of `total` units are finished; `values` are shown beside (loss, speed)."""

    stage: str
    done: int
    total: int | None = None
    unit: str = "step"
    values: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Message(_Stamped):
    """A sentence for the person who waits."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Artifact(_Stamped):
    """A file that now exists: a checkpoint, a sample, a report."""

    kind: str
    path: Path


@dataclass(frozen=True)
class Finished(_Stamped):
    """A stage that said `Started` has come to its end. What it made is the generator's return value."""

    stage: str


Event: TypeAlias = Started | Progress | Message | Artifact | Finished
T = TypeVar("T")
Stage: TypeAlias = Generator[Event, None, T]
"""Yields events, returns a T."""

_KINDS: dict[str, type[Event]] = {
    kind.__name__.lower(): kind for kind in (Started, Progress, Message, Artifact, Finished)
}


def event_from_json(data: Mapping[str, Any]) -> Event:
    """Return the event that `to_json` wrote. Raises ValueError for what is none."""
    if not isinstance(data, Mapping):
        raise ValueError("no table")
    given = dict(data)
    kind = _KINDS.get(str(given.pop("event", None)))
    if kind is None:
        raise ValueError(f"no event is called {data.get('event')!r}")
    if "path" in given:
        given["path"] = Path(str(given["path"]))
    try:
        event = kind(**given)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if event.sequence is not None and type(event.sequence) is not int:
        raise ValueError(f"its sequence is {event.sequence!r:.80}")
    return event


class Stamps:
    """Numbers the events of one stream and says when each was told."""

    def __init__(self, first: int = 0) -> None:
        self.next = first

    def stamp(self, event: Event) -> Event:
        """Return `event` with sequence and time. A stamp that an inner stream gave stays where it continues this one."""
        known = event.sequence is not None and event.sequence >= self.next
        sequence = event.sequence if known and event.sequence is not None else self.next
        self.next = sequence + 1
        return replace(event, sequence=sequence, time=time.time() if event.time is None else event.time)


def run_stage(stage: Stage[T], on_event: Callable[[Event], None] | None = None) -> T:
    """Take `stage` to its end and return its result; `on_event` hears every event, stamped.

    Where `on_event` raises, the stage is closed before the error goes on, so that it can save what it has; a
    KeyboardInterrupt is raised inside the stage, which may add a note of where it was.
    """
    stamps = Stamps()

    def told(event: Event) -> Event:
        stamped = stamps.stamp(event)
        if on_event is not None:
            on_event(stamped)
        return stamped

    whole = mapped(stage, told)
    while True:
        try:
            next(whole)
        except StopIteration as end:
            result: T = end.value
            return result


def mapped(
    stage: Stage[T], change: Callable[[Event], Event | None], *, before: Callable[[], None] = lambda: None
) -> Stage[T]:
    """Yield what `change` makes of each event of `stage`, nothing where it is None; return the stage's result.

    `before` is called whenever the stage is about to go on; where it raises, the stage is closed.
    """
    with closing(stage):
        while True:
            before()
            try:
                event = next(stage)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                changed = change(event)
                if changed is not None:
                    yield changed
            except KeyboardInterrupt as interrupt:
                with suppress(StopIteration):
                    stage.throw(interrupt)
                raise


def as_part(stage: Stage[T], whole: str, before: int, total: int) -> Stage[T]:
    """Tell `stage` as a part of the stage `whole`: its progress goes on from `before` of `total`; messages pass."""

    def told(event: Event) -> Event | None:
        if isinstance(event, Progress):
            return replace(event, stage=whole, done=before + event.done, total=total)
        return event if isinstance(event, Message) else None

    return mapped(stage, told)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

"""What an evaluation costs: said when it begins, and kept when it is over, so that the next one's price is known (costs.py).

FOLDER/timings.jsonl    one line each time that pictures were drawn or measured
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from maquette.events import Event, Message, Progress, Stage, T
from maquette.files import append_line
from maquette.reading import Unreadable, read_lines
from maquette.spoken import duration

if TYPE_CHECKING:
    from maquette.drawing.request import DrawRequest

TIMINGS = "timings.jsonl"

_STEPS_TIMED = 3
"""The first step is slower than the others."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long `drawn` pictures took on a device; or, where `drawn` is 0, everything else about `looked_at` pictures."""

    base: str
    device: str
    drawn: int = 0
    work: float = 0.0
    """Of the drawn pictures together, see `work_of`."""
    looked_at: int = 0
    seconds: float = 0.0

    def add(self, folder: Path) -> None:
        """Append it to the timings in `folder`, where there is anything to tell."""
        if self.drawn or self.looked_at:
            append_line(folder / TIMINGS, asdict(self))


def read_timings(folder: Path) -> Iterator[Timing]:
    """Yield what was told in `folder`; lines that say something else are passed over."""
    names = {each.name for each in fields(Timing)}
    path = folder / TIMINGS
    if not path.is_file():
        return
    with suppress(Unreadable):
        for line in read_lines(path):
            numbers = [line.get(name) for name in ("drawn", "work", "looked_at", "seconds")]
            if line.keys() == names and all(isinstance(each, int | float) for each in numbers):
                yield Timing(**line)


def work_of(request: DrawRequest) -> float:
    """Return what drawing a picture takes, in pixels times steps: twice as much with guidance as without."""
    passes = 1 if request.guidance == 1 else 2
    return float(request.width_px * request.height_px * request.steps * passes)


@dataclass
class Price:
    """How many pictures are wanted and how many are missing, and a clock over the first that are drawn."""

    total: int
    missing: int
    columns: int
    steps: int
    _marks: list[float] = field(default_factory=list)
    _told: bool = False

    @property
    def told(self) -> str:
        """What is going to be drawn, in words."""
        loras = self.columns - 1
        whose = f"{loras} LoRA{'s' if loras != 1 else ''} and the base alone" if loras else "the base alone"
        kept = self.total - self.missing
        there = f", {kept} of them there already" if kept and self.missing else ""
        if not self.missing:
            return f"{self.total} pictures by {whose}: all there already"
        return f"{self.total} pictures by {whose}{there}; {self.steps} steps each"

    def watched(self, stage: Stage[T], pictures: int, batch: int) -> Stage[T]:
        """Tell `stage`, and after its first steps how long all that is missing will take."""
        from maquette.events import mapped

        pending: list[Message] = []

        def seen(event: Event) -> Event:
            if not self._told and isinstance(event, Progress) and "step" in event.values:
                self._marks.append(time.perf_counter())
                if len(self._marks) == _STEPS_TIMED:
                    pending.append(self._time(min(pictures, batch)))
                    self._told = True
            return event

        whole = mapped(stage, seen)
        while True:
            try:
                event = next(whole)
            except StopIteration as end:
                result: T = end.value
                return result
            yield event
            while pending:
                yield pending.pop()

    def _time(self, at_once: int) -> Message:
        step_s = (self._marks[-1] - self._marks[0]) / (len(self._marks) - 1)
        return Message(f"About {duration(step_s * self.steps * self.missing / max(1, at_once))} for them")

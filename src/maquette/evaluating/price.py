"""What an evaluation costs, said before it begins: pictures, and as soon as the first steps are taken, time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from maquette.events import Event, Message, Progress, Stage, T
from maquette.spoken import duration

_STEPS_TIMED = 3
"""The first step is slower than the others."""


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

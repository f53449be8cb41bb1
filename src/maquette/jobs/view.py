"""A job as one sees it at a glance: state, how far, how fast, the loss as a small curve, the last that was said.

It is fed with events and knows no terminal: it makes lines of text.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from maquette.jobs.following import Tail, words_of
from maquette.reading import parse_json
from maquette.spoken import duration, memory_size

MOST_POINTS = 4096
RECENT = 30
"""Signs of progress that the speed is worked out from."""
SAID = 5
BLOCKS = " ▁▂▃▄▅▆▇█"
PLAIN = " .:-=+*#%"
"""For a terminal that cannot show blocks."""


class View:
    """What was seen of a job or run so far."""

    def __init__(self, title: str, run: Path | None = None) -> None:
        self.title = title
        self.state = "queued"
        self.error: str | None = None
        self.progress: Mapping[str, Any] = {}
        self.losses: list[float] = []
        self.said: deque[str] = deque(maxlen=SAID)
        self.memory_bytes: float | None = None
        self._recent: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self._stride, self._skipped = 1, 0
        self._metrics: Tail | None = None
        self.follow_run(run)

    def follow_run(self, run: Path | None) -> None:
        """Take losses and memory from the run's own log from now on, which has every step."""
        if run is not None and self._metrics is None:
            self._metrics = Tail(run / "metrics.jsonl")

    def see(self, event: Mapping[str, Any]) -> None:
        """Take an event in."""
        kind = event.get("event")
        if kind == "state":
            self.state, self.error = str(event.get("state")), event.get("error")
        elif kind == "progress":
            self._see_progress(event)
        elif kind in ("message", "artifact"):
            self.said.append(words_of(dict(event)))

    def look(self) -> None:
        """Read what the run's log has got since."""
        for line in self._metrics.more() if self._metrics else ():
            try:
                row = parse_json(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("kind", "step") == "step":
                self._see_loss(row.get("loss"))
                memory = row.get("peak_memory_bytes")
                self.memory_bytes = memory if isinstance(memory, int | float) else self.memory_bytes

    def lines(self, width: int, *, blocks: bool = True) -> list[str]:
        """Return what is shown, in lines of at most `width` letters."""
        told = [f"{self.title}: {self.state}" + (f" ({self.error})" if self.error else "")]
        if self.progress:
            told.append(self._progress_line())
        if len(self.losses) > 1:
            window = max(1, len(self.losses) // 20)
            told += curve(smoothed(self.losses, window), min(width - 12, 72), blocks=blocks)
            told[-1] += f"  loss, mean of {window * self._stride}" if window * self._stride > 1 else "  loss"
        told += [f"  {line}" for line in self.said]
        return [line.replace("\n", " ")[:width] for line in told]

    def _progress_line(self) -> str:
        event = self.progress
        done, total = int(event["done"]), event.get("total")
        parts = [f"{event['stage']} {done:,}" + (f" of {total:,} ({done / total:.0%})" if total else "")]
        parts += [
            f"{name} {value:.4g}" if isinstance(value, int | float) else str(value)
            for name, value in (event.get("values") or {}).items()
        ]
        if self.memory_bytes:
            parts.append(f"memory {memory_size(self.memory_bytes)}")
        seconds = self._seconds_left(done, total)
        if seconds is not None and self.state == "running":
            parts.append(f"{duration(seconds)} left")
        return "  ".join(parts)

    def _seconds_left(self, done: int, total: int | None) -> float | None:
        if not total or len(self._recent) < 2:
            return None
        (began, first), (ended, last) = self._recent[0], self._recent[-1]
        if last <= first or ended <= began:
            return None
        return (total - done) * (ended - began) / (last - first)

    def _see_progress(self, event: Mapping[str, Any]) -> None:
        if event.get("stage") != self.progress.get("stage") or event["done"] < self.progress.get("done", 0):
            self._recent.clear()
        self.progress = event
        self._recent.append((float(event.get("time") or 0.0), int(event["done"])))
        if self._metrics is None:
            self._see_loss((event.get("values") or {}).get("loss"))

    def _see_loss(self, loss: Any) -> None:
        """Keep every loss of a short run, and an even choice of a long one's."""
        if not isinstance(loss, int | float) or not math.isfinite(loss):
            return
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self.losses.append(float(loss))
        if len(self.losses) > MOST_POINTS:
            self.losses, self._stride = self.losses[::2], self._stride * 2


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each value and those before it, `window` in all: a single step's loss says little."""
    return [fmean(values[max(0, place - window) : place]) for place in range(1, len(values) + 1)]


def curve(values: Sequence[float], width: int, height: int = 4, *, blocks: bool = True) -> list[str]:
    """Return a plot of `values` in `height` lines of text, each column the mean of its share; the bounds stand beside it."""
    width = max(1, min(width, len(values)))
    edges = [round(place * len(values) / width) for place in range(width + 1)]
    means = [fmean(values[begin:end]) for begin, end in pairwise(edges)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    letters = BLOCKS if blocks else PLAIN
    full = len(letters) - 1
    levels = [1 + round((mean - low) / span * (height * full - 1)) for mean in means]
    rows = [
        "".join(letters[max(0, min(full, level - row * full))] for level in levels)
        for row in reversed(range(height))
    ]
    rows[0] += f"  {high:.4g}"
    rows[-1] += f"  {low:.4g}"
    return rows

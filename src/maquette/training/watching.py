"""Notices what makes a run far slower than it was, and says it once: slow steps, memory that is moved to slower memory.

Where a device is full its driver or system may move what does not fit without a word: Windows' drivers into the main memory, any
system from there to the disk. Nothing fails then; each step takes ten or a hundred times as long.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from maquette.events import Message
from maquette.spoken import memory_size

if TYPE_CHECKING:
    from maquette.training.job import Job

FEW = 10
"""Steps that must be slow together: one alone may be anything."""
BEFORE = 20
"""Steps that tell what is usual."""
SLOWER = 3.0
LOOKS_EVERY = 10
FULL_SHARE = 0.97
SWAPPED_BYTES = 1 << 30
"""Growth of the machine's swap from which the disk stands in for memory."""


@dataclass(frozen=True)
class Memory:
    """What is in use of the machine's swap, and of the card: (used, all), None without one that spills in silence."""

    swap_bytes: int
    card: tuple[int, int] | None = None


@dataclass
class Watch:
    """Looks at each step of a run. `look` reads the memory, `remedy` says what costs least, given the room in bytes."""

    look: Callable[[], Memory]
    remedy: Callable[[int], str]
    _seconds: list[float] = field(default_factory=list)
    _swap_before: int | None = None
    _said: set[str] = field(default_factory=set)

    def after_step(self, step: int, seconds: float) -> Iterator[Message]:
        """Yield what is to be said after `step` steps, the last of which took `seconds`; each thing once a run."""
        self._seconds.append(seconds)
        if len(self._seconds) % LOOKS_EVERY == 1:
            yield from self._about_memory()
        yield from self._about_pace(step)

    def _about_memory(self) -> Iterator[Message]:
        memory = self.look()
        if self._swap_before is None:
            self._swap_before = memory.swap_bytes
        grown = memory.swap_bytes - self._swap_before
        if grown >= SWAPPED_BYTES:
            yield from self._once(
                "swap",
                f"Since training began this machine moved {memory_size(grown)} of its memory to the disk: steps are slow as "
                f"long as it does. {self.remedy(0)}",
            )
        if memory.card is not None and memory.card[0] >= FULL_SHARE * memory.card[1]:
            used, total = memory.card
            yield from self._once(
                "card",
                f"The card's memory is full ({memory_size(used)} of {memory_size(total)}). Here its driver moves what does not "
                "fit into the main memory without failing, and steps take many times as long. "
                f"{self.remedy(total)}",
            )

    def _about_pace(self, step: int) -> Iterator[Message]:
        if len(self._seconds) < BEFORE + FEW + 1:
            return
        usual = median(self._seconds[1:-FEW])  # the first step carries warm-up
        now = median(self._seconds[-FEW:])
        if now > SLOWER * usual and min(self._seconds[-FEW:]) > 1.5 * usual:
            yield from self._once(
                "pace",
                f"Steps {step - FEW + 1} to {step} took {now:.3g} s each, {now / usual:.1f} times the {usual:.3g} s of those "
                "before: another program uses the device, it grew hot, or its memory is full. Look at its load and memory; the "
                "run itself is the same.",
            )

    def _once(self, what: str, text: str) -> Iterator[Message]:
        if what not in self._said:
            self._said.add(what)
            yield Message(text, "warning")


def watch_of(job: Job) -> Watch:
    """Return the watch over a run of `job`."""
    from maquette.training.out_of_memory import remedies

    def remedy(room_bytes: int) -> str:
        from maquette.devices import free_memory_bytes

        return remedies(job, room_bytes or free_memory_bytes(job.device))

    return Watch(look=lambda: _memory_now(job.device), remedy=remedy)


def spills_in_silence() -> bool:
    """Return whether the system's driver moves a full card's memory away instead of failing: Windows', under WSL too."""
    return sys.platform == "win32" or "microsoft" in platform.release().lower()


def _memory_now(device: str) -> Memory:
    import psutil
    import torch

    card = None
    if device.startswith("cuda") and spills_in_silence():
        free, total = torch.cuda.mem_get_info(torch.device(device))
        card = (total - free, total)
    try:
        return Memory(psutil.swap_memory().used, card)
    except (OSError, RuntimeError):  # not every container shows it
        return Memory(0, card)

"""Progress bars and printed losses: `steps: 12%|█▏| 110/920 [03:10<23:21, 1.73s/it, avr_loss=0.0786]`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# Numbers have as many digits as a run can need: what is longer is no step and no time.
_PERCENT = re.compile(r"(?P<name>[^|%\r\n]{0,80}?):? {0,8}(?P<percent>\d{1,3})%\|$")
_COUNTS = re.compile(
    r"[^|]{0,400}\| {0,8}(?P<step>\d{1,9})/(?P<total>\d{1,9}) {0,4}"
    r"\[(?P<elapsed>[\d:]{1,12})<[^,\]]{0,20}(?P<rest>[^\]]{0,400})\]?"
)
_NUMBER = r"-?(?:\d{1,12}(?:\.\d{0,20})?(?:e[-+]?\d{1,3})?|nan|inf)"
_LOSS = re.compile(
    rf"(?P<name>(?:\b[\w/]{{1,20}} )?[\w/]{{0,20}}?loss)\s?[=:]\s?(?P<value>{_NUMBER})\b", re.I
)
_PRINTED = re.compile(
    rf"\bsteps?[ =:]{{0,4}}(?P<step>\d{{1,9}})\b[^|]{{0,120}}?\b(?P<name>(?:avr_|average |train_)?loss)\s?[=:]\s?"
    rf"(?P<value>{_NUMBER})",
    re.IGNORECASE,
)
MARK = "%|"


@dataclass(frozen=True)
class Loss:
    """A loss as a trainer prints it."""

    name: str
    value: float

    @property
    def averaged(self) -> bool:
        """sd-scripts' mean over the last epoch's batches."""
        return self.name.lower().endswith(("avr_loss", "average loss"))


@dataclass(frozen=True)
class Bar:
    """One state of a progress bar of training steps."""

    step: int
    total: int
    elapsed_s: float
    loss: Loss | None
    start: int
    """Where it stands in its line: from here …"""
    end: int
    is_training: bool
    """Its name or its loss says that it counts steps of training."""


def bar_in(text: str) -> Bar | None:
    """Return the progress bar in `text`, or None."""
    mark = text.find(MARK)
    if mark < 0:
        return None
    start = max(0, mark - 90)
    before = _PERCENT.search(text[start : mark + len(MARK)])
    counts = _COUNTS.match(text, mark + len(MARK))
    if before is None or counts is None:
        return None
    found = list(_LOSS.finditer(counts["rest"]))
    chosen = next(
        (each for each in found if "smooth" not in each["name"].lower()), found[0] if found else None
    )
    name = before["name"].strip().lower()
    return Bar(
        step=int(counts["step"]),
        total=int(counts["total"]),
        elapsed_s=seconds(counts["elapsed"]),
        loss=Loss(chosen["name"].strip(), float(chosen["value"])) if chosen else None,
        start=start + before.start(),
        end=counts.end(),
        is_training=name != "epoch" and (bool(found) or name.endswith(("steps", "step"))),
    )


def printed_loss(text: str) -> tuple[int, Loss] | None:
    """Return the step and the loss that a line prints without a bar."""
    if "oss" not in text:
        return None
    found = _PRINTED.search(text)
    return (int(found["step"]), Loss(found["name"], float(found["value"]))) if found else None


def seconds(text: str) -> float:
    """Return seconds of `MM:SS` or `H:MM:SS`; NaN for anything else."""
    parts = text.split(":")
    if not all(part.isdecimal() for part in parts):
        return math.nan
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return float(total)

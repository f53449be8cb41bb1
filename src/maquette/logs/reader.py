"""A log of any trainer, taken in line by line."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path

from maquette.logs.facts import LogCheckpoint, LogFacts, LogFolder, LogMatch, LogTraceback, LogTrainer
from maquette.logs.failures import all_failures

MOST_MATCHES = 200
"""Matches of one failure that are kept; all are counted."""

_BAR = re.compile(
    r"(?P<name>[^|%\r\n]*?):?\s*(?P<percent>\d+)%\|[^|]*\|\s*(?P<step>\d+)/(?P<total>\d+)\s*"
    r"\[(?P<elapsed>[\d:]+)<[^,\]]*(?:,\s*[\d.?]+\s*(?:s/it|it/s))?(?:,\s*(?P<rest>[^\]]*))?\]?"
)
_LOSS = re.compile(
    r"(?P<name>\b[\w/ ]*?loss)\s*[=:]\s*(?P<value>-?(?:[\d.]+(?:e[-+]?\d+)?|nan|inf))", re.IGNORECASE
)
_PLAIN_STEP = re.compile(r"\bstep[s]?[ =:]*(?P<step>\d+)\b[^|]*?\b(?P<name>(?:avr_|average |train_)?loss)\s*[=:]\s*"
                         r"(?P<value>[\d.]+(?:e[-+]?\d+)?|nan|inf)", re.IGNORECASE)  # fmt: skip
_PLANNED = re.compile(r"total optimization steps\b[^:]*:\s*(\d+)")
_BATCHES = re.compile(r"num batches per epoch\b[^:]*:\s*(\d+)")
_ACCUMULATION = re.compile(r"gradient accumulation steps\b[^=]*=\s*(\d+)")
_ITEMS = re.compile(r"num train images \* repeats\b[^:]*:\s*(\d+)|(\d+) train images with repeats")
_NUMBERS = {"planned": _PLANNED, "batches": _BATCHES, "accumulation": _ACCUMULATION, "items": _ITEMS}
_FOUND = re.compile(r"found directory (.+?) contains (\d+) image files")
_SAVING = re.compile(
    r"(?:saving checkpoint|Saved checkpoint to|Saving at step \d+|save trained model to)\s*:?\s*(.+)", re.I
)
_STEP_NAME = re.compile(r"(?:-step|_|step )0*(\d+)(?=\D*$)")
_ENDED = re.compile(r"\bmodel saved\.|\bTraining has ended|\bTraining finished", re.IGNORECASE)
_TRAINERS: tuple[tuple[LogTrainer, re.Pattern[str]], ...] = (
    ("comfyui", re.compile(r"lora key not loaded|got prompt|ComfyUI version|ERROR lora ", re.I)),
    (
        "sd-scripts",
        re.compile(r"avr_loss=|running training / |train_network\.py|train_util\.py|accelerator device:"),
    ),
    ("ai-toolkit", re.compile(r"ai-toolkit|extensions_built_in|toolkit/|\blr: [\d.e-]+ loss: ")),
    ("onetrainer", re.compile(r"OneTrainer|smooth loss=|modules/trainer/")),
)
_TRACE = "Traceback (most recent call last)"
_ERROR_LINE = re.compile(
    r"^(?:\[rank\d+\]:\s*)?(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt|Exit|Warning)\b.*$"
)


@cache
def _any_failure() -> re.Pattern[str]:
    """Return one expression for every known failure, to leave ordinary lines quickly."""
    bare = [re.sub(r"\?P<\w+>", "?:", failure.expression.pattern) for failure in all_failures()]
    return re.compile("|".join(f"(?:{pattern})" for pattern in bare), re.IGNORECASE)


class LogReader:
    """Gathers facts line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trainer: LogTrainer | None = None
        self.losses: dict[int, float] = {}
        self.elapsed: dict[int, float] = {}
        self.averaged = False
        self.numbers: dict[str, int] = {}
        self.checkpoints: list[LogCheckpoint] = []
        self.folders: list[LogFolder] = []
        self.matches: list[LogMatch] = []
        self.counts: dict[str, int] = {}
        self.tracebacks: list[LogTraceback] = []
        self.lines = 0
        self.ended = False
        self.interrupted = False
        self._offset = 0
        self._bar_step = 0
        self._last_step = 0
        self._bar_total: int | None = None
        self._trace_from: int | None = None

    def read(self, number: int, text: str) -> None:
        """Take in one line."""
        self.lines = number
        if self.trainer is None:
            self.trainer = next((name for name, sign in _TRAINERS if sign.search(text)), None)
        if "%|" in text and (bar := _BAR.search(text)):
            self._bar(bar)
            text = text[: bar.start()] + text[bar.end() :]
            if not text.strip():
                return
        self._trace(number, text)
        self._plain(text)
        if _any_failure().search(text):
            self._failures(number, text)

    def _bar(self, bar: re.Match[str]) -> None:
        """Take in a progress bar, if it is one of training steps: it is called so, or shows a loss."""
        found = list(_LOSS.finditer(bar["rest"] or ""))
        name = bar["name"].strip().lower()
        if not found and name not in ("steps", "step"):
            return
        if name == "epoch":
            return
        step, total = int(bar["step"]), int(bar["total"])
        if self._bar_total == total and step < self._bar_step:
            self._offset += total  # OneTrainer begins a bar for every epoch
        self._bar_step, self._bar_total = step, total
        at = step + self._offset
        if at < 1:
            return
        self._last_step = max(self._last_step, at)
        self.elapsed.setdefault(at, _seconds(bar["elapsed"]))
        if found:
            chosen = next((m for m in found if "smooth" not in m["name"].lower()), found[0])
            self.averaged = self.averaged or chosen["name"].strip().lower().endswith("avr_loss")
            self.losses[at] = float(chosen["value"])

    def _plain(self, text: str) -> None:
        for key, pattern in _NUMBERS.items():
            if (found := pattern.search(text)) is not None:
                self.numbers.setdefault(key, int(next(group for group in found.groups() if group)))
        if (found := _FOUND.search(text)) is not None:
            self.folders.append(LogFolder(found[1], int(found[2])))
        if (found := _SAVING.search(text)) is not None:
            self.checkpoints.append(self._checkpoint(found[1].strip()))
        if (found := _PLAIN_STEP.search(text)) is not None:
            self.losses[int(found["step"])] = float(found["value"])
            self._last_step = max(self._last_step, int(found["step"]))
            self.averaged = self.averaged or found["name"].lower().startswith("av")
        self.ended = self.ended or bool(_ENDED.search(text))
        self.interrupted = self.interrupted or "KeyboardInterrupt" in text

    def _checkpoint(self, said: str) -> LogCheckpoint:
        name = re.split(r"[/\\]", said)[-1]
        step = _STEP_NAME.search(re.sub(r"\.\w+$", "", name))
        return LogCheckpoint(name, int(step[1]) if step and "-step" in name else self._last_step)

    def _failures(self, number: int, text: str) -> None:
        for failure in all_failures():
            found = failure.match(text)
            if found is None:
                continue
            self.counts[failure.code] = self.counts.get(failure.code, 0) + 1
            if self.counts[failure.code] <= MOST_MATCHES:
                detail = next((value for value in found.groupdict().values() if value), "")
                self.matches.append(LogMatch(failure.code, number, text.strip(), detail.strip()))

    def _trace(self, number: int, text: str) -> None:
        if _TRACE in text:
            self._trace_from = number
        elif self._trace_from is not None:
            plain = text.strip("│╭╮╰╯ ")
            if not text.startswith((" ", "│", "╭", "╰")) and _ERROR_LINE.match(plain):
                self.tracebacks.append(LogTraceback(self._trace_from, number, plain))
                self._trace_from = None

    def facts(self) -> LogFacts:
        """Return everything gathered."""
        planned = self.numbers.get("planned") or (self._bar_total if not self._offset else None)
        batches, accumulation = self.numbers.get("batches"), self.numbers.get("accumulation") or 1
        steps = sorted(self.losses)
        return LogFacts(
            path=self.path,
            trainer=self.trainer,
            num_lines=self.lines,
            losses=tuple((step, self.losses[step]) for step in steps),
            averaged=self.averaged,
            steps_per_epoch=math.ceil(batches / accumulation) if batches else None,
            planned_steps=planned,
            last_step=self._last_step,
            elapsed=tuple(sorted(self.elapsed.items())) if not self._offset else (),
            checkpoints=tuple(self.checkpoints),
            folders=tuple(self.folders),
            train_items=self.numbers.get("items"),
            matches=tuple(self.matches),
            counts=dict(self.counts),
            tracebacks=tuple(self.tracebacks),
            finished=self.ended or (planned is not None and self._last_step >= planned > 0),
            interrupted=self.interrupted,
        )


def _seconds(text: str) -> float:
    """Return seconds of `MM:SS` or `H:MM:SS`; NaN for anything else."""
    try:
        total = 0
        for part in text.split(":"):
            total = total * 60 + int(part)
    except ValueError:
        return math.nan
    return float(total)

"""A log of any trainer, taken in line by line."""

from __future__ import annotations

import math
import re
from collections import deque
from pathlib import Path

from maquette.logs.bars import MARK, Bar, bar_in, printed_loss
from maquette.logs.ending import Candidate, Ending, ending_of
from maquette.logs.facts import LogCheckpoint, LogFacts, LogFolder, LogMatch, LogTrainer
from maquette.logs.failures import all_failures, may_match
from maquette.logs.machine import LogMachine, MachineReader
from maquette.logs.prefixes import Unwrapper, plain
from maquette.logs.tracebacks import TraceReader

MOST_MATCHES = 200
"""Matches of one failure that are kept; all are counted."""
MOST_FIRST, MOST_LAST = 1500, 1500
"""Lines that may show a failure and are looked at, from the log's beginning and from its end."""
MOST_KEPT = 5000
"""Folders, checkpoints and tracebacks that are kept."""
MOST_MACHINE_LINES = 1500
MOST_TRAINER_LINES = 5000
HEAD_OF_A_LINE, END_OF_A_LINE = 1000, 400
"""Of a longer line only this much is searched for failures."""

_DIGITS = r"(\d{1,12})\b"
_NUMBERS = (
    (
        "planned",
        "total optimization steps",
        re.compile(rf"total optimization steps\b[^:]{{0,60}}:\s{{0,9}}{_DIGITS}"),
    ),
    (
        "batches",
        "num batches per epoch",
        re.compile(rf"num batches per epoch\b[^:]{{0,60}}:\s{{0,9}}{_DIGITS}"),
    ),
    (
        "accumulation",
        "gradient accumulation steps",
        re.compile(rf"gradient accumulation steps\b[^=]{{0,60}}=\s{{0,9}}{_DIGITS}", re.IGNORECASE),
    ),
    (
        "items",
        "num train images",
        re.compile(rf"num train images \* repeats\b[^:]{{0,60}}:\s{{0,9}}{_DIGITS}"),
    ),
    ("items", "train images with repeats", re.compile(r"\b(\d{1,12}) train images with repeats")),
)
_FOUND = re.compile(r"found directory (.{1,1000}) contains (\d{1,9}) image files")
_SAVING = re.compile(
    r"(?:saving checkpoint|Saved checkpoint to|Saving at step \d{1,9}|save trained model to)\s?:?\s?(.{1,1000})",
    re.I,
)
_STEP_NAME = re.compile(r"(?:-step|_|step )0{0,9}(\d{1,9})(?=\D{0,60}$)")
_ENDED = re.compile(
    r"\bmodel saved\.|\bTraining finished\b|\bModel weights saved in\b|^\s?- [1-9]\d{0,5} completed jobs?\b",
    re.IGNORECASE,
)
_BEGINS = re.compile(
    r"running training|prepare tokenizer|preparing accelerator|loading model for process|Loading dataset config|"
    r"Loading settings from|Using DreamBooth method|Running \d{1,4} jobs?\b|accelerate(?:\.exe)?\"? launch|^usage: |"
    r"Start training LoRA|Executing command|\*{5} Running training",
    re.IGNORECASE,
)
_ENDED_SIGNS = ("saved", "finished", "completed job")
_BEGINS_SIGNS = ("training", "prepar", "loading", "dreambooth", "running", "launch", "usage: ", "executing")
_TRAINERS: tuple[tuple[LogTrainer, re.Pattern[str]], ...] = (
    ("comfyui", re.compile(r"lora key not loaded|got prompt|ComfyUI version|ERROR lora ", re.I)),
    (
        "sd-scripts",
        re.compile(
            r"avr_loss=|running training / |(?:^|[\\/\"' ])(?:sdxl_|flux_|sd3_)?train_(?:network|db|util)\.py|accelerator device:"
        ),
    ),
    ("ai-toolkit", re.compile(r"ai-toolkit|extensions_built_in|toolkit/|\blr: [\d.e-]{1,20} loss: ")),
    ("onetrainer", re.compile(r"OneTrainer|smooth loss=|modules[\\/]trainer[\\/]")),
    ("simpletuner", re.compile(r"SimpleTuner|\(DataBackendFactory\)", re.I)),
    (
        "diffusers",
        re.compile(r"\*{5} Running training \*{5}|train_dreambooth|train_text_to_image|step_loss="),
    ),
)


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
        self.lines = 0
        self._at = 0
        """The place among all pieces of the log."""
        self._alive_at = self._ended_at = self._begun_at = -1
        self._offset = 0
        self._bar_step = 0
        self._last_step = 0
        self._bar_total: int | None = None
        self._traces = TraceReader()
        self._unwrapper = Unwrapper()
        self._machine = MachineReader()
        self._machine_lines = 0
        self._first: list[Candidate] = []
        self._last: deque[Candidate] = deque(maxlen=MOST_LAST)
        self._num_candidates = 0
        self._errors: deque[Candidate] = deque(maxlen=40)
        """Lines that call themselves errors, and no traceback's."""
        self._words: deque[Candidate] = deque(maxlen=60)
        """The last lines that are no part of a traceback."""

    def read(self, number: int, text: str) -> None:
        """Take in one line."""
        self.lines = number
        self._at += 1
        bar = bar_in(text) if MARK in text else None
        self._look_at_trainer(text)
        if bar is not None:
            self._bar(bar)
            text = text[: bar.start] + text[bar.end :]
            if not text.strip():
                return
            self._at += 1
        text = _shortened(text)
        words, is_error = plain(text)
        self._look_at_machine(text)
        self._trace(number, words)
        self._look_for_failures(number, text, words, is_error)
        self._signs(text)

    def _look_at_trainer(self, text: str) -> None:
        if self.trainer is None and self._at < MOST_TRAINER_LINES:
            beginning = text[:HEAD_OF_A_LINE]
            self.trainer = next((name for name, sign in _TRAINERS if sign.search(beginning)), None)

    # --- the run's progress ------------------------------------------------------------------------------

    def _bar(self, bar: Bar) -> None:
        """Take in a progress bar, if it is one of training steps: it is called so, or shows a loss."""
        if not bar.is_training:
            return
        if bar.step < self._bar_step and (bar.step == 0 or self._bar_total != bar.total):
            self._begin()
        elif self._bar_total == bar.total and bar.step < self._bar_step:
            self._offset += bar.total  # OneTrainer begins a bar for every epoch
        self._bar_step, self._bar_total = bar.step, bar.total
        at = bar.step + self._offset
        if at < 1:
            return
        if at > self._last_step:
            self._last_step, self._alive_at = at, self._at
            self._traces.stop()
        self.elapsed.setdefault(at, bar.elapsed_s)
        if bar.loss is not None:
            self.averaged = self.averaged or bar.loss.averaged
            self.losses[at] = bar.loss.value

    def _begin(self) -> None:
        """Another run begins in the same log: what the one before it did says nothing about this one."""
        self._begun_at = self._at
        self._offset = self._last_step = self._bar_step = 0
        self.losses, self.elapsed = {}, {}

    def _signs(self, text: str) -> None:
        low = text.lower()
        for key, sign, pattern in _NUMBERS:
            if sign in low and (found := pattern.search(text)) is not None:
                self.numbers[key] = int(found[1])
        if "found directory" in text and (found := _FOUND.search(text)) and len(self.folders) < MOST_KEPT:
            self.folders.append(LogFolder(found[1], int(found[2])))
        if "sav" in low and (found := _SAVING.search(text)) and len(self.checkpoints) < MOST_KEPT:
            self.checkpoints.append(self._checkpoint(found[1].strip()))
        if (printed := printed_loss(text)) is not None:
            step, loss = printed
            self.losses[step] = loss.value
            if step > self._last_step:
                self._last_step, self._alive_at = step, self._at
            self.averaged = self.averaged or loss.averaged
        if any(sign in low for sign in _ENDED_SIGNS) and _ENDED.search(text):
            self._ended_at = self._at
        elif any(sign in low for sign in _BEGINS_SIGNS) and _BEGINS.search(text):
            self._begun_at = self._at

    def _checkpoint(self, said: str) -> LogCheckpoint:
        name = re.split(r"[/\\]", said)[-1]
        step = _STEP_NAME.search(re.sub(r"\.\w{1,12}$", "", name))
        return LogCheckpoint(name, int(step[1]) if step and "-step" in name else self._last_step)

    # --- what went wrong -----------------------------------------------------------------------------------

    def _look_at_machine(self, text: str) -> None:
        if self._machine_lines < MOST_MACHINE_LINES:
            self._machine_lines += 1
            self._machine.read(text)

    def _trace(self, number: int, words: str) -> None:
        if len(self._traces.traces) > MOST_KEPT:
            del self._traces.traces[:-MOST_KEPT]
        self._traces.read(self._at, number, words)

    def _look_for_failures(self, number: int, text: str, words: str, is_error: bool) -> None:
        joined = self._unwrapper.read(number, text)
        if self._traces.inside:
            return
        if may_match(text):
            self._keep(Candidate(self._at, number, text))
        if joined is not None and may_match(joined[1]):
            self._keep(Candidate(self._at, joined[0], joined[1], joined=True))
        line = Candidate(self._at, number, words.strip())
        if is_error or _calls_itself_error(words):
            self._errors.append(line)
        if line.text:
            self._words.append(line)

    def _keep(self, candidate: Candidate) -> None:
        self._num_candidates += 1
        if len(self._first) < MOST_FIRST:
            self._first.append(candidate)
        else:
            self._last.append(candidate)

    # --- the whole -----------------------------------------------------------------------------------------

    def facts(self, skipped: tuple[str, ...] = ()) -> LogFacts:
        """Return everything gathered; `skipped` is what was not read."""
        planned = self.numbers.get("planned") or (self._bar_total if not self._offset else None)
        batches, accumulation = self.numbers.get("batches"), self.numbers.get("accumulation") or 1
        done = planned is not None and self._last_step >= planned > 0
        ending = self._ending(done=done)
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
            matches=tuple(self._kept_matches(ending)),
            counts=ending.counts,
            tracebacks=ending.tracebacks,
            fatal=ending.fatal,
            survived=ending.survived,
            machine=self._whole_machine(ending),
            skipped=(*skipped, *self._unsearched()),
            finished=ending.finished,
            interrupted=ending.interrupted,
        )

    def _ending(self, *, done: bool) -> Ending:
        return ending_of(
            candidates=[*self._first, *self._last],
            traces=self._traces.traces,
            errors=list(self._errors),
            words=list(self._words),
            failures=all_failures(),
            alive_at=self._alive_at,
            ended_at=self._ended_at,
            begun_at=self._begun_at,
            done=done,
        )

    def _kept_matches(self, ending: Ending) -> list[LogMatch]:
        kept: dict[str, int] = {}
        matches = []
        for match in ending.matches:
            kept[match.code] = kept.get(match.code, 0) + 1
            if kept[match.code] <= MOST_MATCHES:
                matches.append(match)
        return matches

    def _whole_machine(self, ending: Ending) -> LogMachine:
        """Return the machine, from the log's beginning and from what ended the run."""
        texts = [match.text for match in ending.matches[:40]]
        texts += [
            line for trace in (ending.fatal, *ending.tracebacks[-3:]) if trace for line in trace.details
        ]
        for text in texts if self.lines > MOST_MACHINE_LINES else ():
            self._machine.read(text)
        return self._machine.machine()

    def _unsearched(self) -> tuple[str, ...]:
        number = self._num_candidates - len(self._first) - len(self._last)
        return (
            (f"{number:,} lines that look like messages of errors, between the first and the last",)
            if number
            else ()
        )


_ERROR_WORDS = re.compile(
    r"(?:!!! Exception during processing|Error running job:|Training failed|[\w.\\/:-]{1,200}: (?:fatal )?error: |"
    r"(?:fatal|error|critical)\b ?[:\]])",
    re.IGNORECASE,
)


def _calls_itself_error(words: str) -> bool:
    return bool(_ERROR_WORDS.match(words))


def _shortened(text: str) -> str:
    """Return a line with the middle of a very long one left out: its end may say how it all ended."""
    if len(text) <= HEAD_OF_A_LINE + END_OF_A_LINE:
        return text
    return f"{text[:HEAD_OF_A_LINE]} … {text[-END_OF_A_LINE:]}"

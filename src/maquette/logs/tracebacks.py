"""Python's tracebacks in a log: plain, in rich's boxes, behind prefixes, with their indentation lost."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

TraceKind = Literal["error", "wrapper", "ignored", "thread", "harmless", "interrupt"]

TRACE = "Traceback (most recent call last)"
MOST_FRAME_LINES = 4000
MOST_DETAILS = 60
MOST_CONTEXT = 12

_ERROR = re.compile(
    r"(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Za-z_]\w{0,80}(?:Error|Exception|Interrupt|Exit|Warning|Invalid)\b(?:: |:$|$| \()"
)
_ANY_NAME = re.compile(r"(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Za-z_]\w{0,80}(?:: |:$|$)")
_FRAME = re.compile(r"\s{0,40}File \"[^\"]{1,400}\", line \d{1,7}")
_BARE = re.compile(r"(?:[A-Za-z_]\w{0,60}\.){0,8}[A-Z]\w{0,80}(?:Error|Exception|Invalid)(?:: |$)")
_BOX = "│╭╮╰╯┃┏┗"
_IGNORED = re.compile(r"\bException ignored in|Error in atexit|Exception ignored on")
_THREAD = re.compile(r"^\s{0,8}(?:Exception in thread|Process [\w-]{1,60}:)")
_CHAINED = re.compile(
    r"During handling of the above exception|direct cause of the following exception|Original\s*$"
)
_WRAPPER = re.compile(
    r"CalledProcessError|ChildFailedError|ProcessRaisedException|^RuntimeError: Caught \w{1,60} in DataLoader worker|"
    r"(?:training|process|subprocess|command) failed with (?:return |exit )?code"
)
_HARMLESS = re.compile(r"No module named '(?:triton|tensorflow)'|can only test a child process")


@dataclass
class Trace:
    """An error with its trace, as Python prints it, or its last line alone."""

    at: int
    """The place of its last line among all pieces of the log."""
    line: int
    """Where it begins."""
    end_line: int
    message: str
    """Its last line: `ValueError: …`."""
    kind: TraceKind
    chained: bool = False
    """The error before it led to it."""
    context: tuple[str, ...] = ()
    """The last lines above the message: where it happened."""
    details: list[tuple[int, int, str]] = field(default_factory=list)
    """(place, line, text) of what follows the message."""


class TraceReader:
    """Finds tracebacks line by line."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []
        self._open: _Open | None = None
        self._before = ""
        self._following: Trace | None = None

    def read(self, at: int, number: int, text: str) -> Trace | None:
        """Take in one line; return the traceback that it ends, or goes on with, or None."""
        if TRACE in text:
            self._open = _Open(number, self._before, text[: text.find(TRACE)])
            self._following = None
            return None
        if self._open is not None:
            return self._within(at, number, text)
        if _BARE.match(text):
            return self._add(Trace(at, number, number, text.strip(), _kind(text, "")))
        if text.strip():
            self._before = text if not text.startswith(" " * 4) else self._before
        if self._following is not None and len(self._following.details) < MOST_DETAILS:
            self._following.details.append((at, number, text.strip()))
            return self._following
        return None

    def stop(self) -> None:
        """The run goes on: what comes now does not belong to the last error."""
        self._following = None

    @property
    def inside(self) -> bool:
        """Between the first line of a traceback and its message."""
        return self._open is not None

    def _within(self, at: int, number: int, text: str) -> Trace | None:
        opened = self._open
        assert opened is not None
        text = opened.without_prefix(text)
        if not opened.ends_with(text):
            if opened.lines > MOST_FRAME_LINES:
                self._open = None
            return None
        message = text.strip(_BOX + " ")
        kind = _kind(message, opened.header)
        self._open = None
        chained = bool(_CHAINED.search(opened.header))
        return self._add(Trace(at, opened.line, number, message, kind, chained, tuple(opened.context)))

    def _add(self, trace: Trace) -> Trace:
        self.traces.append(trace)
        self._following, self._before = trace, ""
        return trace


class _Open:
    """A traceback whose message has not come yet."""

    def __init__(self, line: int, before: str, start: str) -> None:
        self.line = line
        self.header = before + start.strip(_BOX + "─ ")
        self.indent = _indent(start)
        self._prefix = "" if start.strip(_BOX + "─ ") in ("", "Original") else start
        """What an interface writes before every line of the trainer's."""
        self.lines = 0
        self.context: list[str] = []
        self._flat = False
        """Indentation was lost: a line of source follows each frame and looks like any other."""
        self._after_frame = False

    def without_prefix(self, text: str) -> str:
        """Return a line without what stands before the traceback's first line, too."""
        return text.removeprefix(self._prefix) if self._prefix else text

    def ends_with(self, text: str) -> bool:
        """Take in a line; tell whether it is the error's message."""
        self.lines += 1
        is_frame = bool(_FRAME.match(text)) or text.lstrip()[:1] in _BOX
        is_source, self._after_frame = self._after_frame, is_frame
        if is_frame and _indent(text) <= self.indent and text.lstrip()[:1] not in _BOX:
            self._flat = True
        if is_frame or _indent(text) > self.indent or (self._flat and is_source):
            self.context = [*self.context[1 - MOST_CONTEXT :], text.strip()]
            return False
        words = text.strip(_BOX + " ")
        name = _ERROR if self._flat or not self.context else _ANY_NAME
        return bool(name.match(words) or _ERROR.match(words))


def _kind(message: str, header: str) -> TraceKind:
    if _IGNORED.search(header):
        return "ignored"
    if re.match(r"(?:\w{1,40}\.){0,4}KeyboardInterrupt\b", message):
        return "interrupt"
    if _WRAPPER.search(message):
        return "wrapper"
    if _HARMLESS.search(message):
        return "harmless"
    return "thread" if _THREAD.search(header) else "error"


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))

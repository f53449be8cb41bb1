"""A known failure: how it is recognised in a log, what it means, what to do.

It is found by pieces of the trainer's own words, short ones, because the same failure is worded in many ways. Where the
words tell more (the numbers of a shape, an exit code, the machine), a reading of the row says the cause that they show.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from maquette.findings.records import Severity
from maquette.logs.machine import LogMachine

LEAST_NEEDLE = 3


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a failure means where the log says more: the first of its row whose conditions all hold counts."""

    when: str
    """The case in words, for the page."""
    signs: tuple[str, ...] = ()
    """Regular expressions over the failure's lines; one must be found."""
    machine: tuple[str, ...] = ()
    """Marks of the machine (LogMachine.marks); all must be there."""
    cause: str | None = None
    """None: the row's own."""
    remedy: str

    def holds(self, evidence: str, machine: LogMachine) -> bool:
        """Tell whether this is how the failure's lines are to be read."""
        seen = not self.signs or any(re.search(sign, evidence, re.IGNORECASE) for sign in self.signs)
        return seen and machine.marks.issuperset(self.machine)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One row: how it is recognised, and its page."""

    code: str
    name: str
    severity: Severity
    texts: tuple[str, ...] = ()
    """Pieces of log lines, matched as they stand, capitals or not."""
    patterns: tuple[str, ...] = ()
    """Regular expressions for what varies; a group named `detail` is shown in the message. Each needs some literal text
    outside its groups (searched first), and no repetition without a bound (logs are strangers' text)."""
    example: str = ""
    """A line that shows it; the first of `texts` where none is given."""
    except_texts: tuple[str, ...] = ()
    """A line that holds one of these is not this failure."""
    ends_run: bool = True
    """Of an error: the run ends there. What a run survived then does not count."""
    general: bool = False
    """Recognised only in lines that no other row knows."""
    summary: str
    """What it is, in one sentence."""
    cause: str
    """Why it happens; `{detail}` stands for the group of that name, or the line's own words."""
    remedy: str
    readings: tuple[Reading, ...] = ()
    more: str = ""
    """What its page says beyond the cause."""
    source: str

    @property
    def is_fatal(self) -> bool:
        """It ends a run."""
        return self.severity == "error" and self.ends_run

    def match(self, line: str, lowered: str | None = None) -> str | None:
        """Return the detail (often empty) when `line` shows this failure, else None."""
        low = line.lower() if lowered is None else lowered
        if self.excepts(low):
            return None
        if any(text in low for text in self._lowered):
            return ""
        for needle, expression in self._expressions:
            if needle in low and (found := expression.search(line)) is not None:
                return (found.groupdict().get("detail") or "").strip()
        return None

    def excepts(self, text: str) -> bool:
        """Tell whether `text` says that it is another failure."""
        low = text.lower()
        return any(other in low for other in self._excepted)

    def advice(self, evidence: str, machine: LogMachine) -> tuple[str, str]:
        """Return cause and remedy as the failure's lines and the machine tell them."""
        for reading in self.readings:
            if reading.holds(evidence, machine):
                return reading.cause or self.cause, reading.remedy
        return self.cause, self.remedy

    @property
    def needles(self) -> tuple[str, ...]:
        """Literal texts, in small letters, one of which stands in every line that shows it."""
        return (*self._lowered, *(needle for needle, _ in self._expressions))

    @cached_property
    def _lowered(self) -> tuple[str, ...]:
        return tuple(text.lower() for text in self.texts)

    @cached_property
    def _excepted(self) -> tuple[str, ...]:
        return tuple(text.lower() for text in self.except_texts)

    @cached_property
    def _expressions(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        return tuple((needle_of(pattern), re.compile(pattern, re.IGNORECASE)) for pattern in self.patterns)

    @property
    def page(self) -> str:
        """The rule's documentation page."""
        words = [f"“{text}”" for text in self.texts] + [f"`{_plain(pattern)}`" for pattern in self.patterns]
        found_by = f"a line of the log with {' or '.join(words)}."
        if self.except_texts:
            found_by += f" Lines with {' or '.join(f'“{text}”' for text in self.except_texts)} do not count."
        if self.is_fatal:
            found_by += " Only where the run ended there: what it survived does not count."
        why = self.cause.replace("{detail}", "…")
        cases = " ".join(
            f"{reading.when}: {(reading.cause + ' ') if reading.cause else ''}{reading.remedy}".replace(
                "{detail}", "…"
            )
            for reading in self.readings
        )
        parts = {
            "Why": f"{why} {self.more}".strip(),
            "Found by": found_by,
            "Do": f"{self.remedy} {cases}".strip(),
            "Fault": f"`{self.example or self.texts[0]}`",
            "Instead": re.split(r"(?<=[.:]) ", self.remedy, maxsplit=1)[0],
            "Source": self.source,
        }
        return "\n\n".join([self.summary, *(f"{name}: {text}" for name, text in parts.items())])


def needle_of(pattern: str) -> str:
    """Return the longest literal text outside the groups of `pattern`, in small letters: no line without it can match.

    Raises ValueError where there is none of `LEAST_NEEDLE` characters.
    """
    outside, depth, at = [], 0, 0
    while at < len(pattern):
        piece = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        if piece == "[":
            piece = pattern[at : pattern.index("]", at + 2) + 1]
        depth -= piece == ")"
        outside.append(piece if not depth and piece not in "()" else "\0")
        depth += piece == "("
        at += len(piece)
    for place, piece in enumerate(outside):
        if piece in ("?", "*", "{") or (len(piece) == 2 and piece[1].isalnum()) or piece.startswith("["):
            outside[max(0, place - (piece in "?*{"))] = outside[place] = "\0"
        if piece == "|":
            raise ValueError(f"alternatives outside of a group: {pattern}")
    text = "".join(piece[1:] if piece.startswith("\\") else piece for piece in outside)
    runs = re.split(r"\0|[.^$+}]|(?<=\{)[\d,]+", text)
    # What stands in braces is a count, no text.
    longest = max((run for run in runs if not re.fullmatch(r"[\d,]*", run)), key=len, default="")
    if len(longest) < LEAST_NEEDLE:
        raise ValueError(f"no literal text outside of groups: {pattern}")
    return longest.lower()


_GROUP = re.compile(r"\?P<\w+>")


def _plain(pattern: str) -> str:
    return _GROUP.sub("", pattern)

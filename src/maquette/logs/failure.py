"""A known failure: how it is recognised in a log, what it means, what to do.

It is found by pieces of the trainer's own words. They are short, because sd-scripts' log wraps a sentence over several lines on
a narrow terminal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import count

from maquette.findings.records import Severity


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One row: how it is recognised, and its page."""

    code: str
    name: str
    severity: Severity
    texts: tuple[str, ...] = ()
    """Pieces of log lines, matched as they stand, capitals or not."""
    patterns: tuple[str, ...] = ()
    """Regular expressions for what varies; a group named `detail` is shown in the message."""
    example: str = ""
    """A line that shows it; the first of `texts` where none is given."""
    except_texts: tuple[str, ...] = ()
    """A line that holds one of these is not this failure."""
    summary: str
    """What it is, in one sentence."""
    cause: str
    """Why it happens; `{detail}` stands for the group of that name, or the line's own words."""
    remedy: str
    more: str = ""
    """What its page says beyond the cause."""
    source: str

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """Every way to recognise it, as one expression; its named groups are numbered."""
        joined = "|".join([*map(re.escape, self.texts), *self.patterns])
        number = count()
        return re.compile(_GROUP.sub(lambda _: f"?P<detail{next(number)}>", joined), re.IGNORECASE)

    def match(self, line: str) -> re.Match[str] | None:
        """Return where `line` shows this failure, or None."""
        found = self.expression.search(line)
        if found and any(text.lower() in line.lower() for text in self.except_texts):
            return None
        return found

    @property
    def page(self) -> str:
        """The rule's documentation page."""
        words = [f"“{text}”" for text in self.texts] + [f"`{_plain(pattern)}`" for pattern in self.patterns]
        found_by = f"a line of the log with {' or '.join(words)}."
        if self.except_texts:
            found_by += f" Lines with {' or '.join(f'“{text}”' for text in self.except_texts)} do not count."
        why = self.cause.replace("{detail}", "…")
        parts = {
            "Why": f"{why} {self.more}".strip(),
            "Found by": found_by,
            "Do": self.remedy,
            "Fault": f"`{self.example or self.texts[0]}`",
            "Instead": re.split(r"(?<=[.:]) ", self.remedy, maxsplit=1)[0],
            "Source": self.source,
        }
        return "\n\n".join([self.summary, *(f"{name}: {text}" for name, text in parts.items())])


_GROUP = re.compile(r"\?P<\w+>")


def _plain(pattern: str) -> str:
    return _GROUP.sub("", pattern)

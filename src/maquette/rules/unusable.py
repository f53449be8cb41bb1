"""Rules about input as a whole: what cannot be read at all, and what says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import Problem
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule
from maquette.logs.facts import LogFacts
from maquette.spoken import counted


@dataclass(frozen=True)
class Unusable:
    """Input that could not be read at all, each with the file it is about."""

    problems: tuple[tuple[Path, Problem], ...]


@rule("CHK001", "unusable", "error", since="0.2")
def unusable(unusable: Unusable, report: Report) -> Iterator[Finding]:
    """A file that the run needs is missing or cannot be read, so that nothing about it can be checked.

    Why: A trainer finds this out after it has loaded gigabytes, or reads the file as something it is not. While it
    stands, no other rule can look at what is inside.
    Found by: The same readers that Maquette trains with: TOML syntax, unknown keys, files that are not what their names
    say, base models of no known family, references in a profile that are not there.
    Do: Repair what the message names, then check again: further findings may come to light.
    Fault: `base = "sd15.safetensors"`, a file that is cut short
    Instead: the whole file, copied again
    Source: sd-scripts#886 (mistakes found only after loading), kohya_ss#3372 (a wrong layout ends at once without a
    reason).
    """
    alike: dict[tuple[object, ...], list[tuple[Path, Problem]]] = {}
    for path, problem in unusable.problems:
        cause = (path, re.sub(r"\d+", "#", problem.given), problem.required, problem.remedy)
        alike.setdefault(cause, []).append((path, problem))
    for (path, problem), *others in alike.values():
        place = problem.where.removeprefix(str(path)).strip(" :")
        also = f" So it is in {counted(len(others), 'more place')}." if others else ""
        message = f"{_capital(problem.given)}; required: {problem.required}.{also}"
        yield report(path, place, message, problem.remedy)


@rule("CHK002", "nothing-understood", "error", since="0.2")
def nothing_understood(log: LogFacts, report: Report) -> Iterator[Finding]:
    """A file was taken for a training log, and nothing in it is a training run's.

    Why: No finding in a log that says nothing is no good news: a run that never began writes an empty one, and another
    program's log is none at all.
    Found by: Logs without a single step, loss, checkpoint, folder of pictures, error or trainer that is known.
    Do: Give the log of the training run, or what was to be trained: its pictures, its script, its project.
    Fault: `train.log` of no bytes
    Instead: the output of the trainer, saved whole
    Source: A check of an empty file that ended with "Nothing found".
    """
    if not log.is_silent:
        return
    lines = counted(log.num_lines, "line")
    message = "The log is empty." if not log.num_lines else f"None of its {lines} is a training run's."
    yield report(log.path, "", message, "Give the trainer's whole output, or what it was to train.")


def _capital(text: str) -> str:
    """Return a sentence's beginning in capitals; a key that it begins with stays as it is written."""
    is_key = re.match(r"[\w.]*_|\w+ ?=|\w+ in \[", text) is not None
    return text if is_key else text[:1].upper() + text[1:]

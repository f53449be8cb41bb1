"""The rule about input that cannot be read at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from maquette.errors import Problem
from maquette.findings.records import Finding
from maquette.findings.registry import Report, rule


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
    for path, problem in unusable.problems:
        place = problem.where.removeprefix(str(path)).strip(" :")
        yield report(path, place, f"{_capital(problem.given)}; required: {problem.required}.", problem.remedy)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

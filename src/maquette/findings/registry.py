"""The registry of rules: a rule is a function from facts to findings, and its docstring is its page.

    @rule("ENV001", "fp16-on-mps", "error", since="0.2")
    def fp16_on_mps(request: TrainingRequest, machine: Machine, report: Report) -> Iterator[Finding]:
        \"\"\"Half precision on Apple's GPU stops with an error, or trains to NaN.

        Why: …          what goes wrong, with the numbers seen
        Found by: …     what the rule looks at, and where it draws the line
        Do: …           what to change
        Fault: …        an example, as it would be written
        Instead: …      what to write in its place
        Source: …       where the rule comes from
        \"\"\"
        if …:
            yield report(request.file, "--mixed_precision", "fp16 is asked for on …", "Use …")

A rule asks for the facts it needs by parameter type; it runs when all of them are at hand. A parameter of type
`X | None` may be missing.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from maquette.errors import ConfigError, Problem, did_you_mean
from maquette.findings.records import Finding, Fix, Repair, Severity

CODE_FORM = re.compile(r"[A-Z]{3}\d{3}")
PAGE_PARTS = ("Why", "Found by", "Do", "Fault", "Instead", "Source")


@dataclass(frozen=True)
class Report:
    """Makes the findings of one rule, so that code and severity are said once."""

    code: str
    severity: Severity
    repair: Repair = "none"

    def __call__(
        self,
        path: Path | None,
        place: str,
        message: str,
        remedy: str,
        *,
        fix: Fix | None = None,
        severity: Severity | None = None,
    ) -> Finding:
        """Return a finding of this rule; `severity` may be milder or graver than the rule's own."""
        assert fix is None or self.repair != "none", f"{self.code} does not say what its repair does"
        return Finding(
            code=self.code,
            severity=severity or self.severity,
            path=path,
            place=place,
            message=message,
            remedy=remedy,
            fix=fix,
            repair=self.repair if fix is not None else "none",
        )


RuleFunction = Callable[..., Iterable[Finding]]


@dataclass(frozen=True)
class Rule:
    """One registered rule."""

    code: str
    name: str
    severity: Severity
    function: RuleFunction
    since: str = ""
    """The first release that has it."""
    repair: Repair = "none"

    @property
    def group(self) -> str:
        """The three letters that its code begins with."""
        return self.code[:3]

    @property
    def summary(self) -> str:
        """The first sentence of its docstring."""
        return self.page.partition("\n")[0]

    @property
    def page(self) -> str:
        """The docstring without indentation."""
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def parts(self) -> dict[str, str]:
        """The named parts of its page: Why, Found by, Do, Source."""
        found = re.split(rf"^({'|'.join(PAGE_PARTS)}):", self.page, flags=re.MULTILINE)
        return {name: " ".join(text.split()) for name, text in zip(found[1::2], found[2::2], strict=True)}

    def run(self, facts: Mapping[type, Any]) -> Iterator[Finding] | None:
        """Return the findings, or None when a fact it needs is not at hand."""
        arguments: dict[str, Any] = {}
        for name, (kind, optional) in _needs(self.function).items():
            if kind is Report:
                arguments[name] = Report(self.code, self.severity, self.repair)
            elif kind in facts:
                arguments[name] = facts[kind]
            elif optional:
                arguments[name] = None
            else:
                return None
        return iter(self.function(**arguments))


RULES: dict[str, Rule] = {}
"""Every rule by code. Filled by importing the room rules/; `rules.catalogue.all_rules()` imports all."""


def rule(
    code: str, name: str, severity: Severity, *, since: str, repair: Repair = "none"
) -> Callable[[RuleFunction], RuleFunction]:
    """Register a rule under a code that never changes its meaning.

    since: the first release that has it. repair: what its repairs do, where it has any (see `Repair`).
    """

    def register(function: RuleFunction) -> RuleFunction:
        assert CODE_FORM.fullmatch(code), f"{code}: three capitals and three digits"
        assert code not in RULES or RULES[code].function.__qualname__ == function.__qualname__, (
            f"{code} is taken by {RULES[code].name}"
        )
        RULES[code] = Rule(code, name, severity, function, since, repair)
        return function

    return register


def run_rules(rules: Iterable[Rule], facts: Mapping[type, Any]) -> tuple[list[Finding], list[str]]:
    """Return what the rules find in `facts` (by type), and the codes of the rules that could run."""
    findings: list[Finding] = []
    ran: list[str] = []
    for each in rules:
        found = each.run(facts)
        if found is not None:
            findings += found
            ran.append(each.code)
    return findings, ran


def chosen(rules: Mapping[str, Rule], select: Iterable[str] = (), ignore: Iterable[str] = ()) -> list[Rule]:
    """Return the rules that `select` names (all when empty) without those that `ignore` names.

    A name is a code (`CAP003`), the beginning of one (`CAP`), or a rule's name. Raises ConfigError for one that means
    nothing.
    """
    wanted = set(rules) if not list(select) else _named(rules, select, "--select")
    unwanted = _named(rules, ignore, "--ignore")
    return [rules[code] for code in sorted(wanted - unwanted)]


def _named(rules: Mapping[str, Rule], names: Iterable[str], flag: str) -> set[str]:
    found: set[str] = set()
    problems = []
    for name in names:
        matching = {
            code for code, each in rules.items() if code.startswith(name.upper()) or each.name == name.lower()
        }
        if not matching or not name:
            known = [*rules, *(each.name for each in rules.values()), *sorted({c[:3] for c in rules})]
            problems.append(
                Problem(
                    flag,
                    f"'{name}'",
                    "a rule's code, the beginning of one, or its name",
                    did_you_mean(name, known) if len(known) < 30 else _hint(name, known),
                )
            )
        found |= matching
    if problems:
        raise ConfigError(problems)
    return found


def _hint(name: str, known: list[str]) -> str:
    guess = did_you_mean(name, known)
    return guess if guess.startswith("Did") else "List them: maquette check --rules"


@cache
def _needs(function: RuleFunction) -> dict[str, tuple[Any, bool]]:
    """Return the type of each parameter, and whether it may be missing."""
    hints = typing.get_type_hints(function)
    needs: dict[str, tuple[Any, bool]] = {}
    for name in inspect.signature(function).parameters:
        kind = hints[name]
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            options = [option for option in typing.get_args(kind) if option is not type(None)]
            needs[name] = (options[0], True)
        else:
            needs[name] = (kind, False)
    return needs

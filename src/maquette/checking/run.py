"""`check`: what the paths are, what is known of them, what the rules say, what can be repaired."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from maquette.checking.fixing import KIND, Applied, apply_fixes
from maquette.checking.gather import Context, scopes_of
from maquette.checking.lengthened import Lengths
from maquette.checking.looked import looked_at
from maquette.checking.options import CheckOptions
from maquette.checking.scope import Scope
from maquette.checking.targets import Target, identify
from maquette.dataset.facts import DatasetFacts
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.events import Finished, Message, Progress, Stage, Started
from maquette.findings.records import Finding, worst_first
from maquette.findings.registry import Rule, chosen, run_rules
from maquette.locking import held
from maquette.project.machine import Machine
from maquette.project.noted import Noted
from maquette.project.undoing import undo as undo_change
from maquette.rules.catalogue import all_rules

MOST_TOUCHED = 24
"""Files of one repair that are kept by name with a result."""
MAX_FIX_ROUNDS = 5
"""A repair may bring another to light (a caption in UTF-8 that lacks its trigger); nothing needs more rounds."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What a check found."""

    findings: tuple[Finding, ...]
    """Worst first; the same mistake reached by two paths counts once."""
    targets: tuple[Target, ...]
    rules_run: tuple[str, ...]
    """Codes of the rules that had what they need."""
    num_pictures: int
    looked_at: tuple[str, ...]
    """What was read, in words: `10 pictures`, `9 captions`, `the profile of 'zkw_fox'`."""
    notes: tuple[str, ...]
    """What could not be looked at."""
    fixed: tuple[Applied, ...] = ()
    undone: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values: what `check --json` prints."""
        return {
            "findings": [finding.to_json() for finding in self.findings],
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "hints": self.count("hint"),
            "pictures": self.num_pictures,
            "looked_at": list(self.looked_at),
            "checked": [{"path": str(target.path), "kind": target.kind} for target in self.targets],
            "rules_run": list(self.rules_run),
            "notes": list(self.notes),
            "fixed": [
                {"code": done.code, "summary": done.summary, "paths": [str(path) for path in done.paths]}
                for done in self.fixed
            ],
        }

    def count(self, severity: str) -> int:
        """Return how many findings have this severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def failed(self) -> bool:
        return self.count("error") > 0


def check_events(
    paths: Sequence[Path | str],
    options: CheckOptions | None = None,
    *,
    machine: Machine | None = None,
    only: frozenset[str] = frozenset(),
) -> Stage[CheckResult]:
    """Ask the rules about `paths`.

    machine: instead of the one that `options` name, or this one. only: with `fix`, repair just the findings of these keys.
    Raises MaquetteError when a path is nothing that can be checked, or a rule's name means nothing.
    """
    options = options or CheckOptions()
    rules = chosen(all_rules(), options.select, options.ignore)
    targets = _identified(paths)
    context = _context(options, machine)
    if not options.fix:
        begun = time.monotonic()
        noted = _noted(targets, options, machine)
        result = yield from _checked(targets, rules, context)
        if noted is not None:
            noted.keep(
                {
                    **result.to_json(),
                    "keys": [finding.key for finding in result.findings],
                    "touched": [_touched(finding) for finding in result.findings],
                    "seconds": round(time.monotonic() - begun, 2),
                }
            )
        return result
    with held(*(undo_root(target.path) for target in targets), what="check --fix"):
        return (yield from _fixed(targets, rules, context, only))


def _noted(targets: Sequence[Target], options: CheckOptions, machine: Machine | None) -> Noted | None:
    """Return where the result of a plain check of one project is kept for who asks next; None for any other check."""
    if machine is not None or options.given() or [target.kind for target in targets] != ["project"]:
        return None
    return Noted(undo_root(targets[0].path), "check")


def _touched(finding: Finding) -> list[str]:
    """Return the first files that a finding's repair would change."""
    edits = finding.fix.edits if finding.fix else ()
    return [str(edit.path) for edit in edits[:MOST_TOUCHED]]


def _fixed(
    targets: Sequence[Target], rules: Sequence[Rule], context: Context, only: frozenset[str]
) -> Stage[CheckResult]:
    """Repair what can be, and look again until nothing more can."""
    result = yield from _checked(targets, rules, context)
    fixed: list[Applied] = []
    troubles: dict[Problem, None] = {}
    session = uuid4().hex
    lengths = Lengths()
    for _ in range(MAX_FIX_ROUNDS):
        lengths.note(result.findings)
        applied = [
            done
            for target in targets
            for done in apply_fixes(
                _within([f for f in result.findings if not only or f.key in only], target, targets),
                undo_root(target.path),
                session=session,
                on_trouble=troubles.setdefault,
            )
        ]
        if not applied:
            break
        fixed += applied
        yield from (Message(f"repaired: {done.code} {done.summary}") for done in applied)
        result = yield from _checked(targets, rules, context)
    yield from lengths.messages()
    yield from (Message(f"not repaired: {problem}", "warning") for problem in troubles)
    return replace(result, fixed=tuple(fixed))


def undo(paths: Sequence[Path | str]) -> tuple[Path, ...]:
    """Take back the latest repairs at each of `paths`; return the files that are again as they were."""
    return tuple(
        file
        for target in _identified(paths)
        for file in undo_change(undo_root(target.path), kinds=(KIND,)).restored
    )


def undo_root(path: Path) -> Path:
    """Return the folder whose journal holds the repairs made at `path`."""
    return path if path.is_dir() else path.parent


def _identified(paths: Sequence[Path | str]) -> tuple[Target, ...]:
    targets: list[Target] = []
    problems: list[Problem] = []
    if not paths:
        problems.append(Problem("check", "no path given", "something to check", "maquette check PATH"))
    for path in dict.fromkeys(Path(path) for path in paths):
        try:
            targets.append(identify(path))
        except MaquetteError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tuple(targets)


def _context(options: CheckOptions, machine: Machine | None) -> Context:
    from maquette.project.machine_look import look_at_machine, read_machine
    from maquette.project.profile_file import read_profile

    is_told = machine is not None or options.machine is not None
    if machine is None:
        machine = read_machine(options.machine) if options.machine is not None else look_at_machine()
    profile = read_profile(options.profile) if options.profile is not None else None
    return Context(
        machine=machine,
        profile=profile,
        trainer=options.trainer,
        is_told=is_told,
        trigger=options.trigger,
    )


def _checked(targets: Sequence[Target], rules: Sequence[Rule], context: Context) -> Stage[CheckResult]:
    """Look at every target once and ask the rules."""
    yield Started("check", len(targets), "path")
    findings: dict[tuple[Any, ...], Finding] = {}
    ran: set[str] = set()
    notes: list[str] = []
    looked: list[str] = []
    seen_pictures: set[Path] = set()
    for done, target in enumerate(targets, start=1):
        for scope in (yield from scopes_of(target, context)):
            found, codes = run_rules(_heard(rules, scope), scope.all_facts())
            findings |= {
                (f.code, f.path, f.place, f.message): f
                for f in found
                if scope.hears_hints or f.severity != "hint"
            }
            ran.update(codes)
            notes += scope.notes
            looked.append(", ".join(looked_at(scope)))
            seen_pictures.update(_pictures_of(scope.facts))
        yield Progress("check", done, len(targets), "path")
    if not ran and len(rules) < len(all_rules()) and not findings:
        raise ConfigError(_no_rule_asked(rules, looked))
    yield Finished("check")
    return CheckResult(
        findings=tuple(worst_first(list(findings.values()))),
        targets=tuple(targets),
        rules_run=tuple(sorted(ran)),
        num_pictures=len(seen_pictures),
        looked_at=tuple(dict.fromkeys(each for each in looked if each)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _no_rule_asked(rules: Sequence[Rule], looked: Sequence[str]) -> Problem:
    """Return the problem of a choice of rules of which none is about what was given: no finding would mean nothing."""
    codes = ", ".join(rule.code for rule in rules[:3]) + (" …" if len(rules) > 3 else "")
    given = f"{codes or 'no rule'}, none of which is about {'; '.join(looked) or 'what was given'}"
    return Problem(
        "--select and --ignore", given, "a rule that can be asked", "List them: maquette check --rules"
    )


def _heard(rules: Sequence[Rule], scope: Scope) -> Sequence[Rule]:
    """Return the rules that can be asked of it, without those that the project has silenced."""
    if scope.only:
        rules = [rule for rule in rules if rule.code.startswith((*scope.only, "CHK"))]
    if not scope.ignore:
        return rules
    return chosen({rule.code: rule for rule in rules}, (), _known(scope.ignore, rules))


def _known(names: Iterable[str], rules: Sequence[Rule]) -> list[str]:
    """Return the names that mean one of `rules`: a selection may leave out what a project silences. Raises for others."""
    every = all_rules()
    chosen(every, (), names)
    codes = {rule.code for rule in rules}
    return [name for name in names if codes & {rule.code for rule in chosen(every, (name,))}]


def _pictures_of(facts: Mapping[type, Any]) -> set[Path]:
    found = facts.get(DatasetFacts)
    return {picture.path for picture in (*found.pictures, *found.regularization)} if found else set()


def _within(findings: Sequence[Finding], target: Target, targets: Sequence[Target]) -> list[Finding]:
    """Return the repairable findings that belong to `target`'s journal; with one target, all of them."""
    if len(targets) == 1:
        return [finding for finding in findings if finding.fixable]
    root = undo_root(target.path).absolute()
    return [f for f in findings if f.fixable and f.path and f.path.absolute().is_relative_to(root)]

"""Changed settings looked at before they are written: what is wrong with them, what the rules say, what the run would take."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette.errors import MaquetteError, Problem
from maquette.findings.records import Finding
from maquette.planning.options import PlanOptions
from maquette.planning.requests import kind_of
from maquette.planning.run import PlanResult, plan
from maquette.project.profile_file import profile_near
from maquette.project.settings import SECTION_OF
from maquette.project.settings_edit import tried
from maquette.rules.verdict import GROUPS, heard, machine_here

WORDS = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What changed settings come to."""

    problems: tuple[Problem, ...]
    """Why they are no settings, or why no run can be planned with them."""
    findings: tuple[Finding, ...]
    plan: PlanResult | None
    changed: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)
    """What was typed, by setting."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values; each problem and finding with the setting that it is about, empty where it is about none."""
        return {
            "problems": [{**vars(each), "setting": self._setting_of(each)} for each in self.problems],
            "findings": [{**each.to_json(), "setting": setting_in(each.place)} for each in self.findings],
            "plan": self.plan.to_json() if self.plan else None,
            "changed": list(self.changed),
        }

    def _setting_of(self, problem: Problem) -> str:
        """Return the setting that a problem is about: the one it names, else the one whose value it names."""
        named = (name for name, value in self.given.items() if value and str(value) == problem.where)
        return setting_in(problem.where) or next(named, "")


def try_settings(project: Path, changes: Mapping[str, Any], options: PlanOptions | None = None) -> Tried:
    """Return what a project's settings with `changes` come to (`project.settings_edit.tried`); nothing is written."""
    options = options or PlanOptions()
    try:
        edited = tried(project, changes)
    except MaquetteError as error:
        return Tried(problems=tuple(error.problems), findings=(), plan=None, given=changes)
    settings = edited.settings
    problems: Sequence[Problem] = ()
    planned = None
    try:
        planned = plan(settings, PlanOptions.made_from(options, {"kind": kind_of(project, options.kind)}))
    except MaquetteError as error:
        problems = error.problems
    known: list[Any] = [machine_here()]
    if planned is not None:
        known += [planned.info, planned.schedule, planned.memory, planned.facts]
    try:
        known.append(profile_near(settings.dataset.images))
    except MaquetteError as error:
        problems = (*problems, *error.problems)
    findings = heard(settings, GROUPS, *known, with_hints=True)
    return Tried(
        problems=tuple(problems),
        findings=tuple(findings),
        plan=planned,
        changed=edited.changed,
        given=changes,
    )


def setting_in(place: str) -> str:
    """Return the setting that a place names (`[training] steps`, `--steps`, `FILE [training] steps`), else nothing."""
    words = WORDS.findall(place.replace("-", "_").replace("__", " "))
    return next((word for word in reversed(words) if word in SECTION_OF), "")

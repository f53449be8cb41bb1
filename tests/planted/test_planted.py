"""Every rule finds its planted fault, and says nothing on clean cases and close calls."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path
from typing import get_args

import pytest

import maquette
from maquette.checking.options import CheckOptions
from maquette.checking.run import CheckResult, check_events
from maquette.events import run_stage
from maquette.findings.registry import PAGE_PARTS
from maquette.rules.catalogue import GROUPS, RULE_MODULES, all_rules
from tests.planted.case import PLANTED, Case, Planted, Start
from tests.planted.clean import clean_case, write_material

MODULES = (
    "steps",
    "environment",
    "model",
    "pictures",
    "masks",
    "captions",
    "lists",
    "settings",
    "logs",
    "lora_files",
    "whole",
)
for module in MODULES:
    importlib.import_module(f"tests.planted.{module}")


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(autouse=True)
def quiet_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cases share one cache of measures, which is not the user's."""
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def checked(case: Case) -> CheckResult:
    """Return what a check of the case finds, as it would from the case's own folder."""
    here = Path.cwd()
    os.chdir(case.folder)
    try:
        options = CheckOptions(profile=case.profile, trainer=case.trainer)
        return run_stage(check_events(case.paths, options, machine=case.machine))
    finally:
        os.chdir(here)


def told(result: CheckResult) -> str:
    return "\n".join(f"{f.severity} {f.code} {f.where}: {f.message}" for f in result.findings)


@pytest.mark.parametrize("start", get_args(Start))
def test_a_clean_case_raises_nothing(start: Start, tmp_path: Path, material: Path) -> None:
    result = checked(clean_case(tmp_path / "case", start, material))
    assert not result.findings, told(result)
    assert result.rules_run, "a check that runs no rule proves nothing"


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: f"{p.code}: {p.description}")
def test_planted(planted: Planted, tmp_path: Path, material: Path) -> None:
    """A fault makes its rule speak and no other; a close call leaves all silent."""
    case = clean_case(tmp_path / "case", planted.start, material)
    planted.plant(case)
    result = checked(case)
    codes = {finding.code for finding in result.findings}
    if planted.kind == "close call":
        assert not codes, told(result)
    else:
        assert codes == {planted.code, *planted.also}, told(result) or "nothing was found"


def test_every_module_of_rules_is_in_the_catalogue() -> None:
    package = Path(maquette.__file__).parent
    modules = {
        f"maquette.rules.{path.stem}"
        for path in (package / "rules").glob("*.py")
        if re.search(r"^@rule\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert modules == set(RULE_MODULES)


def test_every_rule_has_a_fault_and_a_close_call() -> None:
    kinds = {code: {p.kind for p in PLANTED if p.code == code} for code in all_rules()}
    bare = {code: kinds[code] for code in kinds if kinds[code] != {"fault", "close call"}}
    assert not bare, bare


def test_every_rule_has_a_whole_page() -> None:
    """Summary, why, how it is found, what to do, an example and what to write instead, source: the documentation is made
    of nothing else. A rule says since which release it is there, and what its repair does where it has one.
    """
    for rule in all_rules().values():
        assert rule.group in GROUPS
        assert rule.summary.endswith("."), f"{rule.code}: {rule.summary!r}"
        missing = set(PAGE_PARTS) - {part for part, text in rule.parts.items() if text}
        assert not missing, f"{rule.code} lacks {missing}"
        assert re.fullmatch(r"\d+\.\d+", rule.since), rule.code
        assert rule.repair == "none" or "fix" in inspect.getsource(rule.function), rule.code


def test_names_of_rules_are_unique() -> None:
    names = [rule.name for rule in all_rules().values()]
    assert len(names) == len(set(names))

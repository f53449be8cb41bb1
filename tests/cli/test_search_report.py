"""`maquette search report`: one JSON value with the answer, the same in words, and one line for what is no study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import maquette
from maquette.cli.search_report import command
from tests.searching.planted import planted_study
from tests.searching.test_report import project_with


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_with(tmp_path_factory.mktemp("searched"), planted_study(trials=12))


def test_the_answer_is_one_json_value_with_report_best_and_verdict(project: Path) -> None:
    ran = CliRunner().invoke(command, [str(project), "--json"])
    assert ran.exit_code == 0
    found = json.loads(ran.stdout)
    assert Path(found["report"]).is_file() and Path(found["settings"]).is_file()
    assert isinstance(found["best"]["settings"], dict) and isinstance(found["best"]["value"], float)
    assert found["beats_baseline"] in (True, False, None)
    assert len(found["interval"]) == 2 and found["comparison"]["seeds"] == 3


def test_a_person_reads_the_verdict_and_where_everything_lies(project: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    ran = CliRunner().invoke(command, [str(project / "search" / "study-001"), "--output", str(page)])
    assert ran.exit_code == 0 and page.is_file()
    record = maquette.search_report(project).record
    assert record.comparison is not None and record.comparison.told in ran.stdout
    assert f"Report: {page}" in ran.stdout and "best/maquette.toml" in ran.stdout


def test_what_is_no_study_ends_with_two_and_one_line(tmp_path: Path) -> None:
    ran = CliRunner().invoke(command, [str(tmp_path), "--json"])
    assert ran.exit_code == 2
    assert "error" in json.loads(ran.stdout)
    assert ran.stderr.count("\n") == 1 and "maquette search" in ran.stderr

"""The Search page: what a search would take, its trials as they come, its report in a sandbox, its settings put to use."""

from __future__ import annotations

import http.client
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maquette.errors import ConfigError
from maquette.project.config_file import load_settings
from maquette.searches import search_outlook
from maquette.searching.opening import is_taken
from maquette.searching.options import SearchOptions
from maquette.searching.places import known_study, studies_of
from maquette.searching.records import StudyRecord
from maquette.searching.report import search_report
from maquette.searching.storage import open_storage, storage_url
from maquette.searching.telling import study_json
from tests.searching.making import toy_project
from tests.searching.planted import planted_study

from .conftest import Served


@pytest.fixture(autouse=True)
def own_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def planted() -> StudyRecord:
    return planted_study(trials=12, finalists=1, seeds=3)


@pytest.fixture
def searched(served: Served, planted: StudyRecord) -> Path:
    """The folder of a finished study of the served project, with a report."""
    folder = served.project / "search" / "study-001"
    folder.mkdir(parents=True)
    replace(planted, study="study-001", state="finished").write(folder)
    return folder


def test_a_search_is_shown_as_the_command_line_tells_it(
    served: Served, searched: Path, planted: StudyRecord
) -> None:
    (listed,) = served.api("searches").table["studies"]
    assert (listed["name"], listed["state"], listed["asked"]) == (
        "study-001",
        "finished",
        planted.trials_asked,
    )
    told = served.api("searches/study-001").table
    known = json.loads(json.dumps(study_json(replace(planted, study="study-001", state="finished"))))
    assert {name: told[name] for name in known} == known
    assert [row["number"] for row in told["rows"]] == [each.number for each in planted.trials]
    refused = next(row for row in told["rows"] if row["state"] == "refused")
    assert refused["note"]  # the reason, in words
    assert told["headline"] and told["told"]
    assert (told["is_at_work"], told["job"]) == (False, None)


@pytest.mark.parametrize("name", ["..", "%2e%2e", "nowhere", "..%2f..%2fimages", "%00"])
def test_only_searches_of_the_project_are_shown(served: Served, searched: Path, name: str) -> None:
    for path in (f"searches/{name}", f"searches/{name}/stream"):
        assert served.api(path).status == 404
    assert served.ask(f"/p/{served.key}/search/{name}/report").status == 404
    assert served.api(f"searches/{name}/use", {}).status == 404


def test_a_killed_search_does_not_look_as_if_it_ran(
    served: Served, searched: Path, planted: StudyRecord
) -> None:
    trials = (*planted.trials[:3], replace(planted.trials[3], state="running", value=None))
    replace(planted, study="study-001", state="running", trials=trials, best=None).write(searched)
    told = served.api("searches/study-001").table
    assert told["state"] == "stopped"
    assert told["rows"][3]["told"] == "left"


def test_a_report_runs_as_nobody(served: Served, searched: Path) -> None:
    assert served.ask(f"/p/{served.key}/search/study-001/report").status == 404  # none was written yet
    assert served.api("searches/study-001/report", {}).table == {"report": True}
    answer = served.ask(f"/p/{served.key}/search/study-001/report")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts;")
    assert "default-src 'none'" in policy
    assert not {"allow-same-origin", "connect-src", "allow-forms", "allow-popups"} & set(policy.split())
    assert b"study-001" in answer.body


def test_the_page_hears_when_a_search_changes_and_not_otherwise(
    served: Served, searched: Path, planted: StudyRecord
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
    connection.request("GET", f"/api/p/{served.key}/searches/study-001/stream", headers={"Host": "localhost"})
    lines = (line for line in connection.getresponse() if line.startswith(b"data:"))
    first = next(lines)
    replace(planted, study="study-001", state="stopped").write(searched)
    assert next(lines) != first
    connection.close()


def test_what_is_recommended_becomes_the_projects_own_and_is_taken_back(
    served: Served, searched: Path
) -> None:
    file = served.project / "maquette.toml"
    before = file.read_bytes()
    told = served.api("searches/study-001").table
    wanted = {each["name"] for each in told["recommended"]["changes"] if each["is_other"]}
    assert wanted and told["undo"] == ""
    answer = served.api("searches/study-001/use", {}).table
    assert {name.replace("_", " ") for name in answer["changed"]} >= {"rank", "learning rate"}
    settings = load_settings(served.project)
    assert settings.lora.rank == told["best"]["settings"]["rank"]
    assert settings.training.learning_rate == pytest.approx(told["best"]["settings"]["learning_rate"])
    again = served.api("searches/study-001").table
    assert not any(each["is_other"] for each in again["recommended"]["changes"])
    assert served.api("searches/undo", {}).table["undone"]
    assert file.read_bytes() == before
    assert served.api("searches/study-001/use", {}, page=False).status == 403


def test_where_the_baseline_stands_its_own_values_are_shown(
    served: Served, searched: Path, planted: StudyRecord
) -> None:
    first = replace(planted.trials[0], params={}, settings={}, value=0.0)
    trials = (first, *(each for each in planted.trials[1:] if each.role != "finalist"))
    replace(planted, study="study-001", state="finished", trials=trials).write(searched)
    told = served.api("searches/study-001").table
    assert told["best"]["is_baseline"]
    rows = told["recommended"]["changes"]
    assert {"rank", "learning rate"} <= {each["name"] for each in rows}
    assert all(each["before"] == each["after"] for each in rows)
    page = search_report(searched).report.read_text(encoding="utf-8")
    assert "<td>learning rate" in page or "learning rate</" in page


def test_the_price_stands_before_the_start_and_what_cannot_be_is_said(served: Served, tmp_path: Path) -> None:
    shutil.rmtree(served.project / "images")
    (served.project / "maquette.toml").unlink()
    toy_project(served.project, steps=6)
    told: dict[str, Any] = served.api("searches/outlook?trials=7&pack=2").table
    known = search_outlook(served.project, SearchOptions(trials=7, pack=2))
    for name in ("trials", "pack", "trainings", "disk_bytes"):
        assert told[name] == known.to_json()[name]
    assert told["price"].startswith("7 trials")
    assert [each["name"] for each in told["parameters"]] == [each.name for each in known.space.parameters]
    assert all(each["words"] for each in told["parameters"]) and len(told["refused"]) >= 7
    for query in ("trials=0", "trials=x", "trials=99999999999", "pack=100"):
        assert served.api(f"searches/outlook?{query}").status == 400, query
    refused = served.api("searches", {"trials": 1, "pack": 0})
    assert refused.status == 400
    assert "pack" in json.dumps(refused.table)
    assert served.ask("/api/jobs").table == {"jobs": []}
    (served.project / "maquette.toml").write_text("[lora]\nrankk = 3\n", encoding="utf-8")
    assert "rankk" in json.dumps(served.api("searches/outlook").table)


def test_a_search_that_was_hardly_begun_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "search" / "study-001"
    folder.mkdir(parents=True)
    open_storage(storage_url(folder, None))  # killed here: nothing is asked for yet
    assert studies_of(tmp_path) == []
    assert not is_taken(folder)
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert is_taken(folder)
    with pytest.raises(ConfigError):
        known_study(tmp_path, None)

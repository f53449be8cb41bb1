"""Settings tried before they are written: the words of the command line, at the setting that they are about."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.errors import MaquetteError
from maquette.planning.options import PlanOptions
from maquette.planning.run import plan
from maquette.planning.trying import setting_in, try_settings
from maquette.project.config_file import load_settings
from maquette.project.form import form_fields
from maquette.project.noted import Noted
from maquette.project.settings import SECTION_OF
from tests.studio.conftest import make_project

QUICK = PlanOptions(measure=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project", [f"{number}.png" for number in range(4)])


def test_what_cannot_be_read_is_told_at_its_setting_as_the_command_line_tells_it(project: Path) -> None:
    with pytest.raises(MaquetteError) as told:
        load_settings(project, {"rank": "many"})
    found = try_settings(project, {"rank": "many"}, QUICK).to_json()
    (problem,) = found["problems"]
    assert problem["setting"] == "rank"
    assert problem["given"] == told.value.problems[0].given
    assert problem["required"] == told.value.problems[0].required
    assert found["plan"] is None


def test_the_plan_is_that_of_the_changed_settings_and_rules_stand_at_their_settings(project: Path) -> None:
    before = (project / "maquette.toml").read_bytes()
    found = try_settings(project, {"steps": "40", "batch_size": "2", "learning_rate": "0.5"}, QUICK)
    assert found.plan is not None
    changed = {"steps": 40, "batch_size": 2, "learning_rate": 0.5}
    planned = plan(load_settings(project, changed), QUICK)
    assert (found.plan.schedule, found.plan.memory) == (planned.schedule, planned.memory)
    assert found.plan.checkpoints == planned.checkpoints
    assert ("SET002", "learning_rate") in {(f["code"], f["setting"]) for f in found.to_json()["findings"]}
    assert found.changed == ("steps", "batch_size", "learning_rate")
    assert (project / "maquette.toml").read_bytes() == before


def test_a_base_that_is_not_there_is_told_at_the_base(project: Path) -> None:
    found = try_settings(project, {"base": "nowhere.safetensors"}, QUICK).to_json()
    assert [problem["setting"] for problem in found["problems"]] == ["base"]


def test_a_place_names_its_setting() -> None:
    assert setting_in("[training] learning_rate") == "learning_rate"
    assert setting_in("--learning-rate") == "learning_rate"
    assert setting_in("/a/rank/maquette.toml [lora] alpha") == "alpha"
    assert setting_in("line 12") == ""


def test_every_setting_is_a_field_of_the_form_and_says_what_it_is() -> None:
    fields = {field.name: field for field in form_fields()}
    assert list(fields) == list(SECTION_OF)
    assert all(field.help and field.asks for field in fields.values())
    assert (fields["rank"].kind, fields["rank"].bounds) == ("whole", {"ge": 1, "le": 1024})
    assert fields["sample_prompts"].kind == "list"
    assert fields["warmup_steps"].kind == "text"  # 10% is meant too
    assert "dora" in fields["adapter"].choices


def test_what_was_noted_holds_until_something_of_the_project_changes(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    assert Noted(project, "plan").recall() is None
    Noted(project, "plan").keep({"steps": 4})
    kept = Noted(project, "plan").recall()
    assert kept is not None and kept.is_fresh and kept.value == {"steps": 4}
    assert Noted(project, "check").recall() is None
    (project / "images" / "0.txt").write_text("tovaki", encoding="utf-8")
    stale = Noted(project, "plan").recall()
    assert stale is not None and not stale.is_fresh

"""The Plan page: the command line's plan, every setting of the records, tried as one types, saved with undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maquette.planning.options import PlanOptions
from maquette.planning.run import plan
from maquette.project.config_file import load_settings
from maquette.project.settings import SECTION_OF

from .conftest import Served, make_project, serving


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A studio with a small project whose settings carry comments."""
    monkeypatch.setenv("MAQUETTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MAQUETTE_HOME", str(tmp_path / "state"))
    project = make_project(tmp_path / "project", [f"{number}.png" for number in range(4)], side_px=64)
    file = project / "maquette.toml"
    added = "resolution = 64\n\n[lora]\nrank = 4  # small\n\n# how long\n[training]\nsteps = 40\n"
    file.write_text(file.read_text(encoding="utf-8") + added, encoding="utf-8")
    yield from serving(project, tmp_path / "home")


def text_of(served: Served) -> str:
    return (served.project / "maquette.toml").read_text(encoding="utf-8")


def test_the_form_is_made_from_the_records_and_says_where_values_come_from(planned: Served) -> None:
    told = planned.api("settings").table
    assert [field["name"] for field in told["fields"]] == list(SECTION_OF)
    assert told["values"]["rank"] == {"value": 4, "comment": "small"}
    assert "alpha" not in told["values"]
    assert set(told["first"]) <= set(SECTION_OF)


def test_the_plan_is_the_command_lines_and_is_kept_for_the_rail(planned: Served) -> None:
    assert planned.api("rail").table["plan"]["state"] == ""
    answer = planned.api("try-settings", {"changes": {}, "measure": True}).table
    made = plan(load_settings(planned.project), PlanOptions(measure=False)).to_json()
    assert {name: answer["plan"][name] for name in ("steps", "checkpoints", "memory", "sum")} == {
        name: made[name] for name in ("steps", "checkpoints", "memory", "sum")
    }
    assert answer["plan"]["terms"] == [[4, 1]]
    assert answer["plan"]["words"]["time"]
    assert planned.api("rail").table["plan"]["state"] == "done"
    assert planned.api("settings").table["kept"]["plan"]["steps"] == 40


def test_what_is_typed_is_tried_and_not_written(planned: Served) -> None:
    before = text_of(planned)
    wrong = planned.api("try-settings", {"changes": {"rank": "many"}, "measure": False}).table
    assert [(each["setting"], each["required"]) for each in wrong["problems"]] == [
        ("rank", "a whole number from 1 to 1,024")
    ]
    bold = planned.api(
        "try-settings", {"changes": {"learning_rate": "0.5", "steps": None, "epochs": "3"}, "measure": False}
    ).table
    assert ("SET002", "learning_rate") in {(each["code"], each["setting"]) for each in bold["findings"]}
    assert bold["plan"]["steps"] == 12
    assert planned.api("try-settings", {"changes": {"rnak": "4"}, "measure": False}).status == 400
    assert text_of(planned) == before


def test_saving_keeps_comments_and_undo_takes_it_back(planned: Served) -> None:
    before = text_of(planned)
    mark = planned.api("settings").table["mark"]
    body = {
        "changes": {"rank": "8", "sample_prompts": ["tovaki", "tovaki, outdoors"]},
        "expected": mark,
        "what": "",
    }
    saved = planned.api("settings", body).table
    assert saved["changed"] == ["rank", "sample_prompts"]
    assert "rank = 8  # small" in text_of(planned)
    assert load_settings(planned.project).samples.sample_prompts == ("tovaki", "tovaki, outdoors")
    assert planned.api("undo-settings", {}).table["undo"] == ""
    assert text_of(planned) == before
    refused = planned.api("settings", {**body, "changes": {"rank": "0"}})
    assert refused.status == 400 and text_of(planned) == before


def test_who_saves_over_another_tabs_change_is_told_and_nothing_is_lost(planned: Served) -> None:
    mark = planned.api("settings").table["mark"]
    first = planned.api("settings", {"changes": {"rank": "8"}, "expected": mark, "what": ""}).table
    second = planned.api("settings", {"changes": {"steps": "80"}, "expected": mark, "what": ""}).table
    assert "changed since" in second["changed_since"]
    assert second["values"]["rank"]["value"] == 8 and second["mark"] == first["mark"]
    assert load_settings(planned.project).training.steps == 40
    again = planned.api(
        "settings", {"changes": {"steps": "80"}, "expected": second["mark"], "what": ""}
    ).table
    assert again["changed"] == ["steps"]
    settings = load_settings(planned.project)
    assert (settings.lora.rank, settings.training.steps) == (8, 80)


def test_a_remedy_is_the_settings_that_make_it_fit(planned: Served) -> None:
    changes = {
        "base": "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "resolution": "1024",
        "batch_size": "64",
    }
    found = planned.api("try-settings", {"changes": changes, "measure": False}).table["plan"]
    remedies = [each for each in found["changes"] if each["applies"]]
    assert not found["memory"]["fits"] and remedies
    for remedy in remedies:
        changes = {**changes, **remedy["values"]}
    after = planned.api("try-settings", {"changes": changes, "measure": False}).table["plan"]
    assert after["memory"]["needed_bytes"] <= remedies[-1]["needed_bytes"] * 1.01


def test_a_preset_writes_its_settings_with_their_reasons(planned: Served) -> None:
    mark = planned.api("settings").table["mark"]
    used = planned.api("use-preset", {"name": "character-few", "expected": mark}).table
    assert "rank" in used["changed"]
    assert used["values"]["rank"]["comment"].startswith("character-few: ")
    assert planned.api("use-preset", {"name": "nothing", "expected": used["mark"]}).status == 400
    assert planned.api("undo-settings", {}).table["what"] == "the settings of character-few"

"""The report of a search: what it says in each case, what it writes beside itself, and that what is written trains."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from maquette.errors import ConfigError
from maquette.project.config_file import load_settings
from maquette.searching.plots import FIFTHS, fifths
from maquette.searching.records import RESULTS_NAME, SearchTrial, StudyRecord, read_study
from maquette.searching.report import BLOCK_ID, SearchReport, search_report, study_at
from maquette.world.pack import base_path
from tests.searching.planted import BEST_RATE, planted_study

PROJECT = """\
[subject]
trigger = "tovaki"
[model]
base = "{base}"
[lora]
rank = 8
alpha = 4
[training]
steps = 300
learning_rate = 1e-4
"""


def project_with(tmp_path: Path, record: StudyRecord, base: str = "") -> Path:
    project = tmp_path / "my-project"
    (project / "images").mkdir(parents=True)
    (project / "maquette.toml").write_text(PROJECT.format(base=base or base_path()), encoding="utf-8")
    study = project / "search" / record.study
    study.mkdir(parents=True)
    record.write(study)
    return project


@pytest.fixture(scope="module")
def planted() -> StudyRecord:
    return planted_study(trials=40)


@pytest.fixture(scope="module")
def written(planted: StudyRecord, tmp_path_factory: pytest.TempPathFactory) -> SearchReport:
    return search_report(project_with(tmp_path_factory.mktemp("searched"), planted))


def page_of(found: SearchReport) -> str:
    return found.report.read_text(encoding="utf-8")


class _Outside(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "br", "img", "link", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_in_itself_and_its_block_is_the_record(
    written: SearchReport, planted: StudyRecord
) -> None:
    page = page_of(written)
    reader = _Outside()
    reader.feed(page)
    assert reader.addresses == [] and reader.open == []
    assert "url(" not in page and "@import" not in page
    block = page.split(f'id="{BLOCK_ID}">', 1)[1].split("</script>", 1)[0]
    found = json.loads(block)
    assert found["record"]["trials"] == json.loads(json.dumps(planted.to_json()))["trials"]
    assert found["best"]["trial"] == planted.best and found["beats_baseline"] is True


def test_a_planted_gain_is_found_said_and_recommended(written: SearchReport, planted: StudyRecord) -> None:
    page = page_of(written)
    assert "The best settings beat the baseline" in page
    assert planted.comparison is not None and planted.comparison.seeds == 3
    assert written.importances.found[0].name == "learning_rate"
    assert written.recommendation is not None
    rate = written.recommendation.trial.params["learning_rate"]
    assert isinstance(rate, float) and BEST_RATE / 2 < rate < BEST_RATE * 2


def test_the_recommended_settings_are_a_project_that_loads_as_the_best_trial(
    written: SearchReport, planted: StudyRecord
) -> None:
    assert written.settings is not None and planted.best_trial is not None
    own, found = load_settings(written.study.parent.parent), load_settings(written.settings.parent)
    wanted = planted.best_trial.settings
    assert {name: getattr(found.lora, name) for name in ("rank", "alpha", "dropout")} == {
        name: wanted[name] for name in ("rank", "alpha", "dropout")
    }
    assert found.training.learning_rate == wanted["learning_rate"]
    assert (found.training.epochs, found.training.steps) == (wanted["epochs"], None)
    assert found.subject == own.subject and found.model == own.model
    assert (found.dataset.images, found.saving.output) == (own.dataset.images, own.saving.output)
    text = written.settings.read_text(encoding="utf-8")
    assert re.search(r"learning_rate = \S+ +# found by the search; was 0.0001", text)
    assert "beat the baseline" in text.replace("\n# ", " ")


def test_every_trial_has_a_row_and_a_class_in_the_charts(written: SearchReport, planted: StudyRecord) -> None:
    page = page_of(written)
    numbers = [each.number for each in planted.trials if each.of is None]
    assert [f'data-trial="{number}"' in page for number in numbers] == [True] * len(numbers)
    finished = [each.number for each in planted.trials if each.of is None and each.state == "finished"]
    assert all(re.search(rf'class="dot [a-z0-9]+ t{number}"', page) for number in finished)
    told = fifths(planted)
    assert set(told.values()) == set(range(FIFTHS))
    assert told[min(finished, key=lambda number: planted.trial(number).value or 0)] == 0


def test_what_each_constraint_removed_is_counted_with_its_reason(
    written: SearchReport, planted: StudyRecord
) -> None:
    page = page_of(written)
    refused = [each for each in planted.trials if each.state == "refused"]
    assert refused and f"{len(refused)} proposals were refused" in page
    for name in {name for each in refused for name in each.refused_by}:
        count = sum(name in each.refused_by for each in refused)
        told = name.replace("_", " ")
        assert re.search(rf'bar-name">{told}</span>.*?bar-told">{count}</span>', page, re.DOTALL)
    assert "a high rate from the start makes gradients explode" in page


def test_the_settings_are_written_for_sd_scripts_too(written: SearchReport) -> None:
    folder = written.study / "kohya"
    text = (folder / "config.toml").read_text(encoding="utf-8")
    assert written.kohya.run is not None and written.kohya.run.script == "train_network.py"
    assert "network_dim = 8" in text and "max_train_epochs" in text
    assert (folder / "train.sh").read_text(encoding="utf-8").startswith("#!/bin/sh\naccelerate launch")
    assert "image_dir" in (folder / "dataset.toml").read_text(encoding="utf-8")


def test_noise_leaves_it_open_and_the_page_says_how_many_seeds_would_tell(tmp_path: Path) -> None:
    found = search_report(project_with(tmp_path, planted_study(trials=12, seed=3, noise=0.05)))
    assert found.record.beats_baseline is not True
    assert "The best settings beat the baseline" not in page_of(found)


@pytest.mark.parametrize("trials", [1, 3])
def test_of_few_trials_what_is_known_is_shown(trials: int, tmp_path: Path) -> None:
    found = search_report(project_with(tmp_path, planted_study(trials=trials, seed=1, finalists=0)))
    page = page_of(found)
    assert found.importances.method is None and "What mattered cannot be said" in page
    assert found.record.beats_baseline is None


def test_without_a_finished_trial_there_is_a_page_and_no_recommendation(tmp_path: Path) -> None:
    failed = SearchTrial(number=0, role="baseline", state="failed", error="<b>NaN</b> at step 3")
    record = replace(planted_study(trials=1), trials=(failed,))
    found = search_report(project_with(tmp_path, record))
    assert found.settings is None and found.to_json()["best"] is None
    assert "No trial was finished" in page_of(found)
    assert "<b>NaN</b>" not in page_of(found) and "&lt;b&gt;NaN" in page_of(found)


def test_a_project_that_is_gone_leaves_the_searched_settings_and_is_told(
    planted: StudyRecord, tmp_path: Path
) -> None:
    few = tuple(each for each in planted.trials if each.number in (0, planted.best))
    record = replace(planted, project=str(tmp_path / "gone"), trials=few)
    project = project_with(tmp_path, record)
    (project / "maquette.toml").unlink()
    found = search_report(project / "search" / planted.study)
    assert found.recommendation is not None and found.recommendation.problem
    assert found.settings is not None
    text = found.settings.read_text(encoding="utf-8")
    assert "found by the search" in text and "[model]" not in text


def test_a_study_is_found_by_its_project_its_folder_or_its_results(
    written: SearchReport, tmp_path: Path
) -> None:
    project = written.study.parent.parent
    for target in (project, written.study, written.study / RESULTS_NAME):
        assert study_at(target) == written.study
    with pytest.raises(ConfigError, match="no study was begun"):
        search_report(tmp_path)


def test_the_answer_as_json_has_what_it_is_asked_for(written: SearchReport) -> None:
    found = json.loads(json.dumps(written.to_json()))
    assert found["report"] == str(written.report) and Path(found["report"]).is_file()
    assert {"settings", "value"} <= found["best"].keys()
    low, high = found["interval"]
    assert low < found["comparison"]["difference"] < high < 0
    assert read_study(written.study).best == found["best"]["trial"]


def test_a_report_that_cannot_be_written_costs_a_search_nothing(tmp_path: Path, planted: StudyRecord) -> None:
    from maquette.events import Message
    from maquette.searching.search import _reported

    folder = project_with(tmp_path, planted) / "search" / planted.study
    (folder / "report.html" / "in-the-way").mkdir(parents=True)
    (told,) = _reported(folder)
    assert isinstance(told, Message) and told.level == "warning"
    assert f"maquette search report {folder}" in told.text
    assert read_study(folder).trials == planted.trials

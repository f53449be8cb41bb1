"""Opening a study: which one is meant, and what is told of one that cannot be opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.errors import ConfigError, OutputError
from maquette.project.config_file import load_settings
from maquette.rules.verdict import judge
from maquette.searching.opening import new_search, resumed_search
from maquette.searching.options import SearchOptions
from maquette.searching.places import known_study, new_name, studies_of
from maquette.searching.telling import sparkline, study_json, table
from tests.searching.making import TOY, toy_project


def test_a_study_is_opened_again_as_it_was_begun(tmp_path: Path) -> None:
    project = toy_project(tmp_path / "p")
    settings = load_settings(project)
    (tmp_path / "space.toml").write_text(TOY)
    options = SearchOptions(trials=4, seed=7, space=tmp_path / "space.toml", halving=2, finalists=0)
    begun = new_search(project, settings, options, judge)
    assert begun.folder == project / "search" / "study-001"
    assert (begun.folder / "space.toml").read_text() == TOY
    assert studies_of(project) == ["study-001"]
    assert new_name(project) == "study-002"
    again = resumed_search(project, settings, SearchOptions(trials=6), judge)
    assert again.study.plan.trials == 6
    assert (again.study.plan.seed, again.study.plan.reduction) == (7, 2)
    assert again.study.space.parameters == begun.study.space.parameters
    record = again.study.record()
    assert study_json(record)["trials"]["waiting"] == 1
    assert table(record)[1].split() == ["0", "waiting", "the", "project's", "own"]
    with pytest.raises(ConfigError, match="--seed"):
        resumed_search(project, settings, SearchOptions(seed=8), judge)
    with pytest.raises(OutputError, match="--resume"):
        new_search(project, settings, SearchOptions(study="study-001"), judge)
    other = load_settings(project, {"learning_rate": 1e-3})
    with pytest.raises(ConfigError, match="changed since"):
        resumed_search(project, other, SearchOptions(), judge)


def test_a_study_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no study was begun"):
        known_study(tmp_path, None)
    (tmp_path / "search" / "study-001").mkdir(parents=True)
    for name in ("study.db", "space.toml"):
        (tmp_path / "search" / "study-001" / name).touch()
    with pytest.raises(ConfigError, match="Did you mean 'study-001'"):
        known_study(tmp_path, "study-01")


def test_what_is_wrong_is_told_before_anything_is_written(tmp_path: Path) -> None:
    project = toy_project(tmp_path / "p")
    space = tmp_path / "space.toml"
    space.write_text('[space]\nmiddle = { choose = [4], layers = "MIDDLE" }\n')
    with pytest.raises(ConfigError, match="MIDDLE"):
        new_search(project, load_settings(project), SearchOptions(space=space), judge)
    with pytest.raises(ConfigError, match="--storage"):
        new_search(project, load_settings(project), SearchOptions(storage="nowhere://x"), judge)
    assert not studies_of(project)


def test_a_curve_is_bars_between_its_ends() -> None:
    assert sparkline([0.0, 0.5, 1.0], 0.0, 1.0) == "▁▅█"
    assert sparkline([2.0], 2.0, 2.0) == "▁"

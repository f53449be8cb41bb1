"""The study's record: what is written is read back, and what it counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.errors import OutputError
from maquette.searching.records import (
    RESULTS_NAME,
    Comparison,
    Point,
    SearchTrial,
    StudyRecord,
    read_study,
)


def study_of(*trials: SearchTrial) -> StudyRecord:
    return StudyRecord(
        study="study-001", project="/p", created_at="2026-11-26T12:00:00+00:00", space="", trials=trials
    )


def test_a_study_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    point = Point(step=10, loss=0.5, error=0.01)
    trials = (
        SearchTrial(number=0, role="baseline", state="finished", value=0.5, points=(point,)),
        SearchTrial(number=1, state="refused", params={"lr": 1e-3, "name": "a"}, refused_by=("too high",)),
        SearchTrial(number=2, role="finalist", state="running", of=0, seed=7, settings={"rank": 8}),
    )
    compared = Comparison(difference=-0.1, interval=(-0.2, 0.0), seeds=3, told="so")
    study = study_of(*trials)
    study = StudyRecord(
        **{**vars(study), "comparison": compared, "beats_baseline": True, "best": 0, "baseline": 0}
    )
    study.write(tmp_path)
    assert read_study(tmp_path) == study


def test_states_are_counted_without_refused_proposals_and_further_seeds() -> None:
    study = study_of(
        SearchTrial(number=0, role="baseline", state="finished"),
        SearchTrial(number=1, role="start", state="refused"),
        SearchTrial(number=2, role="start", state="pruned"),
        SearchTrial(number=3, state="failed"),
        SearchTrial(number=4, role="finalist", state="finished", of=0),
    )
    assert study.by_state() == {"finished": 1, "pruned": 1, "failed": 1}
    assert study.refused_share == pytest.approx(1 / 3)
    assert study.trial(4).settings_of == 0
    with pytest.raises(KeyError):
        study.trial(9)


def test_a_record_of_unknown_keys_is_refused(tmp_path: Path) -> None:
    study_of().write(tmp_path)
    text = (tmp_path / RESULTS_NAME).read_text()
    (tmp_path / RESULTS_NAME).write_text(text.replace('"pack"', '"packs"'))
    with pytest.raises(OutputError, match="packs"):
        read_study(tmp_path)

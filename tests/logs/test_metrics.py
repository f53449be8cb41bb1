"""The log of a run's steps: what is read back, what is dropped on resuming, TensorBoard only where it is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from maquette.errors import MissingExtra
from maquette.logs import metrics
from maquette.logs.metrics import MetricsLog, read_metrics, writes_tensorboard


def test_lines_after_the_step_that_is_resumed_from_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, None) as log:
        for step in range(1, 6):
            log.write(step, {"loss": 1 / step})
    path.write_text(path.read_text() + '{"step": 6, "lo')
    with MetricsLog(path, None, resume_step=3) as log:
        log.write(4, {"loss": 0.5})
    assert [(row["step"], row["loss"]) for row in read_metrics(path)] == [
        (1, 1),
        (2, 1 / 2),
        (3, 1 / 3),
        (4, 0.5),
    ]


def test_tensorboard_events_are_written_where_a_folder_is_given_and_nowhere_else(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    for name, events in (("with", tmp_path / "events"), ("without", None)):
        with MetricsLog(tmp_path / f"{name}.jsonl", events) as log:
            log.write(1, {"loss": 0.5, "note": "text is no scalar"})
    assert [path.name[:20] for path in (tmp_path / "events").iterdir()] == ["events.out.tfevents."]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events", "with.jsonl", "without.jsonl"]


def test_asking_for_tensorboard_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    assert writes_tensorboard(None) is False and writes_tensorboard(False) is False
    with pytest.raises(MissingExtra, match=r"maquette\[tensorboard\]"):
        writes_tensorboard(True)

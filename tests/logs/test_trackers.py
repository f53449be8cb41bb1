"""Laws of trackers: each keeps what it is told in its own files, two runs at once, resumed in place; none stops a run."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import maquette
from maquette.errors import MaquetteError
from maquette.events import Message
from maquette.logs import trackers
from maquette.logs.trackers import TRACKERS, Tracked, Trackers, require_trackers


def _run(folder: Path, name: str) -> Tracked:
    return Tracked(
        project="foxes",
        name=name,
        identity=f"{name}_1",
        settings={"lora.rank": 4},
        folder=folder,
        is_asked=True,
    )


def _tracked(tracker: str, folder: Path) -> None:
    """Write two runs side by side, then go on with the first."""
    pytest.importorskip(TRACKERS[tracker].package)
    both = [Trackers([tracker], _run(folder, name)) for name in ("one", "two")]
    for step in (1, 2):
        for number, each in enumerate(both):
            each.log(step, {"loss": 0.5 / step + number})
    for each in both:
        each.close()
    again = Trackers([tracker], _run(folder, "one"))
    again.log(3, {"loss": 0.1})
    again.close()
    assert [each.troubles() for each in (*both, again)] == [[], [], []]


def test_mlflow_keeps_runs_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _tracked("mlflow", tmp_path)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    runs = client.search_runs([client.get_experiment_by_name("foxes").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["one", "two"]
    (one,) = (run for run in runs if run.info.run_name == "one")
    history = client.get_metric_history(one.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25), (3, 0.1)]
    assert one.data.params["lora.rank"] == "4" and one.info.status == "FINISHED"


def test_trackio_keeps_runs_in_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    _tracked("trackio", tmp_path)
    (database,) = Path(trackers_home()).glob("foxes*.db")
    with sqlite3.connect(database) as file:
        rows = file.execute("SELECT run_name, step FROM metrics ORDER BY run_name, step").fetchall()
    assert rows == [("one", 1), ("one", 2), ("one", 3), ("two", 1), ("two", 2)]


def trackers_home() -> str:
    from trackio.utils import TRACKIO_DIR

    return str(TRACKIO_DIR)


def test_wandb_keeps_runs_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    _tracked("wandb", tmp_path)
    kept = sorted(path.name for path in tmp_path.rglob("run-*.wandb"))
    assert {"run-one_1.wandb", "run-two_1.wandb"} == set(kept)


def test_a_package_that_is_missing_is_named_with_its_command_before_anything_loads(
    short_run: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(MaquetteError, match=r"pip install 'maquette\[mlflow\]'"):
        maquette.train(**short_run(trackers=("mlflow",)))
    assert not (Path(short_run()["output"]) / "zkw").exists()
    monkeypatch.undo()
    require_trackers([name for name, kind in TRACKERS.items() if find_spec(kind.package)])


class _Failing:
    """Opens, takes one step, then fails as a full disk or a lost server would."""

    def __init__(self, run: Tracked) -> None:
        self.steps = 0

    def log(self, step: int, values: dict[str, float]) -> None:
        self.steps += 1
        if self.steps > 1:
            raise ConnectionError("the server is gone")

    def close(self) -> None:
        raise AssertionError("it was left out")


def test_a_tracker_that_fails_is_said_once_and_stops_nothing(
    short_run: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TRACKERS, "mlflow", trackers._Kind("json", _Failing))
    told: list[object] = []
    result = maquette.train(**short_run(steps=4, trackers=("mlflow",)), on_event=told.append)
    said = [event.text for event in told if isinstance(event, Message) and "mlflow" in event.text]
    assert len(said) == 1 and "ConnectionError: the server is gone" in said[0]
    assert result.record.state == "finished" and result.record.step == 4


def test_one_that_cannot_be_opened_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(run: Tracked) -> _Failing:
        raise PermissionError("no place")

    monkeypatch.setitem(TRACKERS, "wandb", trackers._Kind("json", never))
    monkeypatch.setitem(TRACKERS, "mlflow", trackers._Kind("json", _Failing))
    found = Trackers(["wandb", "mlflow"], _run(tmp_path, "one"))
    found.log(1, {"loss": 0.1})
    assert len(found.troubles()) == 1 and found.troubles() == []

"""Places beside the run's own files that show its curves: Trackio, Weights & Biases, MLflow.

Each is a package of its own behind one small protocol: opened for a run, told numbers, closed. None of them ever stops a run: the
first failure is said once, and the others go on. What is in `metrics.jsonl` is whole without them.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from maquette.errors import MissingExtra


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """The run that is shown: its name and project, its settings, and where files go."""

    project: str
    name: str
    identity: str
    """The same for the same run, resumed or not, and for no other."""
    settings: Mapping[str, Any]
    folder: Path
    is_asked: bool = False
    """Whether somebody named that folder: else a package that has a place of its own on this machine keeps to it."""


class Tracker(Protocol):
    """An opened tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to the curve of each value."""

    def close(self) -> None:
        """Write what is still to be written."""


class _Trackio:
    """Trackio: a SQLite file a project on this machine; `trackio show` draws it."""

    def __init__(self, run: Tracked) -> None:
        if run.is_asked:
            os.environ.setdefault("TRACKIO_DIR", str(run.folder.absolute() / "trackio"))
        import trackio

        def opened() -> Any:
            return trackio.init(
                project=run.project,
                name=run.name,
                config=dict(run.settings),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

        with _unheard():
            # A context of its own: else the run before, which another trial still writes, would be closed.
            self._run = contextvars.copy_context().run(opened)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with _unheard():
            self._run.log(dict(values), step=step)

    def close(self) -> None:
        with _unheard():
            self._run.finish()


class _Wandb:
    """Weights & Biases: files on this machine, sent with `wandb sync`, or at once where WANDB_MODE=online says so."""

    def __init__(self, run: Tracked) -> None:
        import wandb

        folder = run.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        with _unheard():
            self._run = wandb.init(
                project=run.project,
                name=run.name,
                id=run.identity,
                resume="allow",
                dir=str(folder),
                config=dict(run.settings),
                mode=os.environ.get("WANDB_MODE", "offline"),
                reinit="create_new",
                settings=wandb.Settings(silent=True),
            )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        with _unheard():
            self._run.finish()


class _Mlflow:
    """MLflow: a folder `mlruns` on this machine, or what MLFLOW_TRACKING_URI names."""

    def __init__(self, run: Tracked) -> None:
        # Recent releases keep runs in files only where they are told that this is meant.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        folder = run.folder.absolute() / "mlruns"
        uri = os.environ.get("MLFLOW_TRACKING_URI") or folder.as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name(run.project)
        experiment = known.experiment_id if known else self._client.create_experiment(run.project)
        again = self._client.search_runs([experiment], f"tags.maquette = '{run.identity}'", max_results=1)
        if again:
            self._id = again[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        made = self._client.create_run(experiment, run_name=run.name, tags={"maquette": run.identity})
        self._id = made.info.run_id
        for name, value in run.settings.items():
            self._client.log_param(self._id, name, str(value)[:500])

    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(
            self._id, [Metric(name, float(value), now, step) for name, value in values.items()]
        )

    def close(self) -> None:
        self._client.set_terminated(self._id, "FINISHED")


@dataclass(frozen=True)
class _Kind:
    package: str
    open: Callable[[Tracked], Tracker]


TRACKERS: dict[str, _Kind] = {
    "trackio": _Kind("trackio", _Trackio),
    "wandb": _Kind("wandb", _Wandb),
    "mlflow": _Kind("mlflow", _Mlflow),
}
"""By the name in `[saving] trackers`, which is also the extra that brings the package."""


def require_trackers(names: Sequence[str]) -> None:
    """Raise MissingExtra for a tracker whose package is not installed."""
    for name in names:
        if find_spec(TRACKERS[name].package) is None:
            raise MissingExtra(f"--trackers {name}", name)


class Trackers:
    """The trackers of one run, none of which can stop it."""

    def __init__(self, names: Sequence[str], run: Tracked) -> None:
        self._open: dict[str, Tracker] = {}
        self._troubles: list[str] = []
        for name in names:
            with self._kept(name):
                self._open[name] = TRACKERS[name].open(run)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Tell every tracker the numbers of a step."""
        for name, tracker in list(self._open.items()):
            with self._kept(name):
                tracker.log(step, values)

    def close(self) -> None:
        """Close every tracker."""
        for name, tracker in list(self._open.items()):
            with self._kept(name):
                tracker.close()
        self._open = {}

    def troubles(self) -> list[str]:
        """Return what went wrong since this was asked last, each tracker once: it is left out from then on."""
        told, self._troubles = self._troubles, []
        return told

    @contextlib.contextmanager
    def _kept(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever somebody else's package does, the run goes on
            self._open.pop(name, None)
            what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self._troubles.append(
                f"{name} failed and is left out from here on ({what}); metrics.jsonl has everything."
            )


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Keep what a package prints off the terminal: the last line of standard output is ours."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield

"""A director for tests: hands out what it is given, in order, and writes down all that it hears."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from maquette import devices
from maquette.drawing.samples import draw_samples
from maquette.events import Event, run_stage
from maquette.lora.adapter import LoraAdapter
from maquette.project.config_file import load_settings
from maquette.project.settings import Settings
from maquette.rules.verdict import judge
from maquette.runs.record import RunRecord
from maquette.training.pack import PackResult, PackTrial, run_pack


class Script:
    """Hands out `trials`; `prunes` says at which measurements (number, step) one is ended."""

    def __init__(
        self, trials: Sequence[PackTrial], *, prunes: Callable[[int, int], bool] = lambda number, step: False
    ) -> None:
        self.coming = list(trials)
        self.prunes = prunes
        self.told: list[tuple[int, int, float]] = []
        self.records: dict[int, RunRecord] = {}
        self.problems: dict[int, str] = {}
        self.gone: list[int] = []

    def next(self, free: int) -> Sequence[PackTrial]:
        given, self.coming = self.coming[:free], self.coming[free:]
        return given

    def measured(self, trial: PackTrial, step: int, loss: float, error: float | None) -> bool:
        self.told.append((trial.number, step, loss))
        return not self.prunes(trial.number, step)

    def finished(self, trial: PackTrial, record: RunRecord) -> None:
        assert trial.number not in self.records, "told once"
        self.records[trial.number] = record

    def failed(self, trial: PackTrial, problem: str) -> None:
        self.problems[trial.number] = problem

    def beat(self, trials: Sequence[PackTrial]) -> Sequence[int]:
        return self.gone


def double_precision(patch: pytest.MonkeyPatch) -> None:
    """Let bases and adapters hold float64 where float32 is asked for."""
    attach = LoraAdapter.attach

    def in_double(*given: Any, **more: Any) -> LoraAdapter:
        return attach(*given, **more).to(dtype=torch.float64)

    patch.setitem(devices.DTYPES, "no", torch.float64)
    patch.setattr(LoraAdapter, "attach", in_double)


def trials_of(
    folder: Path, settings: Sequence[dict[str, Any]], rungs: tuple[int, ...] = ()
) -> list[PackTrial]:
    """Return a trial for each of `settings`, each with a folder of its own below `folder`."""
    return [
        PackTrial(
            number=number,
            name=f"trial {number}",
            settings=load_settings(None, given),
            folder=folder / f"{number:03d}",
            rungs=rungs,
        )
        for number, given in enumerate(settings)
    ]


def run(
    director: Any, shared: Settings, places: int, *, until: Callable[[Event], bool] | None = None, **more: Any
) -> tuple[PackResult | None, list[Event]]:
    """Run a pack; where `until` is true of an event, leave it there."""
    events: list[Event] = []
    stage = run_pack(shared, director, places=places, judge=judge, draw=draw_samples, **more)
    if until is None:
        return run_stage(stage, events.append), events
    for event in stage:
        events.append(event)
        if until(event):
            stage.close()
            break
    return None, events

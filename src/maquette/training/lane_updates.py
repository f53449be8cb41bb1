"""The updates of a pack's lanes: all whose steps are full change their weights together, and one that cannot fails alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from maquette.training.batches import MicroBatch, Showing
from maquette.training.optimize import BrokenGradient

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.errors import TrainingError
    from maquette.families.protocol import BaseModel
    from maquette.training.config import TrialSettings
    from maquette.training.engine import StepResult
    from maquette.training.lane import Lane
    from maquette.training.lane_passes import LanePasses
    from maquette.training.objective import Rows


@dataclass(frozen=True)
class Updated:
    """What the updates came to: what each lane's step measured, and why others took none."""

    results: Mapping[Lane, StepResult]
    broken: Mapping[Lane, TrainingError]


def update(lanes: Sequence[Lane], passes: LanePasses) -> Updated:
    """Let the optimizers of `lanes`, whose steps are full, change their weights.

    A lane whose loss or gradients are no finite numbers changes none, and the cause is looked for.
    """
    losses = {lane: lane.loss() for lane in lanes}
    broken = {lane: _examined(lane, passes, loss) for lane, loss in losses.items() if not math.isfinite(loss)}
    sound = [lane for lane in lanes if lane not in broken]
    for lane in sound:
        lane.is_whole = False
    norms = _norms(sound)
    results = {lane: lane.stepped(losses[lane], norm) for lane, norm in norms.items() if norm is not None}
    for lane, norm in norms.items():
        if norm is None:
            lane.is_whole = True
            broken[lane] = _examined(lane, passes, None)
    return Updated(results, broken)


def _norms(lanes: Sequence[Lane]) -> dict[Lane, float | None]:
    """Update each lane's weights; return its gradient norm before clipping, None where it is no number and nothing changed."""
    norms: dict[Lane, float | None] = {}
    for lane in lanes:
        standing = lane.standing
        try:
            norms[lane] = standing.optimizer.update(lane.step, standing.scaler)
        except BrokenGradient:
            norms[lane] = None
    return norms


def _examined(lane: Lane, passes: LanePasses, loss: float | None) -> TrainingError:
    """Return why a lane's loss (None: its gradients) are no finite numbers."""
    one = _AsEngine(lane, passes)
    with passes.adapter.taking([lane.place]):
        return lane.broken_gradient(one) if loss is None else lane.broken_loss(one, loss)


class _AsEngine:
    """A lane as the engine of its own run would be looked through."""

    def __init__(self, lane: Lane, passes: LanePasses) -> None:
        self._lane, self._passes = lane, passes

    @property
    def model(self) -> BaseModel:
        return self._passes.model

    @property
    def placement(self) -> Placement:
        return self._passes.placement

    @property
    def trials(self) -> Sequence[TrialSettings]:
        return (self._lane.trial,)

    def parameters_of(self, trial: int) -> Mapping[str, nn.Parameter]:
        return self._lane.standing.parameters

    def rows(self, index: int, batch: MicroBatch) -> Rows:
        lane, passes = self._lane, self._passes
        passes.adapter.set_step(index, place=lane.place)
        showing = Showing(trial=lane.trial, index=index, batch=batch)
        return passes.passes_with(lane.texts).rows([showing])

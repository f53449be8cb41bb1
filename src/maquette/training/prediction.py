"""Whether the base predicts what it is trained for: measured on training pictures before the first step.

A denoiser that predicts the noise and is trained as if it predicted v (or the reverse) learns the difference between the two
and undoes itself. Nothing in an ordinary loss curve says so, but one look at the base alone does: its answers lie near one of
the two targets and far from the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from maquette.errors import Problem, TrainingError
from maquette.families.protocol import ModelInfo, Prediction
from maquette.spoken import counted
from maquette.training.base_prediction import BasePrediction
from maquette.training.randomness import generator_at

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel, Objective
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.batches import MicroBatch
    from maquette.training.texts import CaptionEncoder

SHARES = (0.5, 0.65)
"""Where in the schedule it is looked: between the ends, where the two targets differ and both can be told."""
MOST_SIDE = 32
"""So much of a latent is looked at, from its middle. What tells the targets apart is local: half-way through the schedule the
noise itself is more than half of what is shown, and a whole picture of 512 px would cost most of a training step."""
FAR, NEAR = 0.8, 0.6
"""The wrong target is missed by FAR of its power or more, the other by at most NEAR of that miss and of its own power."""
IN_WORDS = {"epsilon": "the noise (epsilon)", "v": "the velocity (v)"}


@dataclass(frozen=True)
class Misses:
    """By how much the base's answers miss each target: 0 is exact, 1 is what an answer of nothing misses it by."""

    asked: float
    others: dict[Prediction, float]

    @property
    def better(self) -> Prediction | None:
        """What the base predicts in place of what is asked; None where nothing says so."""
        if not self.others:
            return None
        other = min(self.others, key=lambda each: self.others[each])
        return other if self.asked > FAR and self.others[other] < NEAR * min(self.asked, 1.0) else None


class Predicting(Protocol):
    """What predicts: an engine, or a lane of a pack."""

    @property
    def model(self) -> BaseModel: ...

    @property
    def adapter(self) -> LoraAdapter: ...

    @property
    def placement(self) -> Placement: ...

    @property
    def texts(self) -> CaptionEncoder: ...


def require_prediction(engine: Predicting, info: ModelInfo, load: Callable[[], MicroBatch]) -> None:
    """Raise TrainingError, with the evidence, where the base plainly predicts something else than it is trained for.

    load: a batch of training pictures. Nothing is looked at where the base's own file says what is asked.
    """
    if info.prediction_stated == info.prediction or not engine.model.objective.rivals():
        return
    batch = load()
    misses = measured(engine, batch)
    better = misses.better
    if better is None:
        return
    looked_at = counted(min(len(batch.names), len(SHARES)), "training picture")
    raise TrainingError(
        Problem(
            "prediction",
            f"{info.prediction}, but on {looked_at} the base's answers miss "
            f"{IN_WORDS[info.prediction]} by {misses.asked:.2f} of it and {IN_WORDS[better]} by {misses.others[better]:.2f}",
            f"what the base predicts: {better}, by these figures (an answer of nothing misses by 1)",
            f'Set prediction = "{better}" under [objective] (--prediction {better}), or take another base; '
            "check_prediction = false trains it all the same.",
        )
    )


@torch.no_grad()
def measured(engine: Predicting, batch: MicroBatch) -> Misses:
    """Return by how much the base alone misses each target on the first pictures of `batch`: one at each share."""
    objective, device = engine.model.objective, engine.placement.device
    shown = [row % len(batch.captions) for row in range(len(SHARES))]
    clean = _middle(batch.clean_BCHW[shown])
    noise = torch.randn(clean.shape, generator=generator_at(0, "prediction", 0)).to(device)
    clean = clean.to(device)
    timesteps = objective.timesteps_at(torch.tensor(SHARES)).to(device)
    captions, sizes = [batch.captions[row] for row in shown], [batch.sizes[row] for row in shown]
    base = BasePrediction(engine.model, engine.adapter, engine.texts.conditioning)
    with engine.placement.autocast():
        noisy = objective.add_noise(clean, noise, timesteps)
        answer = base.predict(noisy, timesteps, captions, sizes).float()

    def miss(each: Objective) -> float:
        target = each.target(clean, noise, timesteps).float()
        return float((answer - target).square().mean() / target.square().mean())

    return Misses(miss(objective), {name: miss(each) for name, each in objective.rivals().items()})


def _middle(latent_BCHW: Tensor) -> Tensor:
    """Return at most MOST_SIDE × MOST_SIDE of each latent, around its middle."""
    top, left = (max(side - MOST_SIDE, 0) // 2 for side in latent_BCHW.shape[2:])
    return latent_BCHW[:, :, top : top + MOST_SIDE, left : left + MOST_SIDE]

"""One optimizer step, for one trial or many: the model, its adapter and the optimizers at work on batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from maquette.training.batches import MicroBatch, Showing
from maquette.training.breakdown import broken_gradient, broken_loss
from maquette.training.config import TrialSettings
from maquette.training.objective import Rows
from maquette.training.optimize import BrokenGradient, TrialOptimizer
from maquette.training.passes import NoiseSource, Passes, seeded_noise
from maquette.training.rates import rate_groups
from maquette.training.standing import Standing
from maquette.training.texts import CaptionEncoder

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel, Conditioning
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.processes import Crew


@dataclass(frozen=True)
class Shown:
    """What one micro-step showed: the B pictures of its batch, and for each trial their timesteps and losses, [P, B]."""

    names: tuple[str, ...]
    timesteps_PB: torch.Tensor
    losses_PB: torch.Tensor
    regularization_B: torch.Tensor
    preserved_P: torch.Tensor | None = None
    """Each trial's weighted loss of holding the class to the base; None where this was not the turn."""


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step measured: a loss, a gradient norm and learning rates for each trial, and each picture's loss."""

    losses: tuple[float, ...]
    gradient_norms: tuple[float, ...]
    learning_rates: tuple[tuple[float, ...], ...]
    rate_names: tuple[tuple[str, ...], ...]
    """What each of the learning rates is of."""
    shown: tuple[Shown, ...] = ()
    more: tuple[Mapping[str, float], ...] = ()
    """What else the metrics of each trial say of the step."""
    effective_rates: tuple[tuple[float, ...], ...] = ()
    """For each trial the rates that its optimizer found itself; () for those that take what they are given."""


class Engine:
    """Holds what a step needs and takes steps; it knows nothing of files, records or terminals."""

    def __init__(
        self,
        model: BaseModel,
        adapter: LoraAdapter,
        trials: Sequence[TrialSettings],
        placement: Placement,
        *,
        total_steps: int,
        options: Mapping[str, Any] | None = None,
        noise: NoiseSource = seeded_noise,
        texts: CaptionEncoder | None = None,
    ) -> None:
        self.model = model
        self.adapter = adapter
        self.trials = tuple(trials)
        self.placement = placement
        self.trains_text = any(adapter.parameters_of(index, "text_encoder") for index in range(len(trials)))
        self.optimizers = [
            TrialOptimizer(trial, rate_groups(adapter, index, trial), total_steps)
            for index, trial in enumerate(trials)
        ]
        self.scaler = torch.amp.GradScaler(placement.device.type) if placement.precision == "fp16" else None
        self.forward_device = ""
        self.crew: Crew | None = None
        """The other processes that compute parts of each batch; None: this one computes all of it."""
        self.steps_done: int | None = 0
        """Optimizer steps that made the weights what they are; None while a step changes them."""
        self.texts = texts or CaptionEncoder(model, placement, options or {}, trains=self.trains_text)
        # Layers may have been left out of every text encoder that was to train.
        self.texts.trains = self.trains_text
        self._made = Passes(
            model,
            adapter,
            placement,
            conditioning=self.texts.conditioning,
            alone=self.encode if self.trains_text else self.texts.conditioning,
            noise=noise,
        )

    def step(
        self, step: int, micro_steps: Sequence[tuple[int, Callable[[], MicroBatch]]], accumulation: int
    ) -> StepResult:
        """Take optimizer step `step` (0-based) over `micro_steps`: (index over the whole run, batch loader) each.

        Losses are divided by the full `accumulation` even where an epoch's last group is shorter, as in sd-scripts.
        Raises TrainingError, with the cause as far as it is found, before any weight changes when a loss is no finite number;
        a gradient that is none stops its trial's update.
        """
        self.train(True)
        shown = self._passes(micro_steps, accumulation)
        measured = torch.stack([each.losses_PB.mean(dim=1) for each in shown]).mean(dim=0).tolist()
        self._require_finite(step, measured, shown, micro_steps)
        preserved = _mean_preserved(shown)
        self.steps_done = None
        norms = tuple(self._update(step, trial, shown) for trial in range(len(self.trials)))
        if self.scaler is not None:
            self.scaler.update()
        more = tuple(
            self._limit_norms(index) | self._preserved(index, preserved) for index in range(len(self.trials))
        )
        for optimizer in self.optimizers:
            optimizer.take_in(step)
        self.steps_done = step + 1
        rates = tuple(tuple(optimizer.learning_rates(step)) for optimizer in self.optimizers)
        names = tuple(tuple(group.name for group in optimizer.groups) for optimizer in self.optimizers)
        found = tuple(tuple(optimizer.effective_rates() or ()) for optimizer in self.optimizers)
        return StepResult(tuple(measured), norms, rates, names, tuple(shown), more, found)

    def _passes(
        self, micro_steps: Sequence[tuple[int, Callable[[], MicroBatch]]], accumulation: int
    ) -> list[Shown]:
        """Run forward and backward of every batch, here or by all processes; gradients lie in the parameters then."""
        if self.crew is not None:
            return self.crew.passes(self, [(index, load()) for index, load in micro_steps], accumulation)
        return [self.micro_step(index, load(), accumulation) for index, load in micro_steps]

    def _limit_norms(self, index: int) -> dict[str, float]:
        """Limit the norms of a trial's modules where it asks for that; return what its metrics say of it."""
        limit = self.trials[index].scale_weight_norms
        if limit is None:
            return {}
        done = self.adapter.limit_norms(index, limit)
        return {"norms_limited": done.shrunk, "mean_norm": done.mean, "largest_norm": done.largest}

    def _update(self, step: int, trial: int, shown: Sequence[Shown]) -> float:
        """Let one trial's optimizer change its weights; return the gradient norm before clipping."""
        try:
            return self.optimizers[trial].update(step, self.scaler)
        except BrokenGradient:
            if trial == 0:  # nothing has changed yet, so the state of the step before can be kept
                self.steps_done = step
            raise broken_gradient(self, step, trial, shown) from None

    def _preserved(self, index: int, preserved: Sequence[float] | None) -> dict[str, float]:
        """Return what the metrics of a trial say of holding the class to the base, where it was due."""
        return {"preservation": preserved[index]} if preserved and preserved[index] else {}

    def forget_gradients(self) -> None:
        """Drop what a pass that failed has left: the step can be taken again."""
        for optimizer in self.optimizers:
            optimizer.forget_gradients()

    def train(self, mode: bool) -> None:
        """Switch dropout, and the weights of optimizers that train others than they are judged by, on (or off)."""
        self.adapter.train(mode)
        for optimizer in self.optimizers:
            optimizer.train(mode)

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Within, the adapter holds what is saved and drawn with: no dropout, and each optimizer's own answer."""
        self.train(False)
        try:
            yield
        finally:
            self.train(True)

    def micro_step(self, index: int, batch: MicroBatch, accumulation: int) -> Shown:
        """Run forward and backward of one batch's own rows; return what they showed, on the CPU."""
        own = batch.own
        self.adapter.set_step(index, None if own is None else (own.first, own.last, own.whole))
        showings = self._showings(index, batch)
        rows, losses_PB = self._made.losses(showings)
        self.forward_device = str(losses_PB.device)
        self._backward(losses_PB.mean(dim=1) * batch.share, accumulation)
        # After the pictures' own pass has given its memory back.
        preserved_P = self._made.preserved(rows, showings)
        if preserved_P is not None:
            preserved_P = preserved_P * batch.share
            self._backward(preserved_P, accumulation)
        return Shown(
            names=tuple(batch.taken_of(batch.names)),
            timesteps_PB=rows.timesteps_R.view(len(self.trials), -1).cpu(),
            losses_PB=losses_PB.detach().float().cpu(),
            regularization_B=batch.taken(batch.regularization_B),
            preserved_P=None if preserved_P is None else preserved_P.detach().float().cpu(),
        )

    def _backward(self, losses_P: torch.Tensor, accumulation: int) -> None:
        # Trials share no parameter, so the sum's gradient is each trial's own.
        total = losses_P.sum() / accumulation
        if total.requires_grad:  # not where module dropout left every module out of the pass
            (self.scaler.scale(total) if self.scaler is not None else total).backward()

    def _showings(self, index: int, batch: MicroBatch) -> list[Showing]:
        return [Showing(trial=trial, index=index, batch=batch) for trial in self.trials]

    def rows(self, index: int, batch: MicroBatch) -> Rows:
        """Repeat `batch`'s own rows for every trial and draw each trial's own noise."""
        return self._made.rows(self._showings(index, batch))

    def parameters_of(self, trial: int) -> dict[str, torch.nn.Parameter]:
        """Return the leaf parameters of a trial by name."""
        return self.adapter.named_parameters_of(trial)

    def standing(self, index: int) -> Standing:
        """Return trial `index` as it stands in the base."""
        return Standing(self.model, self.adapter, index, self.optimizers[index], self.scaler)

    def encode(self, captions: Sequence[str]) -> Conditioning:
        """Return what the denoiser is told of `captions`, one for each row, with the adapters that stand in the base."""
        return self.texts.encode(captions)

    def _require_finite(
        self,
        step: int,
        losses: Sequence[float],
        shown: Sequence[Shown],
        micro_steps: Sequence[tuple[int, Callable[[], MicroBatch]]],
    ) -> None:
        if not all(math.isfinite(loss) for loss in losses):
            raise broken_loss(self, step, losses, shown, micro_steps)


def _mean_preserved(shown: Sequence[Shown]) -> tuple[float, ...] | None:
    """Return each trial's mean over the forward passes that held the class to the base; None where none did."""
    found = [each.preserved_P for each in shown if each.preserved_P is not None]
    return tuple(torch.stack(found).mean(dim=0).tolist()) if found else None

"""Passes over the base for the lanes of a pack: which of them meet in the next one, and what comes of it.

Lanes meet whose next batches have one shape: as many pictures, of one size, told by the same text encoders in the same way. The
largest group goes first, of as large ones that which has waited longest; but nobody waits for ever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from maquette.training.engine import Shown
from maquette.training.passes import Passes
from maquette.training.preservation import is_held_now

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.batches import Showing
    from maquette.training.lane import Lane
    from maquette.training.objective import Rows
    from maquette.training.prediction import Predicting
    from maquette.training.texts import CaptionEncoder

MOST_WAITED = 32
"""Passes after which a lane goes next, whatever company it has."""


class LanePasses:
    """Makes the passes of a pack's lanes."""

    def __init__(self, model: BaseModel, adapter: LoraAdapter, placement: Placement) -> None:
        self.model, self.adapter, self.placement = model, adapter, placement
        self.most_load = math.inf
        """Latent cells of one pass that the device has room for, as far as is known."""
        self.count = 0
        self._made: dict[CaptionEncoder, Passes] = {}

    def group(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Return the lanes of the next pass."""
        groups: dict[tuple[Any, ...], list[Lane]] = {}
        for lane in lanes:
            groups.setdefault(_shape(lane), []).append(lane)
        fitting = [self._that_fit(group) for group in groups.values()]
        return max(
            fitting, key=lambda group: (_is_late(group), len(group), max(each.waited for each in group))
        )

    def _that_fit(self, group: list[Lane]) -> list[Lane]:
        """Return as many of a group as the device has room for, those that have waited longest, in order of their places."""
        count = max(1, int(min(self.most_load / load_of(group[:1]), len(group))))
        if count < len(group):
            group = sorted(group, key=lambda lane: -lane.waited)[:count]
        return sorted(group, key=lambda lane: lane.place)

    def take(self, group: Sequence[Lane], waiting: Sequence[Lane]) -> list[Lane]:
        """Make one pass for `group`, which shows the same shape; return the lanes whose step is full by it."""
        began = time.perf_counter()
        shown = self._shown(group)
        seconds = time.perf_counter() - began
        self.count += 1
        for lane in waiting:
            lane.waited += 1
        return [lane for lane, each in zip(group, shown, strict=True) if lane.took(each, seconds)]

    def _shown(self, group: Sequence[Lane]) -> list[Shown]:
        """Run forward and backward of what the lanes show next; the gradients lie in their weights then."""
        showings = [lane.showing() for lane in group]
        passes = self.passes_with(group[0].texts)
        for lane, showing in zip(group, showings, strict=True):
            self.adapter.set_step(showing.index, place=lane.place)
        with self.adapter.taking([lane.place for lane in group]):
            rows, losses_PB = passes.losses(showings)
            _backward(group, losses_PB.mean(dim=1))
        for lane in group:
            lane.forward_device = str(losses_PB.device)
        timesteps_PB = rows.timesteps_R.view(len(group), -1).cpu()
        losses_PB = losses_PB.detach().float().cpu()
        preserved = self._preserved(passes, rows, group, showings)
        return [
            Shown(
                names=showing.batch.names,
                timesteps_PB=timesteps_PB[index : index + 1],
                losses_PB=losses_PB[index : index + 1],
                regularization_B=showing.batch.regularization_B,
                preserved_P=preserved.get(index),
            )
            for index, showing in enumerate(showings)
        ]

    def _preserved(
        self, passes: Passes, rows: Rows, group: Sequence[Lane], showings: Sequence[Showing]
    ) -> dict[int, torch.Tensor]:
        """Hold the class to the base for those of a group whose turn it is; return what it cost each of them, [1]."""
        held = [index for index, showing in enumerate(showings) if is_held_now(showing)]
        if not held:
            return {}
        own, due = [group[index] for index in held], [showings[index] for index in held]
        with self.adapter.taking([lane.place for lane in own]):
            losses_P = passes.preserved(_of_some(rows, held, len(group)), due)
            if losses_P is None:
                return {}
            _backward(own, losses_P)
        found = losses_P.detach().float().cpu()
        return {index: found[place : place + 1] for place, index in enumerate(held)}

    def predicting(self, lane: Lane) -> Predicting:
        """Return what predicts for `lane`."""
        return _Predicting(self.model, self.adapter, self.placement, lane.texts)

    def passes_with(self, texts: CaptionEncoder) -> Passes:
        """Return what makes the passes of lanes whose captions are told by `texts`."""
        if texts not in self._made:
            self._made[texts] = Passes(
                self.model,
                self.adapter,
                self.placement,
                conditioning=texts.conditioning,
                alone=texts.encode if texts.trains else texts.conditioning,
            )
        return self._made[texts]


@dataclass(frozen=True)
class _Predicting:
    model: BaseModel
    adapter: LoraAdapter
    placement: Placement
    texts: CaptionEncoder


def load_of(group: Sequence[Lane]) -> int:
    """Return the latent cells that a pass of `group` shows."""
    batches = [lane.showing().batch for lane in group]
    return sum(
        len(batch.names) * batch.clean_BCHW.shape[-1] * batch.clean_BCHW.shape[-2] for batch in batches
    )


def _shape(lane: Lane) -> tuple[Any, ...]:
    """Return what lanes must share to meet in a pass."""
    batch = lane.showing().batch
    return lane.texts, batch.masks_B1HW is not None, *batch.clean_BCHW.shape


def _is_late(group: Sequence[Lane]) -> bool:
    return any(lane.waited >= MOST_WAITED for lane in group)


def _of_some(rows: Rows, indices: Sequence[int], count: int) -> Rows:
    """Return the rows of some of `count` trials, without what their captions say."""
    each = len(rows.timesteps_R) // count
    chosen = [index * each + row for index in indices for row in range(each)]
    perturbation = rows.perturbation_RCHW
    return replace(
        rows,
        clean_RCHW=rows.clean_RCHW[chosen],
        noise_RCHW=rows.noise_RCHW[chosen],
        timesteps_R=rows.timesteps_R[chosen],
        sizes=[rows.sizes[row] for row in chosen],
        regularization_R=rows.regularization_R[chosen],
        perturbation_RCHW=None if perturbation is None else perturbation[chosen],
        masks=None,
    )


def _backward(group: Sequence[Lane], losses_P: torch.Tensor) -> None:
    """Add each lane's gradient to its weights. Lanes share no parameter, so the sum's gradient is each lane's own."""
    counts = [lane.job.schedule.accumulation for lane in group]
    one = losses_P.new_ones(())
    scales = [scaler.scale(one) for lane in group if (scaler := lane.standing.scaler) is not None]
    parts_P = losses_P / losses_P.new_tensor(counts)
    total = (parts_P * torch.stack(scales) if scales else parts_P).sum()
    if total.requires_grad:  # not where module dropout left every module out of the pass
        total.backward()

"""What the lanes of a pack have in common beside the base: encoded pictures and captions, and the question that measures them.

Each is made once for all lanes that need the very same, and kept as long as the pack.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from maquette.events import Event, Finished, Message, Stage, Started
from maquette.training.data import TrainingPictures, cache_of
from maquette.training.preservation import needed_captions
from maquette.training.texts import CaptionEncoder, encoded_ahead, reading_of
from maquette.training.validating import ValidationPlan, validator_of

if TYPE_CHECKING:
    from pathlib import Path

    from maquette.dataset.cache import LatentCache
    from maquette.dataset.cache_folder import CacheFolder
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.job import Job
    from maquette.training.lane import Lane
    from maquette.training.validation import Validator


QUICK_S = 0.5
"""Stages of encoding that take less are not told: most of a pack's trials find everything there."""


class LaneSharing:
    """Gives each lane what it needs of pictures, captions and measurements."""

    def __init__(self, model: BaseModel, adapter: LoraAdapter, placement: Placement) -> None:
        self.model, self.adapter, self.placement = model, adapter, placement
        self._latents: dict[tuple[Any, ...], LatentCache | None] = {}
        self._texts: dict[tuple[Any, ...], CaptionEncoder] = {}
        self._validators: list[tuple[ValidationPlan, CaptionEncoder, Validator]] = []
        self._base_losses: dict[Validator, list[float]] = {}
        self._folders: list[CacheFolder] = []

    def pictures_of(self, job: Job) -> TrainingPictures:
        """Return a lane's pictures, whose latents lie where those of the others do."""
        dataset = job.dataset
        key = (dataset.cached, _path_of(dataset.cache_folder), dataset.seed, dataset.vae_batch_size,
               dataset.skip_cache_check)  # fmt: skip
        if key not in self._latents:
            self._latents[key] = cache_of(dataset, self.model)
            self._folders += [dataset.cache_folder] if dataset.cache_folder is not None else []
        return TrainingPictures(dataset, self.model, keep_vae=True, cache=self._latents[key])

    def texts_of(self, job: Job) -> CaptionEncoder:
        """Return what encodes a lane's captions: of trials that leave the text encoders alone each caption once for all."""
        trains = "text_encoder" in job.parts
        folder = None if trains else job.dataset.cache_folder
        read = (reading_of(job.options), self.model.spec.of_stage("text", job.options))
        key = (trains, json.dumps(read, sort_keys=True, default=str), _path_of(folder))
        if key not in self._texts:
            self._folders += [folder] if folder is not None else []
            self._texts[key] = CaptionEncoder(
                self.model,
                self.placement,
                job.options,
                trains=trains,
                folder=folder,
                aside=self.adapter.disabled,
            )
        return self._texts[key]

    def encode(self, lane: Lane) -> Iterator[Event]:
        """Encode what a lane shows and is measured by, as far as it is not there yet; quick work is not told."""
        yield from _if_long(self._encode(lane))

    def _encode(self, lane: Lane) -> Iterator[Event]:
        data, steps = lane.data, range(lane.step, lane.total)
        yield from data.cut_captions(lane.job.options)
        validator = yield from self._validator_of(lane)
        lane.validation.use(validator)
        yield from data.encode_all(steps)
        shown = needed_captions([lane.trial], data.captions_of(steps))
        captions = chain(lane.validation.captions(), shown)
        yield from encoded_ahead(lane.job.dataset, lane.texts, captions, keep_encoders=True)

    def _validator_of(self, lane: Lane) -> Stage[Validator]:
        plan = lane.validation.plan
        for known, texts, validator in self._validators:
            if texts is lane.texts and _question(known) == _question(plan):
                return validator
        validator = validator_of(plan, self.model, self.placement, lane.texts, lane.job.dataset.cache_folder)
        yield from validator.encode()
        self._validators.append((plan, lane.texts, validator))
        return validator

    def close(self) -> None:
        """Let the entries of folders go in which things are kept between packs."""
        for folder in self._folders:
            folder.close()

    def base_losses(self, validator: Validator) -> list[float]:
        """Return the loss of each picture under the base alone; it is measured once."""
        if validator not in self._base_losses:
            self._base_losses[validator] = validator.measure_base(self.adapter).tolist()
        return self._base_losses[validator]

    def measured(self, validator: Validator, lanes: Sequence[Lane]) -> Mapping[Lane, list[float]]:
        """Return the loss of each picture under each of `lanes`, whose adapters hold what is judged; in one go."""
        with self.adapter.taking([lane.place for lane in lanes]):
            found = validator.measure(len(lanes)).tolist()
        return dict(zip(lanes, found, strict=True))


def _if_long(events: Iterator[Event]) -> Iterator[Event]:
    """Yield messages as they come, and of a stage that begins, goes on and ends what comes after QUICK_S seconds."""
    began, untold = time.monotonic(), list[Event]()
    for event in events:
        if isinstance(event, Started):
            began, untold = time.monotonic(), [event]
        elif not untold or isinstance(event, Message):
            yield event
        elif isinstance(event, Finished):
            untold = []
        elif time.monotonic() - began > QUICK_S:
            yield from (*untold, event)
            untold = []


def _question(plan: ValidationPlan) -> tuple[Any, ...]:
    """Return what decides what is measured; when it is, is each lane's own."""
    return plan.items, plan.timesteps, plan.seed


def _path_of(folder: CacheFolder | None) -> Path | None:
    return None if folder is None else folder.path

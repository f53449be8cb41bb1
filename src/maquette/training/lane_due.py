"""What is due for lanes after their steps: checkpoints, samples, the validation loss, states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from maquette.events import Artifact, Event, Message
from maquette.training.lane import alone
from maquette.training.out_of_memory import out_of_memory

if TYPE_CHECKING:
    from maquette.lora.adapter import LoraAdapter
    from maquette.project.checkpoints import PlannedCheckpoint
    from maquette.training.base_hash import BaseHash
    from maquette.training.lane import Lane
    from maquette.training.lane_sharing import LaneSharing
    from maquette.training.outputs import SampleDrawer
    from maquette.training.validation import Validator


class LaneDue:
    """Does what is due. What goes wrong with one lane is that lane's failure; the others go on."""

    def __init__(
        self,
        adapter: LoraAdapter,
        sharing: LaneSharing,
        base_hash: BaseHash,
        draw: SampleDrawer | None,
    ) -> None:
        self.adapter, self.sharing, self.base_hash, self.draw = adapter, sharing, base_hash, draw

    def work(self, lanes: Sequence[Lane]) -> Iterator[Event]:
        """Write and measure what is due for `lanes` and not there yet."""
        for lane in lanes:
            lane.look()
            if lane.missing_checkpoints() or lane.state_is_due():
                with alone(lane):
                    lane.require_sound()
        shows = [lane for lane in lanes if lane.missing_checkpoints() or (self.draw and lane.draws())]
        measures = [lane for lane in lanes if lane.measures()]
        at_work = [lane for lane in lanes if lane in shows or lane in measures]
        if at_work:
            with self._judged(at_work):
                for lane in shows:
                    yield from self._alone(lane)
                yield from self._measure(measures)
        for lane in lanes:
            if lane.failure is None and lane.state_is_due():
                lane.save_state()
            lane.did_as_asked()

    def prune(self, lane: Lane, peak_memory_bytes: int) -> Iterator[Event]:
        """Keep a lane that is ended early as it is: its LoRA, its state, and in its record how it ended."""
        if not lane.output.due(lane.step):
            with self._judged([lane]):
                yield from self._shown(lane, [lane.output.here(lane.step)], draws=False)
        lane.keep_state()
        lane.prune(self.base_hash.result(), peak_memory_bytes)

    def _alone(self, lane: Lane) -> Iterator[Event]:
        if lane.failure is None:
            with alone(lane):
                yield from self._shown(lane, lane.missing_checkpoints(), draws=lane.draws())

    def _shown(self, lane: Lane, due: Sequence[PlannedCheckpoint], *, draws: bool) -> Iterator[Event]:
        """Write the checkpoints and draw the samples of a lane."""
        events = [lane.output.save_checkpoint(lane.standing, each, self.base_hash.result()) for each in due]
        if draws and self.draw is not None:
            events.append(lane.output.draw_samples(lane.standing, self.draw, lane.step))
        for part in events:
            for event in part:
                if isinstance(event, Artifact | Message):
                    lane.tell(event)
                yield event

    def _measure(self, lanes: Sequence[Lane]) -> Iterator[Event]:
        """Measure lanes together that are asked the same question."""
        groups: dict[Validator, list[Lane]] = {}
        for lane in lanes:
            if lane.failure is None:
                groups.setdefault(lane.validation.validator, []).append(lane)
        for validator, group in groups.items():
            fresh = [lane for lane in group if not lane.step]
            for lane in fresh:
                yield from self._written(lane, self.sharing.base_losses(validator))
            yield from self._measured(validator, [lane for lane in group if lane.step])

    def _measured(self, validator: Validator, lanes: Sequence[Lane]) -> Iterator[Event]:
        """Measure `lanes` in one go, or in halves where the device has no room for that."""
        from maquette.devices import is_out_of_memory, release_memory

        if not lanes:
            return
        found = None
        try:
            found = self.sharing.measured(validator, lanes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if found is None:
            release_memory(self.sharing.placement.device)
            if len(lanes) == 1:
                lanes[0].failure = out_of_memory(lanes[0].job, lanes[0].step)
                return
            half = len(lanes) // 2
            yield from self._measured(validator, lanes[:half])
            yield from self._measured(validator, lanes[half:])
            return
        for lane, losses in found.items():
            yield from self._written(lane, losses)

    def _written(self, lane: Lane, losses: list[float]) -> Iterator[Event]:
        for message in lane.validation.take_in(0, lane.step, losses, lane.log):
            lane.tell(message)
            yield replace(message, text=f"{lane.asked.name}: {message.text}")

    @contextmanager
    def _judged(self, lanes: Sequence[Lane]) -> Iterator[None]:
        """Within, adapters hold what is saved and measured: no dropout, and each optimizer's own answer."""
        optimizers = [lane.standing.optimizer for lane in lanes]
        self.adapter.eval()
        for optimizer in optimizers:
            optimizer.train(False)
        try:
            yield
        finally:
            for optimizer in optimizers:
                optimizer.train(True)
            self.adapter.train()

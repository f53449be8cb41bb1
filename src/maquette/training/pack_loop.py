"""The loop of a pack: fill the places, make a pass, update who is full, do what is due; until the director has no more."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.events import Event, Finished, Message, Progress, Stage, Started
from maquette.locking import HeldByAnother
from maquette.project.settings import Settings
from maquette.runs.folder import RECORD_NAME
from maquette.runs.record import DeviceRecord, RunRecord, RunState, read_record
from maquette.spoken import counted, duration
from maquette.stopping import Stopped
from maquette.training.base_hash import BaseHash
from maquette.training.directing import Director, PackResult, PackTrial
from maquette.training.lane import Lane, alone
from maquette.training.lane_jobs import LaneJobs

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.job import Job
    from maquette.training.lane_due import LaneDue
    from maquette.training.lane_passes import LanePasses
    from maquette.training.lane_sharing import LaneSharing
    from maquette.training.outputs import SampleDrawer
    from maquette.training.prepare import Judge

STAGE = "pack"
BEAT_S = 2.0
"""Seconds between two words to the director while trials train."""
MEASURED_PASSES = 50
"""Passes that tell how fast it goes."""


@dataclass
class Tally:
    """What has become of trials, by their numbers."""

    finished: list[int] = field(default_factory=list)
    pruned: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    let_go: list[int] = field(default_factory=list)
    steps: int = 0

    @property
    def done(self) -> int:
        return len(self.finished) + len(self.pruned) + len(self.failed)


class PackLoop:
    """A pack at work."""

    def __init__(
        self, shared: Settings, director: Director, *, places: int, judge: Judge, draw: SampleDrawer | None
    ) -> None:
        self.shared, self.director, self.draw = shared, director, draw
        self.places = places
        self.jobs = LaneJobs(shared, judge)
        self.lanes: list[Lane] = []
        self.waiting: list[PackTrial] = []
        """Those that gave up their place, and those that were asked for when there was none."""
        self.tally = Tally()
        self.base_hash = BaseHash()
        self._said: set[str] = set()
        self._beaten = self._asked = -BEAT_S
        self._is_planned = self._is_loaded = False
        self._paces: deque[tuple[float, int]] = deque(maxlen=MEASURED_PASSES)
        self._began = self._seconds = 0.0

    # --- from first to last ------------------------------------------------------------------------------

    def events(self) -> Stage[PackResult]:
        """Yield everything that happens, in order."""
        self._require_possible()
        yield from self._load()
        yield Started(STAGE, None, "step")
        yield from self._fill()
        self._began = time.perf_counter()
        while self.lanes:
            yield from self._pass()
            self._seconds = time.perf_counter() - self._began
            yield self._progress()
            yield from self._beat()
            yield from self._fill()
        yield Finished(STAGE)
        return self._result()

    def _require_possible(self) -> None:
        if self.places < 1:
            raise ConfigError(Problem("pack", f"{self.places} places", "1 or more", "Give another number."))
        if self.shared.training.compile_blocks:
            required = "none in a pack: trials come and go, and each would compile anew"
            raise ConfigError(
                Problem("compile_blocks", "compiled blocks", required, "Leave compile_blocks out.")
            )

    def _load(self) -> Iterator[Event]:
        from maquette.devices import place, resolve_device, resolve_precision
        from maquette.lora.adapter import LoraAdapter
        from maquette.training.building import load_base
        from maquette.training.int8_base import told_of_int8
        from maquette.training.lane_due import LaneDue
        from maquette.training.lane_passes import LanePasses
        from maquette.training.lane_sharing import LaneSharing

        training = self.shared.training
        device = resolve_device(training.device)
        precision = resolve_precision(training.precision, device)
        self.placement: Placement = place(device, precision)
        yield Started("load")
        self.model: BaseModel = load_base(self.shared, device, precision)
        yield Finished("load")
        yield from (Message(note, "warning") for note in self.model.notes)
        yield from told_of_int8(self.model)
        self.model.set_gradient_checkpointing(training.gradient_checkpointing)
        self.adapter: LoraAdapter = LoraAdapter.attach(self.model, [None] * self.places)
        self.adapter.gather()
        self._is_loaded = True
        self.sharing: LaneSharing = LaneSharing(self.model, self.adapter, self.placement)
        self.passes: LanePasses = LanePasses(self.model, self.adapter, self.placement)
        self.due: LaneDue = LaneDue(self.adapter, self.sharing, self.base_hash, self.draw)

    # --- filling places ----------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        return self.places - len(self.lanes)

    def _fill(self) -> Iterator[Event]:
        """Give every free place to a trial, those first that have waited, as long as the director has some."""
        while self.free > 0:
            if not self.waiting:
                self.waiting = self._next()
            if not self.waiting:
                return
            yield from self._begin(self.waiting.pop(0))

    def _next(self) -> list[PackTrial]:
        """Ask the director for trials, while others train not more often than it is told of them."""
        now = time.monotonic()
        if self.lanes and now - self._asked < BEAT_S:
            return []
        self._asked = now
        found = list(self.director.next(self.free))
        if found:
            self._asked = -BEAT_S
        return found

    def _begin(self, trial: PackTrial) -> Iterator[Event]:
        """Let a trial train from now on; one that cannot fails alone, and one that has ended before is told so."""
        if self._has_ended(trial):
            return
        try:
            job = self.jobs.prepare(trial)
        except HeldByAnother as error:
            self.tally.let_go.append(trial.number)
            yield Message(f"{trial.name}: {error}", "warning")
            return
        except MaquetteError as error:
            yield from self._failed(trial, error)
            return
        if not self._is_planned:
            yield from self._plan(job)
        lane = self._lane(trial, job)
        with alone(lane):
            yield from self._stand(lane)
        if lane in self.lanes:
            yield from self._what_is_due([lane])
        yield from self._out_with_failures()

    def _lane(self, trial: PackTrial, job: Job) -> Lane:
        self.base_hash.begin(job.base_file)
        try:
            lane = Lane(trial, job, self.sharing.pictures_of(job), self.sharing.texts_of(job))
        except BaseException:
            job.claim.close()
            raise
        self.lanes.append(lane)
        return lane

    def _stand(self, lane: Lane) -> Iterator[Event]:
        from maquette.devices import device_name
        from maquette.training.prediction import require_prediction

        device, precision = self.placement.device, self.placement.precision
        for message in lane.job.messages:
            yield from self._once(lane, message)
        lane.note(device=DeviceRecord(kind=device.type, name=device_name(device), precision=precision))
        for event in self.sharing.encode(lane):
            yield from self._once(lane, event) if isinstance(event, Message) else (event,)
        place = min(set(range(self.adapter.num_trials)) - {each.place for each in self._standing()})
        lane.stand(self.model, self.adapter, place, self.placement)
        if lane.job.settings.objective.check_prediction and not lane.step:
            with self.adapter.taking([lane.place]):
                require_prediction(self.passes.predicting(lane), lane.job.info, lambda: lane.showing().batch)

    def _standing(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane.stands]

    def _once(self, lane: Lane, message: Message) -> Iterator[Message]:
        """Write a lane's message where its run's are; yield it where nobody has said the same before."""
        lane.tell(message)
        if message.text not in self._said:
            self._said.add(message.text)
            yield message

    def _plan(self, job: Job) -> Iterator[Event]:
        from maquette.training.pack_places import planned_places

        self._is_planned = True
        self.places, told = planned_places(job, self.places)
        if told is not None:
            yield told

    def _has_ended(self, trial: PackTrial) -> bool:
        """Tell the director once more of a trial that came to its end before it could hear of it; return whether it has."""
        if not (trial.folder / RECORD_NAME).is_file():
            return False
        try:
            record = read_record(trial.folder)
        except MaquetteError:
            return False  # preparing it says in words what is wrong
        if record.state != "finished" or record.step < record.schedule.steps:
            return False
        point = record.validation.point_at(record.step) if record.validation else None
        if point is not None:
            self.director.measured(trial, record.step, point.loss, point.error)
        self._finished(trial, record)
        return True

    # --- passes ------------------------------------------------------------------------------------------

    def _pass(self) -> Iterator[Event]:
        """Make one pass, update the lanes whose steps are full by it, and do what is due then."""
        from maquette.devices import is_out_of_memory

        for lane in list(self.lanes):
            with alone(lane):
                lane.showing()
        yield from self._out_with_failures()
        if not self.lanes:
            return
        group = self.passes.group(self.lanes)
        full: list[Lane] | None = None
        try:
            full = self.passes.take(group, [lane for lane in self.lanes if lane not in group])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.write_log(traceback.format_exc())
        if full is None:
            yield from self._make_room(group)
        elif full:
            yield from self._update(full)

    def _update(self, full: Sequence[Lane]) -> Iterator[Event]:
        from maquette.devices import is_out_of_memory, peak_memory_bytes, release_memory
        from maquette.training.lane_updates import update

        try:
            updated = update(full, self.passes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            updated = None
        if updated is None:
            # Some weights may have changed and others not: those lanes go on from the states on the disk.
            for lane in full:
                self._put_back(lane)
            release_memory(self.placement.device)
            yield from self._fewer("An update found the device full")
            return
        peak = peak_memory_bytes(self.placement.device)
        for lane, why in updated.broken.items():
            lane.failure = why
        for lane, result in updated.results.items():
            self.tally.steps += 1
            with alone(lane):
                lane.write(result, peak)
        yield from self._what_is_due(list(updated.results))
        yield from self._out_with_failures()

    def _what_is_due(self, lanes: Sequence[Lane]) -> Iterator[Event]:
        """Do what is due for lanes after their steps; ask the director at rungs, and let those go that are through."""
        sound = [lane for lane in lanes if lane.failure is None]
        yield from self.due.work(sound)
        for lane in sound:
            if lane.failure is None:
                yield from self._judged(lane)

    def _judged(self, lane: Lane) -> Iterator[Event]:
        from maquette.devices import peak_memory_bytes

        goes_on = True
        point = lane.output.record.validation.point_at(lane.step) if lane.output.record.validation else None
        if point is not None and lane.step and lane.is_rung():
            goes_on = self.director.measured(lane.asked, lane.step, point.loss, point.error)
        peak = peak_memory_bytes(self.placement.device)
        if lane.step >= lane.total:
            with alone(lane):
                yield from self._come_to_its_end(lane, peak)
            if lane.failure is None:
                self._leave(lane)
                self._finished(lane.asked, lane.output.record)
        elif not goes_on:
            with alone(lane):
                yield from self.due.prune(lane, peak)
            if lane.failure is None:
                self._leave(lane)
                self.tally.pruned.append(lane.asked.number)
                yield Message(f"{lane.asked.name}: pruned after step {lane.step} of {lane.total}")

    def _come_to_its_end(self, lane: Lane, peak: int) -> Iterator[Event]:
        for event in lane.finish(self.base_hash.result(), peak):
            yield from self._once(lane, event) if isinstance(event, Message) else (event,)
        lane.tell(Finished("train"))

    def _finished(self, trial: PackTrial, record: RunRecord) -> None:
        self.tally.finished.append(trial.number)
        self.director.finished(trial, record)

    # --- a full device -----------------------------------------------------------------------------------

    def _make_room(self, group: Sequence[Lane]) -> Iterator[Event]:
        """Begin the steps of `group` once more after its pass found the device full, in smaller company from here on."""
        from maquette.devices import release_memory
        from maquette.training.lane_passes import load_of
        from maquette.training.out_of_memory import out_of_memory

        for lane in group:
            lane.forget()
        release_memory(self.placement.device)
        if len(group) > 1:
            self.passes.most_load = min(self.passes.most_load, load_of(group[:-1]))
        why = f"A pass of {counted(len(group), 'trial')} found the device full"
        if len(self.lanes) == 1:
            (only,) = group
            only.failure = out_of_memory(only.job, only.step)
            yield from self._out_with_failures()
        elif len(group) in (1, len(self.lanes)):
            others = [lane for lane in self.lanes if lane not in group] or list(group)
            self._put_back(min(others, key=lambda lane: lane.step))
            yield from self._fewer(why)
        else:
            yield Message(f"{why}: passes take less from here on, nothing is lost.", "warning")

    def _put_back(self, lane: Lane) -> None:
        """Let a lane wait for another place, from the state of its last whole step."""
        lane.end("stopped", "the device is full: it waits for a free place")
        self.waiting.insert(0, lane.asked)
        self._leave(lane)

    def _fewer(self, why: str) -> Iterator[Event]:
        self.places = max(1, min(self.places, len(self.lanes)))
        told = f"{why}: {counted(self.places, 'trial')} at once from here on, nothing is lost."
        if self.waiting:
            told += f" {counted(len(self.waiting), 'trial')} wait for a place."
        yield Message(told, "warning")

    # --- failing alone -----------------------------------------------------------------------------------

    def _out_with_failures(self) -> Iterator[Event]:
        for lane in [lane for lane in self.lanes if lane.failure is not None]:
            error = lane.failure
            assert error is not None
            lane.write_log("".join(traceback.format_exception(error)))
            lane.end("failed", str(error))
            self._leave(lane)
            yield from self._failed(lane.asked, error)

    def _failed(self, trial: PackTrial, error: MaquetteError) -> Iterator[Event]:
        self.tally.failed.append(trial.number)
        yield Message(f"{trial.name} failed: {error}", "warning")
        self.director.failed(trial, str(error))

    def _leave(self, lane: Lane, *, quietly: bool = False) -> None:
        if lane in self.lanes:
            self.lanes.remove(lane)
            self._asked = -BEAT_S
        lane.leave(quietly=quietly)

    # --- the director, and who waits ---------------------------------------------------------------------

    def _beat(self) -> Iterator[Event]:
        """Tell the director every few seconds who is at work, and let go of those that it names."""
        now = time.monotonic()
        if now - self._beaten < BEAT_S:
            return
        self._beaten = now
        at_work = [*(lane.asked for lane in self.lanes), *self.waiting]
        gone = set(self.director.beat(at_work)) & {trial.number for trial in at_work}
        for lane in [lane for lane in self.lanes if lane.asked.number in gone]:
            self._leave(lane, quietly=True)
            yield Message(f"{lane.asked.name}: let go at step {lane.step}; another goes on with it")
        self.waiting = [trial for trial in self.waiting if trial.number not in gone]
        self.tally.let_go += sorted(gone)

    def _progress(self) -> Progress:
        self._paces.append((time.perf_counter(), self.tally.steps))
        (first, before), (last, now) = self._paces[0], self._paces[-1]
        left = sum(lane.total - lane.step for lane in self.lanes)
        values: dict[str, float | str] = {
            "trials": f"{self.tally.done} done, {len(self.lanes)} at work",
        }
        if last > first and now > before:
            rate = (now - before) / (last - first)
            values["speed"] = f"{rate:.2f} steps/s"
            values["left"] = duration(left / rate)
        return Progress(STAGE, self.tally.steps, self.tally.steps + left, "step", values)

    def _result(self) -> PackResult:
        from maquette.devices import device_name, peak_memory_bytes

        return PackResult(
            finished=tuple(self.tally.finished),
            pruned=tuple(self.tally.pruned),
            failed=tuple(self.tally.failed),
            let_go=tuple(self.tally.let_go),
            steps=self.tally.steps,
            passes=self.passes.count,
            places=self.places,
            seconds=self._seconds,
            device=device_name(self.placement.device),
            peak_memory_bytes=peak_memory_bytes(self.placement.device),
        )

    # --- ending ------------------------------------------------------------------------------------------

    def end(self, state: RunState, error: str = "") -> Stopped:
        """Keep what resuming every lane needs, and say in its record how it ended early; return it in words."""
        where = f"step {self.tally.steps} of all trials ({counted(len(self.lanes), 'trial')} at work)"
        for lane in self.lanes:
            lane.end(state, error)
        return Stopped(where)

    def write_log(self, text: str) -> None:
        """Append `text` to the log of every lane at work."""
        for lane in self.lanes:
            lane.write_log(text)

    def close(self) -> None:
        """Let every lane's folder go, and what they shared."""
        self.base_hash.close()
        if self._is_loaded:
            self.sharing.close()
        for lane in list(self.lanes):
            with suppress(MaquetteError, OSError):
                self._leave(lane)

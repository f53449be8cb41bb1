"""One trial of a pack: where it is in its own run, what it shows next, and the files that it leaves.

A lane is an ordinary run without a base of its own: its folder holds at every moment what a run's folder holds, so that it goes
on alone (`maquette train --resume`) or in any pack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from maquette.errors import MaquetteError, OutputError, TrainingError
from maquette.events import Event, Message, Progress, Started
from maquette.project.checkpoints import PlannedCheckpoint, is_due
from maquette.runs.asked import WISHES, Wish, done_as_asked, wishes_of
from maquette.runs.events import EventLog
from maquette.runs.record import PACKED, RunState, now
from maquette.runs.reserve import Reserve
from maquette.spoken import printable
from maquette.training.batches import MicroBatch, Showing
from maquette.training.breakdown import Examined, broken_gradient, broken_loss, require_sound
from maquette.training.continuing import start_from_weights
from maquette.training.directing import PackTrial
from maquette.training.engine import Shown, StepResult
from maquette.training.job import Job
from maquette.training.optimize import TrialOptimizer
from maquette.training.outputs import TrialOutput
from maquette.training.rates import rate_groups
from maquette.training.standing import Standing
from maquette.training.validating import RunValidation

if TYPE_CHECKING:
    from maquette.devices import Placement
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.data import TrainingPictures
    from maquette.training.texts import CaptionEncoder

Load = Callable[[], MicroBatch]


class Lane:
    """A trial at its place. `step` counts the optimizer steps that made its weights what they are."""

    def __init__(self, asked: PackTrial, job: Job, data: TrainingPictures, texts: CaptionEncoder) -> None:
        """Begin (or go on with) the run's files; from here on a kill leaves what can be resumed."""
        self.asked, self.job, self.data, self.texts = asked, job, data, texts
        (self.run,) = job.trials
        self.trial = self.run.trial
        self.output = TrialOutput(job, 0)
        assert job.validation is not None
        self.validation = RunValidation(job.validation, [self.output])
        self.step = self.saved = job.first_step
        self.is_whole = True
        """False while an update changes the weights."""
        self.failure: MaquetteError | None = None
        """Why it cannot go on."""
        self.wishes: frozenset[Wish] = frozenset()
        """What a person asks of it at this step."""
        self.forward_device = ""
        self.waited = 0
        """Passes that others made since it was ready."""
        self.step_seconds: list[float] = []
        self.timings: dict[str, float] = dict(self.output.record.timings)
        self._standing: Standing | None = None
        self._coming: list[tuple[int, Load]] = []
        self._taken: list[tuple[int, Load]] = []
        self._showing: Showing | None = None
        self._shown: list[Shown] = []
        self._seconds = 0.0
        notes = self.output.record.notes
        self.note(state="running", notes=notes if PACKED in notes else (*notes, PACKED))
        self._reserve = Reserve(job.folder.reserve, self.run.folder.record)
        self.told = EventLog(job.folder.event_log)
        self.log = self.output.open_metrics(self.step)
        self.tell(Started("train", self.total, "step"))

    # --- standing ----------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """The optimizer steps of its whole run."""
        return self.job.schedule.steps

    @property
    def trains_text(self) -> bool:
        return "text_encoder" in self.run.parts

    @property
    def stands(self) -> bool:
        """Whether it has a place in the base."""
        return self._standing is not None

    @property
    def standing(self) -> Standing:
        assert self._standing is not None, "a lane stands before it trains"
        return self._standing

    @property
    def place(self) -> int:
        return self.standing.place

    def stand(self, model: BaseModel, adapter: LoraAdapter, place: int, placement: Placement) -> None:
        """Take `place` in the base, with first weights or those of the newest state."""
        job = self.job
        adapter.replace(place, self.run.spec(job.spec, job.info))
        start_from_weights(adapter, place, self.run, model)
        optimizer = TrialOptimizer(self.trial, rate_groups(adapter, place, self.trial), self.total)
        scaler = torch.amp.GradScaler(placement.device.type) if placement.precision == "fp16" else None
        self._standing = Standing(model, adapter, place, optimizer, scaler)
        self.output.restore(self._standing)
        optimizer.train(True)

    # --- steps -------------------------------------------------------------------------------------------

    def showing(self) -> Showing:
        """Return what it shows next."""
        if self._showing is None:
            if not self._coming:
                self._coming = list(self.data.micro_steps(self.step))
            index, load = self._coming[0]
            self._showing = Showing(trial=self.trial, index=index, batch=load())
        return self._showing

    def took(self, shown: Shown, seconds: float) -> bool:
        """Take in what a pass measured of what it showed; return whether its step is full."""
        self._shown.append(shown)
        self._seconds += seconds
        self._taken.append(self._coming.pop(0))
        self._showing = None
        self.waited = 0
        return not self._coming

    def forget(self) -> None:
        """Drop what the passes of a step have left so far: it is begun once more."""
        self.standing.optimizer.forget_gradients()
        self._begin_step()

    def _begin_step(self) -> None:
        self._coming, self._taken, self._showing = [], [], None
        self._shown, self._seconds = [], 0.0

    def loss(self) -> float:
        """Return the mean loss of the step at hand."""
        return float(torch.stack([each.losses_PB.mean(dim=1) for each in self._shown]).mean(dim=0))

    def broken_loss(self, examined: Examined, loss: float) -> TrainingError:
        """Return why the loss of the step at hand is no finite number, as far as it is found."""
        return broken_loss(examined, self.step, [loss], self._shown, self._taken)

    def broken_gradient(self, examined: Examined) -> TrainingError:
        """Return why its gradients are no finite numbers, as far as it is found."""
        return broken_gradient(examined, self.step, 0, self._shown)

    def stepped(self, loss: float, norm: float) -> StepResult:
        """Close the step that an update has just made, and log it; return what it measured."""
        standing, step = self.standing, self.step
        optimizer = standing.optimizer
        if standing.scaler is not None:
            standing.scaler.update()
        more = self._limit_norms() | self._preserved()
        optimizer.take_in(step)
        result = StepResult(
            losses=(loss,),
            gradient_norms=(norm,),
            learning_rates=(tuple(optimizer.learning_rates(step)),),
            rate_names=(tuple(group.name for group in optimizer.groups),),
            shown=tuple(self._shown),
            more=(more,),
            effective_rates=(tuple(optimizer.effective_rates() or ()),),
        )
        self.step, self.is_whole = step + 1, True
        self.step_seconds.append(self._seconds)
        self._begin_step()
        return result

    def write(self, result: StepResult, peak_memory_bytes: int) -> None:
        """Write down what a step measured."""
        self.job.claim.require_there()
        machine = {"seconds": round(self.step_seconds[-1], 4), "peak_memory_bytes": peak_memory_bytes}
        self.output.log(self.log, self.step, result, machine)
        self.tell(Progress("train", self.step, self.total, "step", {"loss": result.losses[0]}))

    def _limit_norms(self) -> dict[str, float]:
        limit = self.trial.scale_weight_norms
        if limit is None:
            return {}
        done = self.standing.adapter.limit_norms(self.place, limit)
        return {"norms_limited": done.shrunk, "mean_norm": done.mean, "largest_norm": done.largest}

    def _preserved(self) -> dict[str, float]:
        found = [float(each.preserved_P) for each in self._shown if each.preserved_P is not None]
        mean = sum(found) / len(found) if found else 0.0
        return {"preservation": mean} if mean else {}

    # --- what is due -------------------------------------------------------------------------------------

    def look(self) -> None:
        """See what a person asks of it: it holds until the next look."""
        self.wishes = wishes_of(self.job.folder.path)

    def did_as_asked(self) -> None:
        """Take away what was asked and is done."""
        done_as_asked(self.job.folder.path, self.wishes)

    def is_rung(self) -> bool:
        """Return whether the director is asked now."""
        return self.step in self.asked.rungs or self.step == self.total

    def measures(self) -> bool:
        """Return whether its validation loss is measured now, and was not yet."""
        at_checkpoint = bool(self.output.due(self.step))
        if self.validation.is_due(self.step, at_checkpoint):
            return True
        return self.is_rung() and not self.output.has_validation(self.step)

    def missing_checkpoints(self) -> list[PlannedCheckpoint]:
        """Return the files that are written now, or asked for, and not there yet."""
        due = self.output.due(self.step)
        if "save" in self.wishes and not due:
            due = [self.output.here(self.step)]
        return [planned for planned in due if not self.output.has(planned)]

    def draws(self) -> bool:
        """Return whether its samples are drawn now, and were not yet."""
        samples = self.run.settings.samples
        if not samples.sample_prompts or self.output.has_samples(self.step):
            return False
        if "sample" in self.wishes:
            return True
        if not self.step:
            return samples.sample_at_first
        if samples.sample_every_steps is None and samples.sample_every_epochs is None:
            return bool(self.output.due(self.step))
        schedule, every = self.job.schedule, (samples.sample_every_steps, samples.sample_every_epochs)
        return is_due(self.step, schedule.steps, schedule.steps_per_epoch, *every)

    def state_is_due(self) -> bool:
        """Return whether its state is saved now: with each checkpoint, and as often as it asks."""
        every = self.run.settings.saving.state_every_steps
        due = bool(self.output.due(self.step)) or bool(every and self.step % every == 0)
        return (due or "save" in self.wishes) and self.step != self.saved

    def require_sound(self) -> None:
        """Raise TrainingError where a weight is no finite number."""
        require_sound(self.standing.parameters, self.step)

    def save_state(self) -> None:
        """Write what resuming after this step needs."""
        self.output.save_state(self.standing, self.step)
        self.saved = self.step
        self.note()

    # --- what is written ---------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Write an event of the lane where those of its run are."""
        self.told.write(event)

    def note(self, **changes: Any) -> None:
        """Write `changes` into its record, with what is known of its pace."""
        if self.step_seconds:
            self.timings["seconds_per_step"] = median(self.step_seconds[1:] or self.step_seconds)
        timings = {name: round(value, 4) for name, value in self.timings.items()}
        self.output.note(timings=timings, **changes)

    def write_log(self, text: str) -> None:
        """Append `text` to the run's log for people, where there is room for it."""
        if not self.is_gone():
            with suppress(OSError), self.job.folder.log.open("a", encoding="utf-8") as file:
                file.write(f"{now()}\n{printable(text)}\n")

    def is_gone(self) -> bool:
        """Return whether somebody removed its folder: nothing is written to where it was."""
        try:
            self.job.claim.require_there()
        except OutputError:
            return True
        return False

    # --- ending ------------------------------------------------------------------------------------------

    def finish(self, base_sha256: str, peak_memory_bytes: int) -> Iterator[Event]:
        """Say that the run has come to its end."""
        yield from self.output.compare_pictures()
        yield from (Message(text, "warning") for text in self.log.troubles())
        self.note(**self._last(base_sha256, peak_memory_bytes), state="finished")

    def prune(self, base_sha256: str, peak_memory_bytes: int) -> None:
        """Say that the run was ended early, as one that others have left behind."""
        self.note(**self._last(base_sha256, peak_memory_bytes), state="pruned")

    def _last(self, base_sha256: str, peak_memory_bytes: int) -> dict[str, Any]:
        device = self.output.record.device
        return {
            "base_sha256": base_sha256,
            "device": device and replace(device, forward_device=self.forward_device),
            "final_loss": self.output.final_loss(),
            "peak_memory_bytes": peak_memory_bytes,
            "finished_at": now(),
        }

    def end(self, state: RunState, error: str = "") -> None:
        """Keep what resuming needs, and say how the run ended early; nothing is written where its folder is gone."""
        if self.is_gone():
            return
        self.keep_state()
        self._reserve.give_back()
        with suppress(OSError, MaquetteError):
            self.note(state=state, error=error or None, finished_at=now())
            where = f"step {self.step} of {self.total}"
            self.tell(Message(f"{state} at {where}" + (f": {error}" if error else ""), "warning"))

    def keep_state(self) -> None:
        """Save the state of the last whole step, unless it is on the disk or its weights are no numbers any more."""
        if self._standing is None or not self.is_whole or self.step == self.saved:
            return
        with suppress(OSError, MaquetteError):
            if self._standing.is_sound():
                self.save_state()

    def leave(self, *, quietly: bool = False) -> None:
        """Let its place, its files and its folder go; `quietly` where the folder may be another's already."""
        self.data.close()
        if not quietly:
            self._reserve.give_back()
            with suppress(OSError):
                done_as_asked(self.job.folder.path, WISHES)
        for each in (self.log, self.told):
            with suppress(OSError, MaquetteError):
                each.close()
        if self._standing is not None:
            self._standing.adapter.replace(self._standing.place, None)
            self._standing = None
        self.job.claim.close()


@contextmanager
def alone(lane: Lane) -> Iterator[None]:
    """Let what goes wrong within be this lane's failure, unless it is the machine's: a disk that is full is so for all."""
    try:
        yield
    except MaquetteError as error:
        if isinstance(error, OutputError) and not lane.is_gone():
            raise
        lane.failure = error

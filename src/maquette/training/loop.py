"""A run from first to last: load, encode, train, save. It prints nothing; it yields events."""

from __future__ import annotations

import errno
import shlex
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from maquette.errors import MaquetteError, OutputError
from maquette.events import Event, Finished, Message, Progress, Stage, Started
from maquette.files import cannot_write
from maquette.logs.metrics import MetricsLog
from maquette.project.checkpoints import PlannedCheckpoint, is_due
from maquette.runs.asked import WISHES, Wish, done_as_asked, wishes_of
from maquette.runs.events import EventLog
from maquette.runs.record import DeviceRecord, RunRecord, RunState, now
from maquette.runs.reserve import Reserve
from maquette.spoken import printable
from maquette.stopping import Stop, Stopped, stoppable
from maquette.training.base_hash import BaseHash
from maquette.training.fitting import FittedBlocks
from maquette.training.job import Job
from maquette.training.out_of_memory import out_of_memory
from maquette.training.outputs import CheckpointJudge, SampleDrawer, TrialOutput, TrialResult
from maquette.training.processes import Crew
from maquette.training.validating import RunValidation
from maquette.training.watching import watch_of

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.training.data import TrainingPictures
    from maquette.training.engine import Engine, StepResult
    from maquette.training.proving import Proof, Proving
    from maquette.training.texts import CaptionEncoder

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
"""Errors of the system that a full or failing disk gives where something writes to it directly."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run is: its folder, each trial's LoRA, and what was measured."""

    run: Path
    trials: tuple[TrialResult, ...]
    steps: int
    device: str
    seconds_per_step: float
    start_to_first_step_s: float
    peak_memory_bytes: int
    proofs: tuple[Proof, ...] = ()
    """What a smoke run proved."""

    @property
    def _only(self) -> TrialResult:
        (only,) = self.trials
        return only

    @property
    def lora(self) -> Path:
        """The LoRA of a run of one trial."""
        return self._only.lora

    @property
    def final_loss(self) -> float:
        """The loss of a run of one trial: the mean over its last epoch."""
        return self._only.final_loss

    @property
    def record(self) -> RunRecord:
        """The record of a run of one trial."""
        return self._only.record


def run_job(
    job: Job,
    *,
    draw: SampleDrawer | None = None,
    judge: CheckpointJudge | None = None,
    started: float | None = None,
    stop: Stop | None = None,
) -> Stage[TrainResult]:
    """Train `job`.

    `started` is the perf_counter() reading that start_to_first_step_s counts from. However the run ends (`stop` is asked, an
    interrupt, an error, nobody listens any more), its state is saved as the last whole step left it, so that it resumes to
    the same weights, and record and events say how it ended. Raises Stopped where `stop` was asked.
    """
    from maquette.training.kernels import kernels_of

    with closing(job.claim):
        run = _Run(job, draw, judge, started if started is not None else time.perf_counter())
        with closing(run.told), closing(run), kernels_of(job.settings.training):
            try:
                return (yield from run.told.recorded(stoppable(run.events(), stop)))
            except Stopped:
                raise run.end("stopped", stop.reason if stop else "") from None
            except KeyboardInterrupt as interrupt:
                interrupt.add_note(str(run.end("interrupted")))
                raise
            except GeneratorExit:
                run.end("interrupted", "nobody listened any more")
                raise
            except BaseException as error:
                run.write_log(traceback.format_exc())
                told = _in_words(error, job.folder.path)
                ending = run.end("failed", str(told) if told else f"{type(error).__name__}: {error}")
                if told is None:
                    raise
                raise _with_command(told, ending) from error


def _in_words(error: BaseException, run: Path) -> MaquetteError | None:
    """Return a failed run's error as a person reads it; None for one that only its trace explains."""
    if isinstance(error, OSError) and error.errno in OF_THE_DISK:
        return cannot_write(Path(error.filename or run), error)
    return error if isinstance(error, MaquetteError) else None


def _with_command(error: MaquetteError, ending: Stopped) -> MaquetteError:
    """Return the error of a place that could not be written with the command that goes on when it can be."""
    if not isinstance(error, OutputError) or not ending.go_on:
        return error
    problems = [
        replace(each, remedy=f"{each.remedy} Then go on with: {ending.go_on}") for each in error.problems
    ]
    return OutputError(problems)


class _Run:
    """The state of one running job: its record and the clocks."""

    def __init__(
        self, job: Job, draw: SampleDrawer | None, judge: CheckpointJudge | None, started: float
    ) -> None:
        self.job = job
        self.draw = draw
        judges = job.settings.validation.early_stop and job.smoke_steps is None
        self.judge = judge if judges else None
        self.is_over = False
        """Whether the judge of every trial says that no checkpoint gets better any more."""
        self.started = started
        self.outputs = [TrialOutput(job, index) for index in range(len(job.trials))]
        self.step_seconds: list[float] = []
        # Trials train in one pass: what one of them took, all of them took.
        self.timings: dict[str, float] = dict(job.trials[-1].record.timings)
        first, total = job.first_step, job.schedule.steps
        self.steps = range(first, total if job.smoke_steps is None else min(first + job.smoke_steps, total))
        # First of all the record: what a kill leaves from here on can be resumed.
        self._note(state="running")
        self.reserve = Reserve(job.folder.reserve, self.outputs[0].run.folder.record)
        self.told = EventLog(job.folder.event_log)
        self.blocks = FittedBlocks(job)
        self.watch = watch_of(job)
        self.crew = Crew(job)
        self.engine: Engine | None = None
        self.proving: Proving | None = None
        self.data: TrainingPictures | None = None
        self.saved = first
        """The step of the newest state; of step 0 there is none, and none is needed."""
        measures = job.validation is not None and job.smoke_steps is None
        self.validation = RunValidation(job.validation, self.outputs) if measures and job.validation else None
        self.base_hash = BaseHash()

    def events(self) -> Stage[TrainResult]:
        """Yield everything that happens, in order."""
        from maquette.training.building import load_base
        from maquette.training.data import TrainingPictures
        from maquette.training.int8_base import told_of_int8
        from maquette.training.mask_sheet import masks_shown
        from maquette.training.prediction import require_prediction
        from maquette.training.preservation import needed_captions
        from maquette.training.texts import encoded_ahead, texts_of

        job = self.job
        self.base_hash.begin(job.base_file)
        yield from (Message(text.text, text.level) for text in job.messages)
        placement = self._timed("device_s", self._place)
        yield Started("load")
        model = self._timed("load_s", partial(load_base, job.settings, job.device, job.precision))
        yield Finished("load")
        yield from (Message(note, "warning") for note in model.notes)
        yield from told_of_int8(model)
        yield from self.blocks.apply(model)
        samples = self.draw is not None and bool(job.settings.samples.sample_prompts)
        draws = samples or self.judge is not None
        data = self.data = TrainingPictures(job.dataset, model, keep_vae=draws)
        texts = texts_of(job, model, placement)
        yield from data.cut_captions(job.options)
        yield from masks_shown(job)
        began = time.perf_counter()
        if self.validation is not None:
            yield from self.validation.encode(model, placement, texts, job.dataset.cache_folder)
        yield from data.encode_all(self.steps)
        measured = self.validation.captions() if self.validation is not None else []
        shown = needed_captions([each.trial for each in job.trials], data.captions_of(self.steps))
        keep = draws or job.smoke_steps is not None
        yield from encoded_ahead(job.dataset, texts, chain(measured, shown), keep_encoders=keep)
        self.timings["encode_s"] = time.perf_counter() - began
        yield from self.crew.start(texts)
        engine = self.engine = self._timed("adapter_s", partial(self._engine, model, placement, texts))
        if job.settings.objective.check_prediction and not self.steps.start and self.steps:
            require_prediction(engine, job.info, data.micro_steps(0)[0][1])
        yield from self.crew.join(engine)
        if job.smoke_steps is not None:
            from maquette.training.proving import Proving

            self.proving = Proving(engine, self.outputs)
        yield from self._steps(engine, data)
        yield Finished("train")
        if job.smoke_steps is None:
            for output in self.outputs:
                yield from output.compare_pictures()
        return self._result(engine)

    def close(self) -> None:
        """Give up what was begun for steps that do not come; no other process is left, and no wish for a step."""
        with suppress(OSError):
            done_as_asked(self.job.folder.path, WISHES)
        self.crew.close()
        if self.data is not None:
            self.data.close()

    def end(self, state: RunState, error: str = "") -> Stopped:
        """Keep what resuming needs; say in record and events how the run ended early. Return it in words."""
        self.base_hash.close()
        if self._is_gone():
            return Stopped(f"step {self.outputs[0].record.step} of {self.steps.stop}", "")
        self._keep_state()
        resumable = self.job.smoke_steps is None
        done = self.outputs[0].record.step
        where = f"step {done} of {self.steps.stop}"
        if resumable and self.saved != done:
            where += f" (its state is of step {self.saved})"
        command = (
            shlex.join(["maquette", "train", "--resume", str(self.job.folder.path)]) if resumable else ""
        )
        self.reserve.give_back()
        # Whoever presses Ctrl-C meanwhile does not wait for it; on a full disk, what filled it is what is told.
        with suppress(OSError, MaquetteError, KeyboardInterrupt):
            self._note(state=state, error=error or None, finished_at=now())
            self.told.write(Message(f"{state} at {where}" + (f": {error}" if error else ""), "warning"))
        return Stopped(where, command)

    def _is_gone(self) -> bool:
        """Return whether somebody removed the run's folder: nothing is written to where it was."""
        try:
            self.job.claim.require_there()
        except OutputError:
            return True
        return False

    def _keep_state(self) -> None:
        """Save the state of the last whole step, unless it is on the disk or its weights are no numbers any more."""
        engine = self.engine
        if engine is None or self.job.smoke_steps is not None or engine.steps_done in (None, self.saved):
            return
        try:
            if all(engine.standing(output.index).is_sound() for output in self.outputs):
                self._save_state(engine, engine.steps_done or 0)
        except (OSError, MaquetteError):
            # What ended the run is what its user must hear of (a full disk ends both); the state before stays.
            self.write_log(traceback.format_exc())
        except KeyboardInterrupt:
            # Who presses once more does not wait for this. The run is ending anyhow, and says which state stays.
            return

    def write_log(self, text: str) -> None:
        """Append `text` to the run's log for people, where there is room for it."""
        if not self._is_gone():
            with suppress(OSError), self.job.folder.log.open("a", encoding="utf-8") as file:
                file.write(f"{now()}\n{printable(text)}\n")

    def _place(self) -> Any:
        from maquette.devices import device_name, place

        placement = place(self.job.device, self.job.precision)
        self._note(
            device=DeviceRecord(
                kind=placement.device.type,
                name=device_name(placement.device),
                precision=placement.precision,
            )
        )
        return placement

    def _engine(self, model: BaseModel, placement: Any, texts: CaptionEncoder) -> Engine:
        from maquette.training.building import engine_of
        from maquette.training.kernels import compile_blocks

        engine = engine_of(self.job, model, placement, texts)
        for output in self.outputs:
            output.restore(engine.standing(output.index))
        engine.steps_done = self.steps.start
        if self.job.settings.training.compile_blocks:
            compile_blocks(model, self.job.settings.training.compile_mode)
        return engine

    def _steps(self, engine: Engine, data: Any) -> Iterator[Event]:
        job, first, total = self.job, self.steps.start, self.steps.stop
        yield Started("train", total, "step")
        with ExitStack() as open_files:
            logs = [open_files.enter_context(output.open_metrics(first)) for output in self.outputs]
            if first:
                # A run may have ended between a step and what is written after it.
                yield from self._after_step(engine, first, logs)
            else:
                yield from self._samples_of_the_base(engine)
                yield from self._validate(engine, 0, logs)
            for step in self.steps:
                if self.is_over:
                    break
                began = time.perf_counter()
                result = yield from self._step(engine, data, step)
                self._clock(engine, time.perf_counter() - began)
                if self.proving is not None:
                    self.proving.saw(result)
                job.claim.require_there()
                self._log(logs, step + 1, result)
                yield Progress("train", step + 1, total, "step", self._shown(result))
                yield from (*_troubles(logs), *self.watch.after_step(step + 1, self.step_seconds[-1]))
                yield from self._after_step(engine, step + 1, logs)
        yield from _troubles(logs)

    def _step(self, engine: Engine, data: Any, step: int) -> Stage[StepResult]:
        """Take one step; where the device is full, recompute more blocks and take it again. Raises TrainingError."""
        from maquette.devices import is_out_of_memory, release_memory

        while True:
            try:
                return engine.step(step, data.micro_steps(step), self.job.schedule.accumulation)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self.write_log(traceback.format_exc())
            # Only here, out of the handler, is what the failed pass held let go.
            engine.forget_gradients()
            release_memory(engine.placement.device)
            more = self.blocks.more(engine.model) if engine.steps_done is not None else None
            if more is None:
                raise out_of_memory(self.job, step)
            yield Message(
                f"Step {step + 1} found the device full: {more} are computed again from here on, and the step is taken "
                "once more.",
                "warning",
            )

    def _clock(self, engine: Engine, seconds: float) -> None:
        from maquette.devices import synchronize

        if not self.step_seconds:
            synchronize(engine.placement.device)
            self.timings["start_to_first_step_s"] = time.perf_counter() - self.started
        self.step_seconds.append(seconds)

    def _log(self, logs: Sequence[MetricsLog], step: int, result: StepResult) -> None:
        machine = {"seconds": round(self.step_seconds[-1], 4), "peak_memory_bytes": self._memory()}
        for output, metrics in zip(self.outputs, logs, strict=True):
            output.log(metrics, step, result, machine)

    def _shown(self, result: StepResult) -> dict[str, float | str]:
        """Return what a progress line shows; of several trials their mean loss."""
        measured = self.validation.shown() if self.validation is not None else {}
        speed = f"{median(self.step_seconds[-20:]):.2f} s/step"
        return {"loss": mean(result.losses), **measured, "speed": speed}

    def _after_step(self, engine: Engine, step: int, logs: Sequence[MetricsLog]) -> Iterator[Event]:
        """Write what is due after `step` steps, or asked for, and not there yet: checkpoints, samples, validation, state.

        A smoke run writes none.
        """
        from maquette.training.breakdown import require_sound

        job = self.job
        if job.smoke_steps is not None:
            return
        every = job.settings.saving.state_every_steps
        wishes = wishes_of(job.folder.path)
        due = [(output, planned) for output in self.outputs for planned in output.due(step)]
        keeps = bool(due) or "save" in wishes or bool(every and step % every == 0)
        if keeps:
            for output in self.outputs:
                require_sound(engine.parameters_of(output.index), step)
        wished = [(output, output.here(step)) for output in self._unsaved(step) if "save" in wishes]
        missing = [(output, planned) for output, planned in (*due, *wished) if not output.has(planned)]
        draws = self._samples_due(step, bool(due), wishes)
        undrawn = [output for output in self.outputs if draws and not output.has_samples(step)]
        if missing or undrawn:
            with engine.judged():
                yield from self._show(engine, step, missing, undrawn)
        yield from self._validate(engine, step, logs, at_checkpoint=bool(due))
        if step != self.saved and keeps:
            self._save_state(engine, step)
        done_as_asked(job.folder.path, wishes)
        if due and self.judge is not None:
            yield from self._judged(engine, self.judge, step)

    def _judged(self, engine: Engine, judge: CheckpointJudge, step: int) -> Iterator[Event]:
        """Judge the checkpoints of a step; the run is over where no trial's gets better any more."""
        verdicts = []
        with engine.judged():
            for output in self.outputs:
                verdicts.append((yield from output.judge(engine.standing(output.index), judge, step)))
        total = self.job.schedule.steps
        if all(verdicts) and step < total:
            self.is_over = True
            told = (
                f"Stopped early after step {step:,} of {total:,}: {self.job.settings.validation.early_stop} checkpoints in a row "
                "were no better than the best before. The best is chosen (choice.json)."
            )
            yield Message(told)
            for output in self.outputs:
                output.note(notes=(*(note for note in output.record.notes if note != told), told))

    def _validate(
        self, engine: Engine, step: int, logs: Sequence[MetricsLog], *, at_checkpoint: bool = False
    ) -> Iterator[Event]:
        if self.validation is not None:
            yield from self.validation.after_step(engine, step, at_checkpoint, logs)
            self.timings["validation_s"] = self.validation.seconds

    def _show(
        self,
        engine: Engine,
        step: int,
        due: Sequence[tuple[TrialOutput, PlannedCheckpoint]],
        undrawn: Sequence[TrialOutput],
    ) -> Iterator[Event]:
        """Write the checkpoints and draw the samples of a step."""
        for output, planned in due:
            standing = engine.standing(output.index)
            yield from output.save_checkpoint(standing, planned, self.base_hash.result())
        for output in undrawn:
            assert self.draw is not None
            yield from output.draw_samples(engine.standing(output.index), self.draw, step)

    def _samples_of_the_base(self, engine: Engine) -> Iterator[Event]:
        """Draw samples before anything is learned, where that is asked for; a smoke run draws none."""
        job, samples = self.job, self.job.settings.samples
        if not samples.sample_at_first or not samples.sample_prompts:
            return
        if self.draw is None or job.smoke_steps is not None:
            return
        with engine.judged():
            yield from self._show(engine, 0, (), [each for each in self.outputs if not each.has_samples(0)])

    def _unsaved(self, step: int) -> list[TrialOutput]:
        """Return the trials that save no checkpoint of `step` by themselves."""
        return [output for output in self.outputs if not output.due(step)]

    def _samples_due(self, step: int, at_checkpoint: bool, wishes: frozenset[Wish]) -> bool:
        samples = self.job.settings.samples
        if self.draw is None or not samples.sample_prompts:
            return False
        if "sample" in wishes:
            return True
        if samples.sample_every_steps is None and samples.sample_every_epochs is None:
            return at_checkpoint
        schedule = self.job.schedule
        return is_due(
            step,
            schedule.steps,
            schedule.steps_per_epoch,
            samples.sample_every_steps,
            samples.sample_every_epochs,
        )

    def _save_state(self, engine: Engine, step: int) -> None:
        for output in self.outputs:
            output.save_state(engine.standing(output.index), step)
        self.saved = step
        self._note()

    def _result(self, engine: Engine) -> TrainResult:
        from maquette.devices import device_name

        job = self.job
        peak_memory_bytes = self._memory()
        for output in self.outputs:
            self._note_one(
                output,
                base_sha256=self.base_hash.result(),
                device=_computed_on(output.record, engine.forward_device),
                state="finished" if job.smoke_steps is None else "prepared",
                final_loss=output.final_loss(),
                peak_memory_bytes=peak_memory_bytes,
                finished_at=now(),
            )
        self.base_hash.close()
        self.reserve.give_back()
        return TrainResult(
            run=job.folder.path,
            trials=tuple(output.result() for output in self.outputs),
            steps=self.outputs[0].record.step if self.is_over else self.steps.stop,
            device=device_name(engine.placement.device),
            seconds_per_step=self.timings.get("seconds_per_step", 0.0),
            start_to_first_step_s=self.timings.get("start_to_first_step_s", 0.0),
            peak_memory_bytes=peak_memory_bytes,
            proofs=self.proving.proofs() if self.proving is not None else (),
        )

    def _memory(self) -> int:
        import torch

        from maquette.devices import peak_memory_bytes

        return peak_memory_bytes(torch.device(self.job.device))

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        self.timings[name] = time.perf_counter() - began
        return result

    def _note(self, **changes: Any) -> None:
        """Write `changes` into the record of every trial on disk."""
        for output in self.outputs:
            self._note_one(output, **changes)

    def _note_one(self, output: TrialOutput, **changes: Any) -> None:
        if self.step_seconds:
            # The first step carries warm-up; it is told apart as start_to_first_step_s.
            self.timings["seconds_per_step"] = median(self.step_seconds[1:] or self.step_seconds)
        output.note(timings={name: round(value, 4) for name, value in self.timings.items()}, **changes)


def _troubles(logs: Sequence[MetricsLog]) -> Iterator[Event]:
    """Say which trackers failed: they never stop a run."""
    yield from (Message(text, "warning") for log in logs for text in log.troubles())


def _computed_on(record: RunRecord, forward_device: str) -> DeviceRecord | None:
    return None if record.device is None else replace(record.device, forward_device=forward_device)

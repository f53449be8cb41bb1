"""A run from first to last: load, encode, train, save. It prints nothing; it yields events."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from maquette.errors import MaquetteError
from maquette.events import Artifact, Event, Finished, Message, Progress, Started
from maquette.files import sha256_file
from maquette.logs.metrics import MetricsLog, read_metrics, writes_tensorboard
from maquette.project.records import Checkpoint, RunRecord, now
from maquette.project.settings import Settings
from maquette.training.checkpoints import PlannedCheckpoint, is_due
from maquette.training.interrupt import StopRequest
from maquette.training.job import Job

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter
    from maquette.training.engine import Engine, StepResult

SampleDrawer = Callable[["BaseModel", "LoraAdapter", Settings, int, Path], Sequence[dict[str, Any]]]
"""Draws the samples of a step into a folder; returns a record of each. Drawing lives above training, so it is handed in."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What a finished run is: its folder, its LoRA, and what was measured."""

    run: Path
    lora: Path
    steps: int
    final_loss: float
    device: str
    seconds_per_step: float
    start_to_first_step_s: float
    peak_memory_bytes: int
    record: RunRecord


def run_job(job: Job, *, draw: SampleDrawer | None = None, started: float | None = None) -> Iterator[Event]:
    """Train `job` and yield events; the last is Finished("train", TrainResult).

    `started` is the perf_counter() reading that start_to_first_step_s counts from. An interrupt saves the state and raises
    KeyboardInterrupt; whatever goes wrong, the record says so and checkpoints and state stay.
    """
    run = _Run(job, draw, started if started is not None else time.perf_counter())
    try:
        yield from run.events()
    except KeyboardInterrupt:
        run.note_end("interrupted", None)
        raise
    except GeneratorExit:
        run.note_end("interrupted", "the caller stopped listening")
        raise
    except BaseException as error:
        job.folder.log.parent.mkdir(parents=True, exist_ok=True)
        with job.folder.log.open("a", encoding="utf-8") as log:
            log.write(f"{now()}\n{traceback.format_exc()}\n")
        run.note_end(
            "failed", str(error) if isinstance(error, MaquetteError) else f"{type(error).__name__}: {error}"
        )
        raise


class _Run:
    """The state of one running job: its record and the clocks."""

    def __init__(self, job: Job, draw: SampleDrawer | None, started: float) -> None:
        self.job = job
        self.draw = draw
        self.started = started
        self.record = job.record
        self.step_seconds: list[float] = []
        self.timings: dict[str, float] = dict(job.record.timings)
        first, total = job.resume.step if job.resume else 0, job.schedule.steps
        self.steps = range(first, total if job.smoke_steps is None else min(first + job.smoke_steps, total))
        self.hasher = ThreadPoolExecutor(max_workers=1)
        self.base_hash: Future[str] | None = None

    def events(self) -> Iterator[Event]:
        """Yield everything that happens, in order."""
        from maquette.training.data import TrainingPictures

        job = self.job
        self._note(state="running")
        self.base_hash = self.hasher.submit(_base_hash, job.base_file)
        yield from (Message(text.text, text.level) for text in job.messages)
        placement = self._timed("device_s", self._place)
        yield Started("load")
        model = self._timed("load_s", self._load)
        yield from (Message(note, "warning") for note in model.notes)
        draws = self.draw is not None and bool(job.settings.samples.sample_prompts)
        data = TrainingPictures(job.dataset, model, keep_vae=draws)
        yield from data.cut_captions(job.settings.dataset.max_token_length)
        began = time.perf_counter()
        yield from data.encode_all(self.steps)
        self.timings["encode_s"] = time.perf_counter() - began
        engine = self._timed("adapter_s", partial(self._engine, model, placement))
        yield from self._steps(engine, data)
        yield Finished("train", self._result(engine))

    def note_end(self, state: str, error: str | None) -> None:
        """Write into the record that the run ended early."""
        self.hasher.shutdown(wait=False, cancel_futures=True)
        self._note(state=state, error=error, finished_at=now())

    def _place(self) -> Any:
        from maquette.devices import device_name, place

        placement = place(self.job.device, self.job.precision)
        self._note(device={"device": device_name(placement.device), "precision": placement.precision})
        return placement

    def _load(self) -> BaseModel:
        from maquette import families
        from maquette.devices import DTYPES

        model = families.load(
            self.job.settings.model.base, dtype=DTYPES[self.job.precision], device=self.job.device
        )
        if self.job.settings.training.gradient_checkpointing:
            model.set_gradient_checkpointing(True)
        return model

    def _engine(self, model: BaseModel, placement: Any) -> Engine:
        from maquette.lora.adapter import LoraAdapter
        from maquette.training.engine import Engine
        from maquette.training.state import restore_state

        job = self.job
        adapter = LoraAdapter.attach(model, job.trial_specs(), parts=job.parts)
        engine = Engine(
            model,
            adapter,
            job.trials,
            placement,
            optimizer=job.settings.training.optimizer,
            total_steps=job.schedule.steps,
            clip_skip=job.clip_skip,
            max_token_length=job.settings.dataset.max_token_length,
        )
        if job.resume is not None:
            restore_state(job.resume, adapter, engine.optimizers, engine.scaler)
        return engine

    def _steps(self, engine: Engine, data: Any) -> Iterator[Event]:
        job, first, total = self.job, self.steps.start, self.steps.stop
        yield Started("train", total, "step")
        with (
            StopRequest() as stop,
            MetricsLog(job.folder.metrics, self._events_folder(), resume_step=first) as metrics,
        ):
            for step in self.steps:
                began = time.perf_counter()
                result = engine.step(step, data.micro_steps(step), job.schedule.accumulation)
                self._clock(engine, time.perf_counter() - began)
                self._log(metrics, step + 1, result)
                yield Progress("train", step + 1, total, "step", self._shown(result))
                yield from self._after_step(engine, step + 1)
                if stop.requested and step + 1 < total:
                    self._save_state(engine, step + 1)
                    raise KeyboardInterrupt

    def _events_folder(self) -> Path | None:
        wanted = writes_tensorboard(self.job.settings.saving.tensorboard)
        return self.job.folder.events if wanted else None

    def _clock(self, engine: Engine, seconds: float) -> None:
        from maquette.devices import synchronize

        if not self.step_seconds:
            synchronize(engine.placement.device)
            self.timings["start_to_first_step_s"] = time.perf_counter() - self.started
        self.step_seconds.append(seconds)

    def _log(self, metrics: MetricsLog, step: int, result: StepResult) -> None:
        text = (
            ["lr_text_encoder"]
            if self.job.trials[0].text_encoder_lr and "text_encoder" in self.job.parts
            else []
        )
        names = [*text, *(["lr_denoiser"] if "denoiser" in self.job.parts else [])]
        metrics.write(
            step,
            {
                "loss": result.losses[0],
                "gradient_norm": result.gradient_norms[0],
                **dict(zip(names, result.learning_rates[0], strict=True)),
                "seconds": round(self.step_seconds[-1], 4),
                "peak_memory_bytes": self._memory(),
            },
        )
        self.record = self.record.with_(step=step)

    def _shown(self, result: StepResult) -> dict[str, float | str]:
        return {"loss": result.losses[0], "speed": f"{median(self.step_seconds[-20:]):.2f} s/step"}

    def _after_step(self, engine: Engine, step: int) -> Iterator[Event]:
        """Write what is due after `step` steps: checkpoints, samples, state. A smoke run writes none."""
        job = self.job
        if job.smoke_steps is not None:
            return
        due = [planned for planned in job.checkpoints if planned.step == step]
        for planned in due:
            yield from self._save_checkpoint(engine, planned)
        if self._samples_due(step, bool(due)):
            yield from self._draw_samples(engine, step)
        every = job.settings.saving.state_every_steps
        if due or (every and step % every == 0):
            self._save_state(engine, step)

    def _save_checkpoint(self, engine: Engine, planned: PlannedCheckpoint) -> Iterator[Event]:
        from maquette.training.export import save_checkpoint

        assert self.base_hash is not None
        path = self.job.folder.checkpoints / planned.file_name
        saved = save_checkpoint(path, engine.adapter, self.job, planned, self.base_hash.result(), self.record)
        yield from (Message(note, "warning") for note in saved.notes)
        entry = Checkpoint(
            path=path.relative_to(self.job.folder.path).as_posix(),
            step=planned.step,
            epoch=planned.epoch,
            final=planned.final,
            sha256=sha256_file(path),
        )
        others = tuple(known for known in self.record.checkpoints if known.path != entry.path)
        self._note(checkpoints=(*others, entry))
        yield Artifact("checkpoint", path)

    def _samples_due(self, step: int, at_checkpoint: bool) -> bool:
        samples = self.job.settings.samples
        if self.draw is None or not samples.sample_prompts:
            return False
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

    def _draw_samples(self, engine: Engine, step: int) -> Iterator[Event]:
        assert self.draw is not None
        engine.adapter.train(False)
        drawn = self.draw(engine.model, engine.adapter, self.job.settings, step, self.job.folder.samples)
        engine.adapter.train(True)
        known = tuple(entry for entry in self.record.samples if entry["step"] != step)
        self._note(samples=(*known, *drawn))
        for entry in drawn:
            yield Artifact("sample", self.job.folder.path / entry["path"])

    def _save_state(self, engine: Engine, step: int) -> None:
        from maquette.training.state import save_state

        save_state(
            self.job.folder.state, step, self.job.digest, engine.adapter, engine.optimizers, engine.scaler
        )
        self._note()

    def _result(self, engine: Engine) -> TrainResult:
        from maquette.devices import device_name

        job = self.job
        assert self.base_hash is not None
        self._note(
            base={**self.record.base, "sha256": self.base_hash.result()},
            device={**self.record.device, "forward_device": engine.forward_device},
            state="finished" if job.smoke_steps is None else "prepared",
            final_loss=final_loss(job.folder.metrics, job.schedule.steps_per_epoch),
            peak_memory_bytes=self._memory(),
            finished_at=now(),
        )
        self.hasher.shutdown()
        return TrainResult(
            run=job.folder.path,
            lora=job.folder.checkpoints / job.checkpoints[-1].file_name,
            steps=self.record.step,
            final_loss=self.record.final_loss or 0.0,
            device=device_name(engine.placement.device),
            seconds_per_step=self.timings.get("seconds_per_step", 0.0),
            start_to_first_step_s=self.timings.get("start_to_first_step_s", 0.0),
            peak_memory_bytes=self.record.peak_memory_bytes or 0,
            record=self.record,
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
        """Write `changes` into the record on disk."""
        if self.step_seconds:
            # The first step carries warm-up; it is told apart as start_to_first_step_s.
            self.timings["seconds_per_step"] = median(self.step_seconds[1:] or self.step_seconds)
        timings = {name: round(value, 4) for name, value in self.timings.items()}
        self.record = self.record.with_(timings=timings, **changes)
        self.record.write(self.job.folder)


def final_loss(metrics: Path, steps_per_epoch: int) -> float:
    """Return the mean loss over the last epoch's steps: one step's loss alone says nothing."""
    losses = [row["loss"] for row in read_metrics(metrics)][-steps_per_epoch:]
    return sum(losses) / len(losses) if losses else float("nan")


def _base_hash(path: Path | None) -> str:
    return sha256_file(path) if path is not None and path.is_file() else ""

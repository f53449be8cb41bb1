"""A process that computes its part of another's batches; `processes.py` starts it and says what to do."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from typing import IO, TYPE_CHECKING

import torch

from maquette.training.exchange import (
    Answer,
    Assignment,
    Task,
    gather_gradients,
    join,
    leave,
    receive,
    send,
    share_weights,
)

if TYPE_CHECKING:
    from maquette.training.engine import Engine


class _Scale:
    """Scales losses as the lead's GradScaler does; the lead alone judges by it."""

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        return loss * self._factor


def main() -> None:
    """Help until there is nothing more to do, or nobody to help."""
    source = sys.stdin.buffer
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        assignment = receive(source)
        _help(assignment, source, answers)
    except (EOFError, OSError):
        pass  # the lead is gone, or has no more to do
    finally:
        leave()


def _help(assignment: Assignment, source: IO[bytes], answers: IO[bytes]) -> None:
    from maquette.training.kernels import kernels_of

    torch.set_num_threads(assignment.threads)
    with kernels_of(assignment.job.settings.training):
        try:
            engine = _engine(assignment)
        except Exception as error:  # whatever it is, the lead must hear of it
            send(answers, _failed(error))
            return
        send(answers, Answer([]))
        receive(source)
        join(assignment.store, assignment.process, assignment.processes, engine.placement.device)
        while True:
            task = receive(source)
            share_weights(engine)
            answer = _answer(engine, task)
            send(answers, answer)
            if answer.error:
                return
            gather_gradients(engine)
            engine.forget_gradients()


def _engine(assignment: Assignment) -> Engine:
    from maquette import families
    from maquette.devices import place
    from maquette.training.building import build_engine, load_base
    from maquette.training.fitting import FittedBlocks
    from maquette.training.kernels import compile_blocks
    from maquette.training.texts import CaptionEncoder

    job = replace(assignment.job, spec=families.FAMILIES[assignment.job.info.family].spec)
    placement = place(job.device, job.precision)
    model = load_base(job)
    model.vae.to("meta")
    for _ in FittedBlocks(job).apply(model):
        pass
    texts = CaptionEncoder(model, placement, job.options, trains="text_encoder" in job.parts)
    if assignment.texts is not None:
        texts.take(assignment.texts)
        for _ in texts.release():
            pass
    engine = build_engine(job, model, placement, texts)
    if job.settings.training.compile_blocks:
        compile_blocks(model)
    return engine


def _answer(engine: Engine, task: Task) -> Answer:
    engine.train(True)
    if task.scale is not None:
        engine.scaler = _Scale(task.scale)  # type: ignore[assignment]
    try:
        return Answer(
            [
                engine.micro_step(index, batch, task.accumulation) if batch.share else None
                for index, batch in task.micro_steps
            ]
        )
    except Exception as error:  # whatever it is, the lead must hear of it
        return _failed(error)


def _failed(error: Exception) -> Answer:
    from maquette.devices import is_out_of_memory

    full = is_out_of_memory(error)
    lines = str(error).strip().splitlines() or [""]
    told = "its device has no memory left" if full else f"{type(error).__name__}: {lines[0]}"
    return Answer([], error=told, is_full=full, trace=traceback.format_exc())

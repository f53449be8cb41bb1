"""A process that computes its part of another's batches; `processes.py` starts it and says what to do."""

from __future__ import annotations

import os
import sys
import traceback
from typing import IO, TYPE_CHECKING, TypeVar

import torch

from maquette.training.exchange import gather_gradients, join, leave, share_weights
from maquette.training.letters import Answer, Assignment, Letter, Meet, Task, receive, send

if TYPE_CHECKING:
    from maquette.training.engine import Engine


T = TypeVar("T")


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
        _help(_expected(source, Assignment), source, answers)
    except (EOFError, OSError):
        pass  # the lead is gone, or has no more to do
    finally:
        leave()


def _help(assignment: Assignment, source: IO[bytes], answers: IO[bytes]) -> None:
    from maquette.training.kernels import kernels_of

    torch.set_num_threads(assignment.threads)
    with kernels_of(assignment.settings.training):
        try:
            engine = _engine(assignment)
        except Exception as error:  # whatever it is, the lead must hear of it
            send(answers, _failed(error))
            return
        send(answers, Answer())
        _expected(source, Meet)
        join(assignment.store, assignment.process, assignment.processes, engine.placement.device)
        while True:
            task = _expected(source, Task)
            share_weights(engine)
            answer = _answer(engine, task)
            send(answers, answer)
            if answer.error:
                return
            gather_gradients(engine)
            engine.forget_gradients()


def _expected(source: IO[bytes], kind: type[T]) -> T:
    """Return the next letter. Raises EOFError where the lead has none of this kind for us any more."""
    letter: Letter = receive(source)
    if not isinstance(letter, kind):
        raise EOFError(f"{type(letter).__name__} instead of {kind.__name__}")
    return letter


def _engine(assignment: Assignment) -> Engine:
    """Return an engine like the lead's; what it has learned so far comes with every step."""
    from maquette import families
    from maquette.devices import place
    from maquette.families.options import family_options
    from maquette.training.building import build_engine, load_base
    from maquette.training.config import trial_of
    from maquette.training.continuing import weights_of
    from maquette.training.job import parts_of, spec_of
    from maquette.training.kernels import compile_blocks
    from maquette.training.texts import CaptionEncoder

    settings, training = assignment.settings, assignment.settings.training
    placement = place(assignment.device, assignment.precision)
    model = load_base(settings, assignment.device, assignment.precision)
    model.vae.to("meta")
    model.set_gradient_checkpointing(training.gradient_checkpointing)
    spec = families.FAMILIES[model.family].spec
    options = family_options(spec, settings.family_values())
    trials = [trial_of(each) for each in assignment.trials]
    specs = [
        spec_of(each, trial, weights_of(each.lora), spec, model.info)
        for each, trial in zip(assignment.trials, trials, strict=True)
    ]
    texts = CaptionEncoder(model, placement, options, trains="text_encoder" in parts_of(trials))
    if assignment.texts is not None:
        texts.take(assignment.texts)
        for _ in texts.release():
            pass
    engine = build_engine(model, placement, texts, trials, specs, options, assignment.total_steps)
    if training.compile_blocks:
        compile_blocks(model, training.compile_mode)
    return engine


def _answer(engine: Engine, task: Task) -> Answer:
    engine.train(True)
    if task.scale is not None:
        engine.scaler = _Scale(task.scale)  # type: ignore[assignment]
    try:
        return Answer(
            tuple(
                engine.micro_step(index, batch, task.accumulation) if batch.share else None
                for index, batch in task.micro_steps
            )
        )
    except Exception as error:  # whatever it is, the lead must hear of it
        return _failed(error)


def _failed(error: Exception) -> Answer:
    from maquette.devices import is_out_of_memory

    full = is_out_of_memory(error)
    lines = str(error).strip().splitlines() or [""]
    told = "its device has no memory left" if full else f"{type(error).__name__}: {lines[0]}"
    return Answer(error=told, is_full=full, trace=traceback.format_exc())

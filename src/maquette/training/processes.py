"""Several processes for one run, one to a GPU: together they train as one process with so many times the batch.

    lead      runs the job as ever: pictures, records, samples, optimizer ── gives weights and batches out, sums gradients up
    helpers   compute the gradients of their own rows of each batch; they keep nothing and write nothing

Every helper gets the weights anew at each step, so that what only the lead has (optimizer, averages, a resumed state) need not be
anywhere else. A helper ends when the lead's end of its pipe closes, however the lead came to its end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch

from maquette.devices import is_out_of_memory
from maquette.errors import Problem, TrainingError
from maquette.events import Event, Message, Stage
from maquette.training.batches import MicroBatch, own_rows
from maquette.training.exchange import LEAD, gather_gradients, join, leave, share_weights
from maquette.training.letters import Answer, Assignment, Letter, Meet, Task, receive, send

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maquette.training.engine import Engine, Shown
    from maquette.training.job import Job
    from maquette.training.texts import CaptionEncoder

HELPER = "from maquette.training.helping import main; main()"
PATIENCE_S = 5.0
"""How long a helper may take to end by itself."""


class Crew:
    """The lead's hold on the helpers of a run. Nothing is started before `start`; `close` leaves none behind."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._processes = job.settings.training.processes
        self._helpers: list[_Helper] = []
        self._threads = torch.get_num_threads()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def start(self, texts: CaptionEncoder) -> Iterator[Event]:
        """Start the helpers of a run that asks for some; they load the base while the lead goes on."""
        if self._processes == 1:
            return
        self._folder = tempfile.TemporaryDirectory(prefix="maquette-processes-")
        on_processor = self._job.device == "cpu"
        threads = max(1, self._threads // self._processes) if on_processor else self._threads
        torch.set_num_threads(threads)
        self._helpers = [_Helper(process, self._job) for process in range(1, self._processes)]
        kept = texts.kept() if texts.is_complete else None
        for helper in self._helpers:
            helper.tell(self._assignment(helper.process, threads, kept))
        devices = "the processor" if on_processor else f"GPUs 0 to {self._processes - 1}"
        yield Message(
            f"{self._processes} processes train together on {devices}, each with its part of every batch."
        )

    def _assignment(
        self, process: int, threads: int, texts: Mapping[str, Mapping[str, torch.Tensor]] | None
    ) -> Assignment:
        job = self._job
        return Assignment(
            process=process,
            processes=self._processes,
            store=self._store,
            threads=threads,
            device=f"cuda:{process}" if job.device.startswith("cuda") else job.device,
            precision=job.precision,
            total_steps=job.schedule.steps,
            settings=job.settings,
            trials=tuple(trial.settings for trial in job.trials),
            texts=texts,
        )

    def join(self, engine: Engine) -> Stage[None]:
        """Wait until every helper is ready, and let `engine` compute with them."""
        if not self._helpers:
            return
        yield Message("Waiting until the other processes have loaded the base.")
        for helper in self._helpers:
            helper.answer()
        for helper in self._helpers:
            helper.tell(Meet())
        try:
            join(self._store, LEAD, self._processes, engine.placement.device)
        except (RuntimeError, ValueError) as error:
            raise self._broken(error) from error
        engine.crew = self

    @property
    def _store(self) -> str:
        assert self._folder is not None
        return str(Path(self._folder.name) / "store")

    def passes(
        self, engine: Engine, micro_steps: Sequence[tuple[int, MicroBatch]], accumulation: int
    ) -> list[Shown]:
        """Run forward and backward of every batch in all processes; return what they showed, as if it had been one."""
        scale = engine.scaler.get_scale() if engine.scaler is not None else None
        for helper in self._helpers:
            helper.tell(Task(self._parts(micro_steps, helper.process), accumulation, scale))
        self._exchange(share_weights, engine)
        mine = [
            engine.micro_step(index, part, accumulation) for index, part in self._parts(micro_steps, LEAD)
        ]
        theirs = [helper.answer().shown for helper in self._helpers]
        self._exchange(gather_gradients, engine)
        return [together([first, *others]) for first, *others in zip(mine, *theirs, strict=True)]

    def _parts(
        self, micro_steps: Sequence[tuple[int, MicroBatch]], process: int
    ) -> tuple[tuple[int, MicroBatch], ...]:
        return tuple(
            (index, replace(batch, own=own_rows(len(batch.captions), process, self._processes)))
            for index, batch in micro_steps
        )

    def _exchange(self, what: Any, engine: Engine) -> None:
        for helper in self._helpers:
            helper.require_alive()
        try:
            what(engine)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> TrainingError:
        """Return why the processes lost each other: because one has ended, or what torch says."""
        for helper in self._helpers:
            with suppress(subprocess.TimeoutExpired):
                helper.popen.wait(1.0)
                return helper.ended()
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return TrainingError(
            Problem("processes", f"they lost each other: {lines[0]}", "exchanges between all of them", _GO_ON)
        )

    def close(self) -> None:
        """End the helpers, whatever they are doing, and wait until they have."""
        for helper in self._helpers:
            helper.let_go()
        for helper in self._helpers:
            helper.end()
        if self._helpers:
            self._helpers = []
            leave()
        torch.set_num_threads(self._threads)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


_GO_ON = "Go on with `maquette train --resume RUN`; if it comes again, with one process and accumulation."


class _Helper:
    """One process that helps, as the lead sees it."""

    def __init__(self, process: int, job: Job) -> None:
        self.process = process
        self.job = job
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open as long as the helper
        self.popen = subprocess.Popen(
            # -P: the folder that it is started in holds no modules of ours.
            [sys.executable, "-P", "-c", HELPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            # Ctrl-C is for the lead, which ends its helpers.
            start_new_session=os.name == "posix",
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self.popen.stdin is not None and self.popen.stdout is not None
        return self.popen.stdin, self.popen.stdout

    def tell(self, letter: Letter) -> None:
        """Send it a letter. Raises TrainingError where it has ended."""
        try:
            send(self._pipes()[0], letter)
        except OSError:
            raise self.ended() from None

    def answer(self) -> Answer:
        """Return what it answers. Raises TrainingError where it failed or has ended."""
        try:
            answer = receive(self._pipes()[1])
        except (EOFError, OSError):
            raise self.ended() from None
        assert isinstance(answer, Answer), "a helper writes nothing else"
        if not answer.error:
            return answer
        with suppress(OSError), self.job.folder.log.open("a", encoding="utf-8") as file:
            file.write(f"process {self.process}\n{answer.trace}\n")
        remedy = (
            "Close other programs that use it, or resume with --gradient-checkpointing."
            if answer.is_full
            else f"{self.job.folder.log} has the details."
        )
        raise TrainingError(Problem(f"process {self.process}", answer.error, "its part of the step", remedy))

    def require_alive(self) -> None:
        """Raise TrainingError where it has ended."""
        if self.popen.poll() is not None:
            raise self.ended()

    def ended(self) -> TrainingError:
        """Return the error of a helper that is gone, with the last that it said."""
        with suppress(subprocess.TimeoutExpired):
            self.popen.wait(PATIENCE_S)
        self._said.seek(0)
        lines = self._said.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        code = self.popen.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        given = f"it ended ({how}){last}"
        return TrainingError(Problem(f"process {self.process}", given, "a process that goes on", _GO_ON))

    def let_go(self) -> None:
        """Close its pipes: it ends where it looks for its next task."""
        for pipe in self._pipes():
            with suppress(OSError):
                pipe.close()

    def end(self) -> None:
        """Wait for its end, and end it where it takes too long."""
        try:
            self.popen.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        finally:
            self._said.close()


def together(parts: Sequence[Shown | None]) -> Shown:
    """Return what one process would have shown of a batch whose rows several have computed, in their order."""
    shown = [part for part in parts if part is not None]
    preserved = [part.preserved_P for part in shown if part.preserved_P is not None]
    return replace(
        shown[0],
        names=tuple(name for part in shown for name in part.names),
        timesteps_PB=torch.cat([part.timesteps_PB for part in shown], dim=1),
        losses_PB=torch.cat([part.losses_PB for part in shown], dim=1),
        regularization_B=torch.cat([part.regularization_B for part in shown]),
        preserved_P=torch.stack(preserved).sum(dim=0) if preserved else None,
    )

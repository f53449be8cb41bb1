"""The whole way of a project: captions, check, plan, train, evaluate, select, and what deploying would do.

Each stage is fresh while what it reads is the same as when it was done last, told by content (`contents.py`); else it runs, and
says why. The first that cannot go on stops the way. Killed anywhere, the same command goes on: a training from its newest state.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from maquette.api import resolve_settings
from maquette.checking.options import CheckOptions
from maquette.checking.run import check_events
from maquette.choosing.options import SelectOptions
from maquette.choosing.select import select_events
from maquette.dataset.facts import DatasetFacts
from maquette.dataset.reading import read_dataset
from maquette.deploying.options import DeployOptions
from maquette.deploying.run import delivery_of
from maquette.errors import ConfigError, MaquetteError, Problem
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.run import evaluate_events
from maquette.events import Finished, Message, Progress, Stage, Started
from maquette.files import sha256_file
from maquette.jobs.contents import Contents, contents_of_files, contents_of_program, contents_of_training
from maquette.jobs.pipeline_options import AutoOptions
from maquette.jobs.progress_file import Known, folder_of
from maquette.jobs.training import finished_like, resumable, train_events
from maquette.locking import held, holder_of
from maquette.measuring.looks import LOOK
from maquette.planning.options import PlanOptions
from maquette.planning.requests import asked_of_plan
from maquette.planning.run import plan_events
from maquette.project.config_file import CONFIG_NAME
from maquette.project.profile import PROFILE_NAME
from maquette.project.settings import Settings
from maquette.runs.choice import NAME as CHOICE
from maquette.runs.choice import read_choice
from maquette.runs.folder import RunFolder
from maquette.runs.record import read_record
from maquette.spoken import counted, disk_size, memory_size
from maquette.stopping import Stop, stoppable
from maquette.training.prepare import dataset_input

StageState = Literal["ran", "fresh", "stopped", "missing"]
NAMES = ("captions", "check", "plan", "train", "evaluate", "select", "deploy")
LOOKS_EVERY_S = 0.5
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class StageTold:
    """What became of a stage, and why."""

    name: str
    state: StageState
    why: str


@dataclass(frozen=True, kw_only=True)
class AutoResult:
    """How far the way was gone."""

    project: Path
    stages: tuple[StageTold, ...]
    run: Path | None = None
    lora: Path | None = None
    """The chosen checkpoint."""
    deploy: dict[str, Any] = field(default_factory=dict)
    """What deploying would install, and the command that does."""

    @property
    def has_stopped(self) -> bool:
        return any(stage.state == "stopped" for stage in self.stages)


class Stopping(Exception):
    """A stage cannot go on; says why."""


def auto_events(project: Path, options: AutoOptions, stop: Stop | None = None) -> Stage[AutoResult]:
    """Go the whole way of `project`, as far as it goes. Raises ConfigError where it is none."""
    if not (project / CONFIG_NAME).is_file():
        remedy = "maquette init makes one from pictures."
        raise ConfigError(Problem(str(project), f"no {CONFIG_NAME} there", "a project's folder", remedy))
    settings = resolve_settings(project)
    with held(folder_of(project), what="auto"):
        return (yield from _Way(project, settings, options, stop).go())


class _Way:
    """One walk through the stages."""

    def __init__(self, project: Path, settings: Settings, options: AutoOptions, stop: Stop | None) -> None:
        self.project, self.settings, self.options, self.stop = project, settings, options, stop
        self.known = Known.read(project)
        self.facts: DatasetFacts | None = None
        self.reads: Contents = {}
        """All that a training reads."""
        self.run: Path | None = None
        self.deploy: dict[str, Any] = {}

    def go(self) -> Stage[AutoResult]:
        """Yield the events of every stage that runs; return what became of each."""
        told: list[StageTold] = []
        steps: dict[str, Callable[[], Stage[StageTold]]] = {name: getattr(self, f"_{name}") for name in NAMES}
        for name in NAMES[: NAMES.index(self.options.until) + 1]:
            if told and told[-1].state == "stopped":
                told.append(
                    StageTold(name=name, state="stopped", why=f"not reached: {_first_stop(told)} stopped")
                )
                continue
            try:
                stage = yield from steps[name]()
            except (Stopping, MaquetteError) as error:
                why = str(error) if isinstance(error, Stopping) else str(error.problems[0])
                stage = StageTold(name=name, state="stopped", why=why)
            yield Message(f"{stage.name}: {stage.state}: {stage.why}")
            told.append(stage)
        return AutoResult(
            project=self.project, stages=tuple(told), run=self.run, lora=self._chosen(), deploy=self.deploy
        )

    # --- the stages -----------------------------------------------------------------------------------

    def _captions(self) -> Stage[StageTold]:
        """Wait until every picture that is meant to has a caption, and count both."""
        yield from stoppable(self._complete(), self.stop)
        facts = self._looked()
        self.reads = contents_of_training(self.settings, facts, self.project, self.known.hashes)
        read = {name: each for name, each in self.reads.items() if name.startswith(("picture ", "caption "))}
        why = _counts(facts)
        changed = self.known.changed("captions", read)
        if changed is None:
            return StageTold(name="captions", state="fresh", why=f"{why}; as when it was looked at last")
        self.known.note("captions", read)
        return StageTold(name="captions", state="ran", why=f"{why}; {changed}")

    def _complete(self) -> Stage[None]:
        """Tell how many captions there are until all are."""
        began, is_told = time.monotonic(), False
        while True:
            facts = self.facts = read_dataset(dataset_input(self.settings), "listing")
            if facts.problems:
                raise Stopping(str(facts.problems[0]))
            total = len(facts.files)
            if not total:
                raise Stopping(f"no pictures in {facts.root}")
            missing = [] if self.options.without_captions else _uncaptioned(facts)
            if not missing:
                if is_told:
                    yield Finished("captions")
                return
            writer = _writer_of(self.project, facts)
            if writer is None and time.monotonic() - began >= self.options.wait_s:
                raise Stopping(_incomplete(missing, total, self.project))
            if not is_told:
                yield Started("captions", total, "caption")
                yield Message(
                    f"Waiting for {counted(len(missing), 'caption')}" + (f": {writer}" if writer else "")
                )
                is_told = True
            yield Progress("captions", total - len(missing), total, "caption")
            time.sleep(LOOKS_EVERY_S)

    def _check(self) -> Stage[StageTold]:
        read = self.reads | contents_of_program()
        changed = self.known.changed("check", read)
        if changed is None:
            return StageTold(
                name="check",
                state="fresh",
                why=f"nothing that it reads changed; {self.known.gave('check')['told']}",
            )
        found = yield from stoppable(check_events([self.project], CheckOptions()), self.stop)
        told = f"{counted(found.count('error'), 'error')}, {counted(found.count('warning'), 'warning')}"
        if found.failed:
            self.known.forget("check")
            first = next(each for each in found.findings if each.severity == "error")
            again = shlex.join(["maquette", "check", str(self.project)])
            raise Stopping(f"{told}; {first.code} at {first.path}: {first.message} All of them: {again}")
        self.known.note("check", read, told=told)
        return StageTold(name="check", state="ran", why=f"{told}; {changed}")

    def _plan(self) -> Stage[StageTold]:
        limits = {"measure": False, "memory_bytes": self.options.memory}
        wanted, options = asked_of_plan(self.project, {}, PlanOptions.made_from(None, limits))
        # Always worked out: what the machine has free is not the project's to remember.
        planned = yield from stoppable(plan_events(wanted, options), self.stop)
        sizes = f"{memory_size(planned.memory.peak_bytes)} of memory, {disk_size(planned.disk.total_bytes)} on the disk"
        told = f"{planned.schedule.explain()}; {sizes}"
        have = planned.device.memory_bytes
        again = shlex.join(["maquette", "plan", str(self.project)])
        if have is not None and planned.memory.peak_bytes > have:
            raise Stopping(f"it does not fit into {memory_size(have)}: {told}. What to change: {again}")
        if planned.disk.problems:
            raise Stopping(f"{planned.disk.problems[0]} ({told})")
        read = self.reads | contents_of_program()
        changed = self.known.changed("plan", read)
        if changed is None and self.known.gave("plan").get("told") == told:
            return StageTold(name="plan", state="fresh", why=f"it still fits: {told}")
        self.known.note("plan", read, told=told)
        return StageTold(
            name="plan", state="ran", why=f"it fits: {told}; {changed or 'the machine has changed'}"
        )

    def _train(self) -> Stage[StageTold]:
        changed = self.known.changed("train", self.reads)
        given = self.known.gave("train").get("run")
        before = Path(given) if given else None
        if changed is None and before is not None and _is_finished(before):
            self.run = before
            return StageTold(name="train", state="fresh", why=f"{before} was trained with all this")
        going_on = before if changed is None and before is not None and resumable(before) else None
        note = partial(self.known.note, "train", self.reads)
        if going_on is None and (found := finished_like(self.settings, self.project)) is not None:
            self.run = found
            note(run=str(found))
            return StageTold(
                name="train", state="fresh", why=f"{found} was trained with all this, by another command"
            )
        # Noted before the first step: whatever ends it, the next walk goes on with it.
        self.run = yield from train_events(self.project, going_on, lambda run: note(run=str(run)), self.stop)
        why = (
            f"{going_on} went on where it had ended" if going_on else (changed or f"the run {before} is gone")
        )
        record = read_record(self.run)
        shown = len(record.dataset.subject)
        expected = len(self._looked().files) if record.schedule else shown
        counts = "" if shown == expected else f"; {shown} pictures of {expected} were trained on"
        return StageTold(
            name="train", state="ran", why=f"{why}; {counted(record.step, 'step')}, {self.run}{counts}"
        )

    def _evaluate(self) -> Stage[StageTold]:
        run = self._trained()
        read = self._judged_by(run)
        changed = self.known.changed("evaluate", read)
        report = self.known.gave("evaluate").get("report")
        if changed is None and report and Path(report).is_file() and (run / "evaluation" / LOOK).is_file():
            return StageTold(
                name="evaluate", state="fresh", why=f"the same checkpoints and prompts; {report}"
            )
        options = EvaluateOptions(suite=self.options.suite, seeds=self.options.seeds)
        found = yield from stoppable(evaluate_events([run], options), self.stop)
        self.known.note("evaluate", read, report=str(found.report))
        why = changed or "the report is gone"
        return StageTold(
            name="evaluate", state="ran", why=f"{why}; {counted(found.pictures, 'picture')}, {found.report}"
        )

    def _select(self) -> Stage[StageTold]:
        run = self._trained()
        evaluation = run / "evaluation"
        files = [evaluation / LOOK, evaluation / "scorecards.json", run / "votes.jsonl"]
        read = contents_of_files("judgement", files, self.project, self.known.hashes)
        changed = self.known.changed("select", read)
        choice = read_choice(run)
        if choice is not None and choice.decided_by == "person":
            return StageTold(name="select", state="fresh", why=f"a person chose {choice.label}")
        if changed is None and choice is not None:
            return StageTold(name="select", state="fresh", why=f"judged by the same: {choice.label}")
        found = yield from stoppable(
            select_events(run, SelectOptions(suite=self.options.suite, seeds=self.options.seeds)), self.stop
        )
        read = contents_of_files("judgement", files, self.project, self.known.hashes)
        self.known.note("select", read)
        why = changed or f"{CHOICE} is gone"
        return StageTold(name="select", state="ran", why=f"{why}; {found.choice.headline}")

    def _deploy(self) -> Stage[StageTold]:
        """Say what deploying would do; nothing is installed."""
        run = self._trained()
        options = DeployOptions(comfyui=self.options.comfyui, webui=self.options.webui)
        delivery = delivery_of(run, options)
        places = [
            part
            for flag, place in (("--comfyui", options.comfyui), ("--webui", options.webui))
            if place is not None
            for part in (flag, str(place))
        ]
        command = ["maquette", "deploy", str(run), *(places or ["--comfyui", "DIR"])]
        self.deploy = {
            "lora": str(delivery.lora),
            "sha256": sha256_file(delivery.lora),
            "name": delivery.name,
            "trigger": delivery.recipe.trigger,
            "prompt": delivery.recipe.template,
            "command": shlex.join(command),
        }
        read = contents_of_files("choice", [run / CHOICE, delivery.lora], self.project, self.known.hashes)
        read |= {"place given": shlex.join(places)}
        changed = self.known.changed("deploy", read)
        told = f"would install {delivery.lora.name} as {delivery.name}: {self.deploy['command']}"
        if changed is None:
            return StageTold(name="deploy", state="fresh", why=f"{told}; nothing was installed")
        self.known.note("deploy", read)
        yield Message(f"Prompt: {delivery.recipe.template}")
        return StageTold(name="deploy", state="ran", why=f"{told}; nothing was installed; {changed}")

    # --- what they share ------------------------------------------------------------------------------

    def _looked(self) -> DatasetFacts:
        assert self.facts is not None, "captions are looked at first"
        return self.facts

    def _trained(self) -> Path:
        assert self.run is not None, "training comes before"
        return self.run

    def _judged_by(self, run: Path) -> Contents:
        """Return what an evaluation reads: checkpoints, profile, references, how it is asked."""
        record = read_record(run)
        checkpoints = [run / each.path for each in record.checkpoints]
        references = sorted(each for each in (self.project / "references").rglob("*") if each.is_file())
        hashes = self.known.hashes
        return {
            **contents_of_files("checkpoint", checkpoints, self.project, hashes),
            **contents_of_files("profile", [self.project / PROFILE_NAME], self.project, hashes),
            **contents_of_files("reference", references, self.project, hashes),
            "setting suite": str(self.options.suite or "quick"),
            "setting seeds": str(self.options.seeds or 4),
        }

    def _chosen(self) -> Path | None:
        choice = read_choice(self.run) if self.run is not None else None
        return None if choice is None or self.run is None else self.run / choice.checkpoint


def _first_stop(told: Sequence[StageTold]) -> str:
    return next(stage.name for stage in told if stage.state == "stopped")


def _uncaptioned(facts: DatasetFacts) -> list[Path]:
    """Return the pictures whose caption is meant to be there and is not, or is empty."""
    absent = [path for paths in facts.uncaptioned.values() for path in paths]
    absent += [each.picture for each in facts.captions if each.picture is not None and not each.text.strip()]
    return list(dict.fromkeys(absent))


def _incomplete(missing: Sequence[Path], total: int, project: Path) -> str:
    names = ", ".join(path.name for path in missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
    again = shlex.join(["maquette", "caption", str(project)])
    return f"{len(missing)} of {counted(total, 'picture')} have no caption ({names}). Write them: {again}"


def _counts(facts: DatasetFacts) -> str:
    captions = [each for each in facts.captions if each.picture is not None]
    orphans = [each.path.name for each in facts.captions if each.picture is None]
    told = f"{counted(len(facts.files), 'picture')}, {counted(len(captions), 'caption')}"
    if facts.regularization_files:
        told += f", {counted(len(facts.regularization_files), 'regularization picture')}"
    if orphans:
        told += f"; {counted(len(orphans), 'caption')} without a picture ({', '.join(orphans[:SHOWN])})"
    return told


def _writer_of(project: Path, facts: DatasetFacts) -> str | None:
    """Return who is writing captions there now; None where nobody is seen to."""
    places = dict.fromkeys((project, facts.root, *(folder.path for folder in facts.used_folders)))
    owners = (holder_of(place) for place in places)
    return next(
        (str(owner) for owner in owners if owner is not None and owner.what.startswith("caption")), None
    )


def _is_finished(run: Path) -> bool:
    """Return whether a run came to its end and its last checkpoint is still what it wrote."""
    if not RunFolder(run).record.is_file():
        return False
    record = read_record(run)
    last = record.last_checkpoint
    if record.state != "finished" or last is None or not (run / last.path).is_file():
        return False
    return not last.sha256 or sha256_file(run / last.path) == last.sha256


def lines_of(result: AutoResult) -> Iterator[str]:
    """Yield what a person reads of it."""
    for stage in result.stages:
        yield f"{stage.name:<9} {stage.state:<8} {stage.why}"
    if result.lora is not None:
        yield f"LoRA: {result.lora}"
    if result.deploy:
        yield f"Next: {result.deploy['command']}"

"""The demo: draw a character, train its LoRA, look at every checkpoint, install the best one, report.

OUTPUT/
  images/  maquette.toml        the project
  runs/tovaki-001/              the run: record, metrics, checkpoints, samples, evaluation
  comfyui/                      a ComfyUI-style folder with the chosen LoRA, its sidecars and workflow
  report.html
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maquette.demo.project import STEPS, write_demo_project
from maquette.events import Artifact, Message, Stage
from maquette.runs.folder import RunFolder

if TYPE_CHECKING:
    from maquette.deploying.program import Installed
    from maquette.evaluating.facts import ReportFacts
    from maquette.evaluating.verdict import Verdict
    from maquette.measuring.looks import FirstLook
    from maquette.project.settings import Settings

BARE_SEEDS = 16
OTHER_SEEDS = 4


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demo left behind."""

    output: Path
    report: Path
    run: Path
    lora: Path
    installed: Path
    workflow: Path
    verdict: Verdict
    seconds: float

    @property
    def summary(self) -> tuple[str, ...]:
        """The result in a few lines for a terminal."""
        return (
            self.verdict.headline,
            *self.verdict.sentences[:2],
            f"LoRA: {self.lora}",
            f"Installed: {self.installed}, with the workflow {self.workflow}",
            f"The whole way took {self.seconds:.0f} s. Report:",
        )

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain JSON values."""
        verdict = self.verdict
        return {
            "report": str(self.report),
            "output": str(self.output),
            "run": str(self.run),
            "lora": str(self.lora),
            "installed": str(self.installed),
            "workflow": str(self.workflow),
            "outcome": verdict.outcome,
            "checkpoint": verdict.checkpoint,
            "identity": verdict.score.mean if verdict.score else None,
            "floor": verdict.floor.mean if verdict.floor else None,
            "ratio": verdict.ratio,
            "seconds": round(self.seconds, 1),
        }


def run_demo(
    output: Path,
    *,
    seed: int = 7,
    steps: int = STEPS,
    bare_seeds: int = BARE_SEEDS,
    other_seeds: int = OTHER_SEEDS,
) -> Stage[DemoResult]:
    """Run the tour into `output`.

    `steps` optimizer steps, `bare_seeds` pictures of the bare trigger and `other_seeds` of each other prompt
    by every checkpoint: smaller numbers make a quicker, less telling tour. Raises OutputError when `output`
    holds other things.
    """
    with _one_thread():
        return (yield from _tour(Path(output).resolve(), seed, steps, bare_seeds, other_seeds))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within, PyTorch computes on one processor thread.

    A second thread takes a quarter off the time of networks this small where the machine is idle, and makes
    them ten times slower where it is busy: each of thousands of tiny operations then waits for the slower
    thread.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tour(output: Path, seed: int, steps: int, bare_seeds: int, other_seeds: int) -> Stage[DemoResult]:
    """Pass the stations one after the other."""
    began = time.perf_counter()
    clock = _Clock()
    yield Message("The small world: drawing the character's pictures and captions")
    with clock.stage("pictures_s"):
        config = write_demo_project(output, seed=seed, steps=steps)
    yield Artifact("project", config)
    with clock.stage("training_s"):
        folder, settings = yield from _train(config)
    with clock.stage("first_look_s"):
        look = yield from _look(folder, settings, bare_seeds, other_seeds)
    with clock.stage("install_s"):
        facts, verdict = _facts(folder, settings, look)
        installed = _install(output, folder, facts, look, verdict)
    yield Artifact("installed LoRA", installed.lora)
    facts = replace(facts, deliveries=(_delivery(installed),), timings=clock.seconds)
    report = _report(output, folder, facts)
    yield Artifact("report", report)
    return DemoResult(
        output=output,
        report=report,
        run=folder.path,
        lora=facts.lora,
        installed=installed.lora,
        workflow=installed.workflow or installed.prompts,
        verdict=verdict,
        seconds=time.perf_counter() - began,
    )


class _Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def stage(self, name: str) -> _Stage:
        return _Stage(self.seconds, name)


class _Stage:
    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._name] = time.perf_counter() - self._began


def _train(config: Path) -> Stage[tuple[RunFolder, Settings]]:
    """Train the project as `maquette train PROJECT` does."""
    from maquette.drawing.samples import draw_samples
    from maquette.project.config_file import load_settings
    from maquette.rules.verdict import judge
    from maquette.training.loop import run_job
    from maquette.training.prepare import prepare

    settings = load_settings(config)
    with prepare(settings, judge=judge, next_name=True) as job:
        result = yield from run_job(job, draw=draw_samples)
    return RunFolder(result.run), settings


def _look(folder: RunFolder, settings: Settings, bare_seeds: int, other_seeds: int) -> Stage[FirstLook]:
    """Draw the cast's prompts with no LoRA and with every checkpoint; the judge scores each picture."""
    from maquette.demo.judging import cast_measurer, look_prompts
    from maquette.evaluating.asked import checkpoints_of
    from maquette.evaluating.base import load_base
    from maquette.evaluating.first_look import first_look
    from maquette.evaluating.run import plan_of
    from maquette.measuring.measure import measured
    from maquette.runs.record import read_record

    record = read_record(folder.path)
    model = load_base(settings)
    prompts = look_prompts(seeds_each=other_seeds)
    size_wh = settings.dataset.resolution
    plan = plan_of(settings, prompts, range(1, bare_seeds + 1), model, size_wh=size_wh)
    checkpoints = checkpoints_of(folder, record)
    look = yield from first_look(model, checkpoints, plan, folder.evaluation)
    return (yield from measured(look, [cast_measurer()]))


def _facts(folder: RunFolder, settings: Settings, look: FirstLook) -> tuple[ReportFacts, Verdict]:
    """Return the report's facts about the checkpoint that the judge's numbers speak for, and the verdict."""
    from maquette.evaluating.asked import checkpoints_of
    from maquette.evaluating.run import facts_of_run, speaking_for
    from maquette.evaluating.verdict import verdict_of
    from maquette.runs.record import read_record
    from maquette.world.cast import BARE_PROMPT

    record = read_record(folder.path)
    facts = facts_of_run(
        folder,
        record,
        settings,
        look=look,
        title="The demo on the small world",
        prompt_template=f"{BARE_PROMPT}, [pose], [view], [background] background",
        notes=(
            "The small world is a tiny model that Maquette trained on its own drawings. It shows every step "
            "of the way with the code of a real run; its numbers say nothing about a real model.",
        ),
    )
    verdict = verdict_of(facts)
    chosen = [entry.path for entry in checkpoints_of(folder, record) if entry.label == verdict.checkpoint]
    if chosen:
        facts = speaking_for(facts, chosen[0])
    return facts, verdict


def _install(
    output: Path, folder: RunFolder, facts: ReportFacts, look: FirstLook, verdict: Verdict
) -> Installed:
    """Install the chosen checkpoint into a ComfyUI-style folder, a picture drawn by it as its preview."""
    from maquette.deploying.chosen import checkpoint_of
    from maquette.deploying.comfyui import install
    from maquette.deploying.of_run import recipe_of
    from maquette.deploying.sidecars import Preview

    chosen = checkpoint_of(facts.record, facts.lora.name)
    recipe = recipe_of(facts.record, chosen, strength=facts.strength)
    drawn = [entry for entry in look.looks if entry.checkpoint == verdict.checkpoint and entry.role == "full"]
    preview = (
        Preview(path=look.folder / drawn[0].path, prompt=drawn[0].prompt, seed=drawn[0].seed)
        if drawn
        else None
    )
    return install(
        facts.lora, output / "comfyui", name=facts.trigger, recipe=recipe, preview=preview, create=True
    )


def _delivery(installed: Installed) -> Any:
    from maquette.evaluating.facts import Delivery

    return Delivery(
        program=installed.program,
        lora=str(installed.lora),
        lora_name=installed.lora_name,
        workflow=str(installed.workflow),
        prompts=str(installed.prompts),
        steps=(
            "With a real base model, name ComfyUI's own folder: maquette deploy RUN --comfyui DIR. "
            "The LoRA is listed there without a restart.",
            "Drop the workflow, or the LoRA's preview picture, on ComfyUI's canvas.",
            "Put the trigger into the prompt and draw.",
        ),
        notes=(
            "This folder is laid out as ComfyUI's, to show what an installation leaves. ComfyUI itself "
            "cannot load the small world: its networks are far narrower than any that ComfyUI knows.",
        ),
    )


def _report(output: Path, folder: RunFolder, facts: ReportFacts) -> Path:
    """Write the report into the run, where it stays, and into `output`, where the newest one is found."""
    from maquette.evaluating.report import write_report

    write_report(folder.path / "report.html", facts)
    return write_report(output / "report.html", facts)

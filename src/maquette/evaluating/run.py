"""A finished run, looked at: draws with its checkpoints and writes its report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maquette.drawing.packing import batch_for
from maquette.drawing.samples import sampling_of
from maquette.errors import OutputError, Problem
from maquette.evaluating.base import load_base
from maquette.evaluating.facts import Delivery, ReportFacts
from maquette.evaluating.first_look import LookCheckpoint, LookPlan, first_look
from maquette.evaluating.measurers import measuring_of
from maquette.evaluating.memorizing import Memorizing, memorizing
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.report import write_report
from maquette.events import Artifact, Stage
from maquette.files import sha256_file
from maquette.measuring.copying import Nearest, write_nearest
from maquette.measuring.looks import FirstLook, LookPrompt
from maquette.measuring.measure import measured
from maquette.measuring.memorization import MEASURE as MEMORIZATION_MEASURE
from maquette.measuring.memorization import NAME as MEMORISATION
from maquette.measuring.memorization import write_memorization
from maquette.measuring.references import References, references_of
from maquette.measuring.scorecards import Scorecards, scorecards_of
from maquette.project.profile_file import profile_path_near, read_profile
from maquette.project.settings import Settings
from maquette.runs.choice import read_choice
from maquette.runs.deliveries import read_deliveries
from maquette.runs.folder import RunFolder
from maquette.runs.notes import read_notes
from maquette.runs.record import Checkpoint, RunRecord, read_record

_CAPTIONS_DRAWN = 2


Round = Callable[[Sequence[LookCheckpoint], tuple[int, ...]], Stage[FirstLook]]
"""Draws these columns and the base with these seeds, and measures them."""
Looking = Callable[[Sequence[LookCheckpoint], tuple[int, ...], Round], Stage[FirstLook]]
"""Looks at the columns with the seeds, in one round or in several."""


def evaluate_events(
    run: Path, options: EvaluateOptions, *, looking: Looking | None = None
) -> Stage[Evaluation]:
    """Look at the run in the folder `run`: draw with its checkpoints and write its report.

    `looking` decides which columns are drawn with how many of the seeds; all with all by default.
    """
    return look_at_run(
        RunFolder(run),
        prompts=options.prompts or None,
        seeds=options.seeds,
        references=options.references,
        encoder=options.encoder,
        looking=looking,
    )


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What looking at a run gave: the report, the first look behind it, and how much was drawn."""

    report: Path
    look: FirstLook
    pictures: int
    checkpoints: int
    cards: Scorecards


def look_at_run(
    folder: RunFolder,
    *,
    prompts: Sequence[str] | None = None,
    seeds: Sequence[int] = (1, 2, 3, 4),
    references: Sequence[Path] = (),
    encoder: str = "",
    looking: Looking | None = None,
) -> Stage[Evaluation]:
    """Draw with no LoRA and with every checkpoint of the run, write RUN/report.html.

    `prompts` of None are the run's sample prompts, or the trigger alone and some of its captions. Raises
    OutputError when the run has no checkpoint, ModelError when its base model is gone.
    """
    record = read_record(folder.path)
    settings = record.settings
    checkpoints = checkpoints_of(folder, record)
    if not checkpoints:
        raise OutputError(
            Problem(
                str(folder.path),
                "has no checkpoint yet",
                "a run with LoRA files",
                "Train it further: maquette train --resume",
            )
        )
    began = time.perf_counter()
    model = load_base(settings)
    plan = plan_of(settings, record, look_prompts(settings, record, prompts), seeds, model)
    training = [Path(entry.path) for entry in record.dataset.subject]
    shown = _references(record, references, training)
    notes: list[str] = []
    nearest: dict[str, Nearest] = {}

    def one_round(columns: Sequence[LookCheckpoint], part: tuple[int, ...]) -> Stage[FirstLook]:
        look = yield from first_look(model, columns, replace(plan, seeds=part), folder.evaluation)
        measuring = measuring_of(look, shown, training, encoder=encoder)
        notes[:] = measuring.notes
        look = yield from measured(look, measuring.measurers)
        if measuring.copying is not None:
            nearest.update(measuring.copying.nearest)
        return look

    if looking is None:
        look = yield from one_round(checkpoints, plan.seeds)
    else:
        look = yield from looking(checkpoints, plan.seeds, one_round)
    if nearest:
        yield Artifact("nearest", write_nearest(folder.evaluation, nearest))
    memory = yield from _memorizing(model, record, folder, look)
    cards = scorecards_of(
        look,
        notes=(*notes, *memory.notes),
        beside={label: {MEMORISATION: each.score()} for label, each in memory.found.items()},
        beside_measures=[MEMORIZATION_MEASURE] if memory.found else [],
    )
    yield Artifact("scorecards", cards.write(folder.evaluation))
    facts = facts_of_run(
        folder,
        record,
        settings,
        look=look,
        cards=cards,
        timings={"first_look_s": time.perf_counter() - began},
    )
    report = write_report(folder.path / "report.html", facts)
    yield Artifact("report", report)
    return Evaluation(
        report=report, look=look, pictures=len(look.looks), checkpoints=len(checkpoints), cards=cards
    )


def _memorizing(model: Any, record: RunRecord, folder: RunFolder, look: FirstLook) -> Stage[Memorizing]:
    """Measure whether the checkpoints that were drawn memorise, and write what was found."""
    from maquette.lora.files import read_lora

    columns = {column.file: column for column in look.columns if column.file is not None}
    paths = {entry.path.name: entry.path for entry in checkpoints_of(folder, record)}
    drawn = [column for name, column in columns.items() if name in paths]
    states = [read_lora(paths[str(column.file)]).state for column in drawn]
    found = yield from memorizing(model, record, drawn, states)
    if found.found:
        yield Artifact("memorisation", write_memorization(folder.evaluation, found.found))
    return found


def _references(record: RunRecord, named: Sequence[Path], training: Sequence[Path]) -> References | None:
    """Return the pictures that say who the run's LoRA should draw."""
    first = next(iter(training), None)
    profile = profile_path_near(first) if first is not None else None
    held = record.validation if record.validation and record.validation.measured_on == "held-out" else None
    return references_of(
        named=named,
        project=profile.parent if profile else None,
        profile=read_profile(profile) if profile else None,
        held_out=[path for each in held.pictures if (path := Path(each.path)).is_file()] if held else (),
        training=[path for path in training if path.is_file()],
        trained_sha256={entry.sha256 for entry in record.dataset.subject},
    )


def checkpoints_of(folder: RunFolder, record: RunRecord) -> list[LookCheckpoint]:
    """Return the run's LoRA files in the order of steps, labelled for a person; files that are gone are left
    out.
    """
    found = []
    for entry in sorted(record.checkpoints, key=lambda entry: (entry.step, entry.final)):
        path = folder.path / entry.path
        if path.is_file():
            found.append(LookCheckpoint(label=_label(entry), step=entry.step, path=path))
    return found


def _label(entry: Checkpoint) -> str:
    return f"final ({entry.step})" if entry.final else f"step {entry.step}"


def look_prompts(
    settings: Settings, record: RunRecord, prompts: Sequence[str] | None
) -> tuple[LookPrompt, ...]:
    """Return what is drawn: the given prompts, else the sample prompts, else trigger and captions. The
    trigger alone leads.
    """
    trigger = settings.subject.trigger
    wanted = [prompt.replace("{trigger}", trigger) for prompt in prompts or settings.samples.sample_prompts]
    if prompts is None:
        wanted = ([trigger] if trigger else []) + (wanted or _captions(record))
    texts = list(dict.fromkeys(wanted)) or [settings.subject.class_word]
    return tuple(LookPrompt(text=text, role="bare" if text == trigger else "prompt") for text in texts)


def _captions(record: RunRecord) -> list[str]:
    captions = record.dataset.captions
    step = max(1, len(captions) // _CAPTIONS_DRAWN)
    return captions[::step][:_CAPTIONS_DRAWN]


def plan_of(
    settings: Settings, record: RunRecord, prompts: tuple[LookPrompt, ...], seeds: Sequence[int], model: Any
) -> LookPlan:
    """Return the plan of a first look at the run's training size, with its sampling settings."""
    factor = model.info.vae_factor
    width_px, height_px = (side // factor * factor for side in settings.dataset.resolution)
    samples = settings.samples
    guidance, sampler = sampling_of(settings, model.spec)
    return LookPlan(
        prompts=prompts,
        seeds=tuple(seeds),
        width_px=width_px,
        height_px=height_px,
        steps=samples.sample_steps,
        guidance=guidance,
        sampler=sampler,
        negative=samples.negative_prompt,
        options=settings.family_values(),
        batch=batch_for(width_px, height_px),
    )


def facts_of_run(
    folder: RunFolder,
    record: RunRecord,
    settings: Settings,
    *,
    look: FirstLook | None,
    cards: Scorecards | None = None,
    title: str = "",
    deliveries: tuple[Delivery, ...] = (),
    prompt_template: str = "",
    timings: Mapping[str, float] | None = None,
    notes: tuple[str, ...] = (),
) -> ReportFacts:
    """Return the report's facts of a run; they speak for its last LoRA (`speaking_for` chooses another)."""
    from maquette.logs.metrics import read_metrics

    last = record.last_checkpoint
    assert last is not None, "a run is reported once it has a checkpoint"
    lora = folder.path / last.path
    pictures = [(Path(entry.path), entry.caption) for entry in record.dataset.subject]
    trigger = settings.subject.trigger
    return ReportFacts(
        title=title or record.run,
        trigger=trigger,
        record=record,
        run=folder.path,
        lora=lora,
        lora_sha256=sha256_file(lora),
        lora_bytes=lora.stat().st_size,
        metrics=read_metrics(folder.metrics),
        look=look,
        cards=cards,
        choice=read_choice(folder.path),
        pictures=pictures,
        deliveries=deliveries or _deliveries(folder, sha256_file(lora)),
        timings=timings or {},
        notes=notes,
        notebook=read_notes(folder),
        prompt_template=prompt_template or (f"{trigger}, [pose], [view], [scene]" if trigger else ""),
    )


def _deliveries(folder: RunFolder, sha256: str) -> tuple[Delivery, ...]:
    """Return where the LoRA with this content was installed and still lies."""
    return tuple(
        Delivery(
            program=each.program,
            lora=each.lora,
            lora_name=each.lora_name,
            workflow=each.workflow or None,
            prompts=each.prompts or None,
            notes=(f"Installed with strength {each.strength}.",),
        )
        for each in read_deliveries(folder)
        if each.is_of(sha256) and each.is_there
    )


def speaking_for(facts: ReportFacts, lora: Path) -> ReportFacts:
    """Return the facts as a report on the LoRA file `lora` of the same run."""
    return replace(facts, lora=lora, lora_sha256=sha256_file(lora), lora_bytes=lora.stat().st_size)

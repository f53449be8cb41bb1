"""An evaluation: draws with a run's checkpoints or with LoRA files, measures, and writes the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from maquette.dataset.holding_back import number_to_hold_back
from maquette.drawing.packing import batch_for, batch_on
from maquette.drawing.samplers import sampler_named
from maquette.drawing.samples import sampling_of
from maquette.drawing.scene import base_name_of
from maquette.encoders import Encoder
from maquette.evaluating.asked import Asked, asked_of
from maquette.evaluating.base import load_base
from maquette.evaluating.facts import Delivery, FileFacts, ReportFacts
from maquette.evaluating.file_report import write_file_report
from maquette.evaluating.first_look import LookCheckpoint, LookPlan, PlannedPrompt, first_look
from maquette.evaluating.holding_back import HoldBack, proposed
from maquette.evaluating.measurers import measuring_of
from maquette.evaluating.memorizing import Memorizing, memorizing
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.price import Timing
from maquette.evaluating.prompt_files import planned_prompts
from maquette.evaluating.report import write_report
from maquette.evaluating.suites import Suite, SuiteSubject, each_once, given_prompts, suite_of
from maquette.events import Artifact, Message, Stage
from maquette.families.protocol import FamilySpec, ModelInfo
from maquette.files import sha256_file
from maquette.kohya.drawn_prompts import drawn_prompt
from maquette.measuring.copying import Nearest, write_nearest
from maquette.measuring.looks import FirstLook, LookPrompt
from maquette.measuring.measure import measured
from maquette.measuring.memorization import GAP_MEASURE, write_memorization
from maquette.measuring.memorization import MEASURE as MEMORIZATION_MEASURE
from maquette.measuring.references import ENOUGH, References, references_of
from maquette.measuring.scorecards import Scorecards, scorecards_of
from maquette.project.settings import Settings
from maquette.runs.choice import read_choice
from maquette.runs.deliveries import read_deliveries
from maquette.runs.folder import RunFolder
from maquette.runs.notes import read_notes
from maquette.runs.record import RunRecord
from maquette.world.pack import is_small_world

if TYPE_CHECKING:
    from maquette.encoders.clip_text import ClipText


class Round(Protocol):
    """Draws these columns and the base with these seeds, and measures them; prompts of the roles `without` are left out."""

    def __call__(
        self, columns: Sequence[LookCheckpoint], seeds: tuple[int, ...], without: Collection[str] = (), /
    ) -> Stage[FirstLook]: ...


class Sized(Protocol):
    """A base model as far as it says what can be drawn with it."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def spec(self) -> FamilySpec: ...


Looking = Callable[[Sequence[LookCheckpoint], tuple[int, ...], Round], Stage[FirstLook]]
"""Looks at the columns with the seeds, in one round or in several."""


def evaluate_events(
    targets: Path | Sequence[Path], options: EvaluateOptions, *, looking: Looking | None = None
) -> Stage[Evaluation]:
    """Draw with the LoRAs of `targets` (a run, files, folders of files) and with no LoRA, measure, and write the report.

    `looking` decides which columns are drawn with how many of the seeds; all with all by default. Raises MaquetteError with what
    is missing or does not fit, before anything is drawn.
    """
    asked = asked_of([targets] if isinstance(targets, Path) else list(targets), options)
    return _evaluated(asked, options, looking)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluation gave: the report, the first look behind it, and how much was drawn."""

    report: Path
    look: FirstLook
    pictures: int
    checkpoints: int
    cards: Scorecards
    hold_back: HoldBack | None = None
    """Where the references are too few or were trained on: which training pictures to hold back of the next run."""
    names: Mapping[str, str]
    """Of each column but the base's the file, as `maquette select` names it: below its run, where it belongs to one."""


def _evaluated(asked: Asked, options: EvaluateOptions, looking: Looking | None) -> Stage[Evaluation]:
    from maquette import families
    from maquette.devices import device_name

    began = time.perf_counter()
    settings = asked.settings
    info = families.inspect(settings.model.base, families.stated_by(settings.objective, settings.model))
    suite = prompts_of(asked, options, info)
    yield from (Message(note) for note in (*asked.notes, *suite.notes))
    model = load_base(settings)
    plan = plan_of(settings, suite.prompts, options.seeds, model, size_wh=asked.size_wh)
    batch = options.batch or batch_on(model.device, plan.width_px, plan.height_px)
    plan = replace(plan, beside=asked.beside, batch=batch)
    shown = references_for(asked, options.references)
    notes: list[str] = []
    nearest: dict[str, Nearest] = {}
    loaded: dict[str, Encoder] = {}
    texts: dict[str, ClipText] = {}
    drawing_s = 0.0

    def one_round(
        columns: Sequence[LookCheckpoint], part: tuple[int, ...], without: Collection[str] = ()
    ) -> Stage[FirstLook]:
        prompts = tuple(prompt for prompt in plan.prompts if prompt.role not in without) or plan.prompts
        shown_plan = replace(plan, seeds=part, prompts=prompts)
        nonlocal drawing_s
        since = time.perf_counter()
        look = yield from first_look(model, columns, shown_plan, asked.output)
        drawing_s += time.perf_counter() - since
        measuring = measuring_of(
            look,
            shown,
            asked.training,
            encoder=options.encoder,
            loaded=loaded,
            texts=texts,
            trigger=settings.subject.trigger,
            class_word=settings.subject.class_word,
        )
        notes[:] = measuring.notes
        look = yield from measured(look, measuring.measurers)
        if measuring.copying is not None:
            nearest.update(measuring.copying.nearest)
        return look

    if looking is None:
        look = yield from one_round(asked.checkpoints, plan.seeds)
    else:
        look = yield from looking(asked.checkpoints, plan.seeds, one_round)
    if nearest:
        yield Artifact("nearest", write_nearest(asked.output, nearest))
    memory = yield from _memorizing(model, asked, look)
    hold_back = _hold_back(asked, shown, loaded)
    cards = scorecards_of(
        look,
        notes=(*suite.notes, *notes, *memory.notes, *(hold_back.told if hold_back else ())),
        beside={label: each.scores() for label, each in memory.found.items()},
        beside_measures=[MEMORIZATION_MEASURE, GAP_MEASURE] if memory.found else [],
    )
    yield Artifact("scorecards", cards.write(asked.output))
    report = _report(asked, look, cards, time.perf_counter() - began)
    Timing(
        base=base_name_of(model.info),
        device=device_name(model.device),
        looked_at=len(look.looks),
        seconds=time.perf_counter() - began - drawing_s,
    ).add(asked.output)
    yield Artifact("report", report)
    return Evaluation(
        report=report,
        look=look,
        pictures=len(look.looks),
        checkpoints=len(asked.checkpoints),
        cards=cards,
        hold_back=hold_back,
        names=_names(cards, asked.record),
    )


def _hold_back(asked: Asked, shown: References | None, loaded: dict[str, Encoder]) -> HoldBack | None:
    """Return what the next run should hold back where this one has too few pictures that it never saw."""
    record = asked.record
    if record is None or not asked.training:
        return None
    if shown is not None and not shown.were_trained_on and len(shown.pictures) >= ENOUGH:
        return None
    captions = {Path(each.path): each.caption for each in record.dataset.subject}
    held = record.validation.pictures if record.validation is not None else ()
    already = [Path(each.path) for each in held] if shown is not None and shown.origin == "held out" else []
    if already and number_to_hold_back(len(captions) + len(already)) <= len(already):
        return None
    return proposed(captions, already=already, loaded=loaded)


def _names(cards: Scorecards, record: RunRecord | None) -> dict[str, str]:
    names: dict[str, str] = {}
    for card in cards.cards:
        if card.is_floor:
            continue
        file = card.column.file or card.column.label
        name = record.path_of(file) if record is not None else file
        name = name if card.column.strength == 1.0 else f"{name} × {card.column.strength:g}"
        names[card.column.label] = name if name not in names.values() else card.column.label
    return names


def prompts_of(asked: Asked, options: EvaluateOptions, info: ModelInfo) -> Suite:
    """Return what is drawn: a person's own prompts, a file's, a suite's; the suite alone where nothing was said."""
    subject = asked.settings.subject
    own: list[LookPrompt] = [*given_prompts(options.prompts, subject.trigger)]
    if options.prompt_file is not None:
        own += planned_prompts(options.prompt_file, subject.trigger, info.vae_factor)
    if own and options.suite is None:
        return Suite(prompts=each_once(own))
    asking = SuiteSubject(
        trigger=subject.trigger,
        class_word=subject.class_word,
        profile=asked.profile,
        captions=asked.captions,
        samples=tuple(
            drawn_prompt(prompt).text.replace("{trigger}", subject.trigger)
            for prompt in asked.settings.samples.sample_prompts
        ),
        is_of_small_world=is_small_world(info.title),
    )
    suite = suite_of(options.suite or "quick", asking)
    return replace(suite, prompts=each_once([*suite.prompts, *own]))


def _memorizing(model: Any, asked: Asked, look: FirstLook) -> Stage[Memorizing]:
    """Measure whether the checkpoints that were drawn memorise, and write what was found."""
    from maquette.lora.files import read_lora

    if asked.record is None:
        return Memorizing(found={}, notes=(_NOT_ASKED,))
    paths = {entry.label: entry.path for entry in asked.checkpoints}
    # What a file memorised is its own, at whichever strength it is drawn: it is said of the one nearest to 1.
    columns = sorted(
        (column for column in look.columns if column.label in paths),
        key=lambda column: -abs(column.strength - 1.0),
    )
    by_file = {paths[column.label]: column for column in columns}
    drawn = [column for column in look.columns if column in by_file.values()]
    states = [read_lora(paths[column.label], model.lora_targets()).state for column in drawn]
    found = yield from memorizing(model, asked.record, drawn, states)
    if found.found:
        yield Artifact("memorisation", write_memorization(asked.output, found.found))
    return found


_NOT_ASKED = (
    "Whether pictures are memorised was not measured: files by themselves do not say which pictures were trained on and which "
    "were held out. Evaluate their run; maquette import reads another trainer's."
)


def references_for(asked: Asked, named: Sequence[Path]) -> References | None:
    """Return the pictures that say who the LoRAs should draw."""
    record, profile = asked.record, asked.profile
    validation = record.validation if record else None
    held = validation if validation and validation.measured_on == "held-out" else None
    return references_of(
        named=named,
        project=profile.source.parent if profile and profile.source else None,
        profile=profile,
        held_out=[path for each in held.pictures if (path := Path(each.path)).is_file()] if held else (),
        training=asked.training,
        trained_sha256={entry.sha256 for entry in record.dataset.subject} if record else (),
    )


def _report(asked: Asked, look: FirstLook, cards: Scorecards, seconds: float) -> Path:
    """Write the report: of a run with everything that is known of it, of files with what was drawn and measured."""
    if asked.run is None or asked.record is None:
        return write_file_report(asked.report, FileFacts(title=asked.title, look=look, cards=cards))
    facts = facts_of_run(
        asked.run,
        asked.record,
        asked.settings,
        look=look,
        cards=cards,
        timings={"first_look_s": seconds},
    )
    return write_report(asked.report, facts)


def plan_of(
    settings: Settings,
    prompts: tuple[LookPrompt, ...],
    seeds: Sequence[int],
    model: Sized,
    *,
    size_wh: tuple[int, int] | None = None,
) -> LookPlan:
    """Return the plan of a first look at `size_wh`, else the base's own size, with the settings' sampling.

    Of the model it asks no more than what it is: it need not be loaded.
    """
    factor = model.info.vae_factor
    sides = size_wh or (model.info.resolution, model.info.resolution)
    width_px, height_px = (max(factor, side // factor * factor) for side in sides)
    samples = settings.samples
    guidance, sampler = sampling_of(settings, model.spec)
    named = [
        replace(prompt, sampler=sampler_named(model.spec, prompt.sampler))
        if isinstance(prompt, PlannedPrompt) and prompt.sampler
        else prompt
        for prompt in prompts
    ]
    return LookPlan(
        prompts=tuple(named),
        seeds=tuple(seeds),
        width_px=width_px,
        height_px=height_px,
        steps=samples.sample_steps,
        guidance=guidance,
        sampler=sampler_named(model.spec, sampler),
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

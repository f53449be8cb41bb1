"""Early stop: every checkpoint is judged while the run trains, and the run ends when none is better any more.

RUN/judging/first_look.json  pictures/STEP/…   what was drawn and measured so far, as an evaluation holds it
RUN/choice.json                                the best so far

A checkpoint is better where its score exceeds that of the best before by more than noise (one standard error of the difference,
paired over the same prompts and seeds).
What was judged is read back by a run that is resumed, so that it stops where it would have stopped; drawing has seeds of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from maquette.choosing.decide import decide, held_out_losses, reading_of, sure_difference
from maquette.choosing.select import decided
from maquette.drawing.draw import drawing
from maquette.drawing.pictures import save_picture
from maquette.drawing.request import DrawRequest
from maquette.evaluating.asked import asked_of
from maquette.evaluating.first_look import LookPlan
from maquette.evaluating.measurers import measuring_of
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.run import plan_of, prompts_of, references_for
from maquette.events import Message, Stage
from maquette.measuring.looks import FLOOR, LOOK, Column, FirstLook, Look, read_first_look
from maquette.measuring.measure import measured
from maquette.measuring.scorecards import Reading, Scorecards, scorecards_of
from maquette.runs.choice import Choice
from maquette.runs.folder import RunFolder
from maquette.runs.record import RunRecord

if TYPE_CHECKING:
    from maquette.families.protocol import BaseModel
    from maquette.lora.adapter import LoraAdapter

SEEDS = (1, 2, 3, 4)
FOLDER = "judging"


@dataclass(frozen=True, kw_only=True)
class Course:
    """How the run went: the best checkpoint so far, and how many in a row since were no better."""

    best: str
    since: int


def judge_checkpoint(
    model: BaseModel, adapter: LoraAdapter, trial: int, record: RunRecord, folder: RunFolder, step: int
) -> Stage[bool]:
    """Draw and measure the trial's checkpoint of `step`; return whether the run is to stop.

    The choice so far is kept. A checkpoint without a file, or a run whose pictures nothing can judge, stops nothing.
    """
    entry = next((each for each in reversed(record.checkpoints) if each.step == step), None)
    if entry is None:
        return False
    place = folder.path / FOLDER
    file = place / LOOK
    known = read_first_look(file) if file.is_file() else FirstLook(folder=place, looks=())
    options = EvaluateOptions()
    asked = asked_of([folder.path], options)
    label = f"step {step}"
    if label not in known.checkpoints():
        suite = prompts_of(asked, options, model.info)
        prompts = tuple(replace(prompt, num_seeds=None) for prompt in suite.prompts)
        plan = plan_of(asked.settings, prompts, SEEDS, model, size_wh=asked.size_wh)
        if not known.looks:
            known = yield from _drawn(known, Column(label=FLOOR), model, adapter, trial, plan)
        column = Column(label=label, step=step, file=entry.path)
        known = yield from _drawn(known, column, model, adapter, trial, plan)
    measuring = measuring_of(known, references_for(asked, ()), asked.training)
    look = yield from measured(known, measuring.measurers)
    cards = scorecards_of(look, notes=measuring.notes)
    if not cards.tells_subject:
        yield Message("early_stop judges nothing: no picture says who the subject is.", "warning")
        return False
    course = course_of(reading_of(look, cards), look.checkpoints())
    _choose(look, cards, record).write(folder.path)
    return course.since >= record.settings.validation.early_stop


def _drawn(
    look: FirstLook, column: Column, model: BaseModel, adapter: LoraAdapter, trial: int, plan: LookPlan
) -> Stage[FirstLook]:
    """Return the look with one more column: the trial as it is now, or the base alone."""
    cells = plan.cells()
    requests = [replace(plan.request(prompt, seed), trial=trial) for prompt, seed in cells]
    pictures = yield from _pictures(model, adapter, requests, plan, is_base=column.label == FLOOR)
    entries = []
    for number, ((prompt, seed), picture) in enumerate(zip(cells, pictures, strict=True)):
        path = f"pictures/{column.step or 0:08d}/{number:03d}.png"
        save_picture(look.folder / path, picture, {})
        entries.append(
            Look(
                checkpoint=column.label,
                step=column.step,
                prompt=prompt.text,
                role=prompt.role,
                seed=seed,
                path=path,
            )
        )
    return replace(look, looks=(*look.looks, *entries), columns=(*look.columns, column))


def _pictures(
    model: BaseModel, adapter: LoraAdapter, requests: Sequence[DrawRequest], plan: LookPlan, *, is_base: bool
) -> Stage[list[Any]]:
    enabled = adapter.enabled
    adapter.enabled = enabled and not is_base
    try:
        return (yield from drawing(model, requests, adapter=adapter, options=plan.options, batch=plan.batch))
    finally:
        adapter.enabled = enabled


def course_of(reading: Reading, columns: Sequence[str]) -> Course:
    """Return the best of the checkpoints in their order, and how many in a row since improved on it by no more than noise.

    Noise is the standard error of the paired difference: to wait for 95 % would end runs that still learn.
    """
    order = [name for name in columns if name != FLOOR]
    best, since = order[0], 0
    for name in order[1:]:
        gap = sure_difference(reading, name, best)
        improved = gap.low is not None and gap.mean > (gap.mean - gap.low) / 2
        since = 0 if improved else since + 1
        best = name if gap.mean > 0 else best
    return Course(best=best, since=since)


def _choose(look: FirstLook, cards: Scorecards, record: RunRecord) -> Choice:
    """Return the choice among what was judged so far."""
    decision = decide(cards, reading_of(look, cards), held_out_losses(record.validation))
    assert decision is not None, "the subject was measured"
    return replace(decided(decision, cards, look, record), decided_by="early stop")

"""Choose a run's checkpoint: evaluate it where that was not done, decide, and keep the decision.

RUN/choice.json          the decision, which deploying and the report read
RUN/report.html          written again, with it
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from maquette.choosing.decide import Candidate, Decision, decide, held_out_losses, named_in, reading_of
from maquette.choosing.options import SelectOptions
from maquette.choosing.probing import MOST_PROBED, told_by, with_probes
from maquette.choosing.race import pictures_of_all, racing
from maquette.choosing.reasons import headline_of, reasons_of
from maquette.choosing.rivals import rivals_of
from maquette.choosing.suspicions import suspicions_of
from maquette.choosing.voted import with_votes
from maquette.errors import ConfigError, OutputError, Problem
from maquette.evaluating.costs import Cost, cost_of
from maquette.evaluating.options import EvaluateOptions
from maquette.evaluating.run import evaluate_events
from maquette.events import Artifact, Message, Stage
from maquette.files import sha256_file
from maquette.measuring.looks import LOOK, FirstLook, read_first_look
from maquette.measuring.scorecards import Reading, Scorecards, read_scorecards, scorecards_of
from maquette.runs.choice import Choice, More, Ranked, read_choice
from maquette.runs.folder import RunFolder
from maquette.runs.places import as_found
from maquette.runs.record import RunRecord, now, read_record

MAY_PROBE = (
    "Where the trigger alone does not draw the subject, up to {} more pictures find the words at fault."
)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What choosing gave: the choice, where it was written, and the report that shows it (of a run alone)."""

    choice: Choice
    path: Path
    report: Path | None


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An evaluation, as choosing reads it."""

    look: FirstLook
    cards: Scorecards
    reading: Reading


def select_events(target: Path, options: SelectOptions) -> Stage[Selection]:
    """Choose among the checkpoints of the run `target`, or of the folder of an evaluation.

    Raises OutputError where there is no run, or nothing to choose by; ConfigError for a checkpoint that is none of its.
    """
    folder = RunFolder(target)
    if not folder.record.is_file() and (target / LOOK).is_file():
        judged = judged_in(target)
        choice = choice_of(judged, options)
        return Selection(choice=choice, path=choice.write(target), report=None)
    record = as_found(read_record(target), target)
    judged = yield from _evaluated(folder, record, options)
    return (yield from _kept(folder, record, judged, options, probes=options.probe))


def choose_events(target: Path, options: SelectOptions) -> Stage[Selection]:
    """Choose among what was drawn of the run `target`, and draw nothing: a person's own choice, or the measures' anew.

    Raises OutputError where nothing was drawn yet, ConfigError for a checkpoint that is none of its.
    """
    folder = RunFolder(target)
    record = as_found(read_record(target), target)
    if not (folder.evaluation / LOOK).is_file():
        raise OutputError(
            Problem(str(target), "nothing was drawn yet", "an evaluation", f"maquette select {target}")
        )
    judged = judged_in(folder.evaluation)
    return (yield from _kept(folder, record, judged, options, probes=False))


def cost_of_selection(target: Path, options: SelectOptions) -> Cost:
    """Return what `select_events` of a run would draw, and what that takes."""
    folder = RunFolder(target)
    why = _why_evaluated(folder, as_found(read_record(target), target), options)
    cost = cost_of(target, _evaluation_of(options))
    note = MAY_PROBE.format(MOST_PROBED) if options.probe else ""
    if not why:
        drawn = len(read_first_look(folder.evaluation / LOOK).looks)
        return replace(cost, pictures=drawn, missing=0, seconds=0.0, disk_bytes=0, note=note)
    return replace(cost, at_most=options.race, why=why, note=note)


def _kept(
    folder: RunFolder, record: RunRecord, judged: Judged, options: SelectOptions, *, probes: bool
) -> Stage[Selection]:
    """Choose, and keep the choice and the report with it."""
    choice = choice_of(judged, options, folder=folder, record=record)
    choice = (
        (yield from with_probes(choice, folder, options)) if probes else _with_known_probes(choice, folder)
    )
    path = choice.write(folder.path)
    yield Artifact("choice", path)
    report = yield from _reported(folder, record, judged)
    return Selection(choice=choice, path=path, report=report)


def judged_in(folder: Path) -> Judged:
    """Return the evaluation in `folder`. Raises OutputError where there is none."""
    look = read_first_look(folder / LOOK)
    cards = read_scorecards(folder) if (folder / "scorecards.json").is_file() else scorecards_of(look)
    return Judged(look=look, cards=cards, reading=reading_of(look, cards))


def _with_known_probes(choice: Choice, folder: RunFolder) -> Choice:
    """Return the choice with the words that were drawn one by one for an earlier choice among the same drawings."""
    before = read_choice(folder.path)
    if before is None or not before.probes or before.evaluation != choice.evaluation:
        return choice
    return replace(told_by(choice, before.probes), probes=before.probes)


def _evaluated(folder: RunFolder, record: RunRecord, options: SelectOptions) -> Stage[Judged]:
    """Return the evaluation of every checkpoint that is there, made now where it is not there or is older than one of them."""
    why = _why_evaluated(folder, record, options)
    if why:
        yield Message(f"The checkpoints are evaluated first: {why}.")
        looking = racing if options.race else None
        yield from evaluate_events(folder.path, _evaluation_of(options), looking=looking)
    return judged_in(folder.evaluation)


def _evaluation_of(options: SelectOptions) -> EvaluateOptions:
    return EvaluateOptions(
        seeds=options.seeds,
        suite=options.suite,
        strengths=options.strengths,
        references=options.references,
        encoder=options.encoder,
    )


def _why_evaluated(folder: RunFolder, record: RunRecord, options: SelectOptions) -> str:
    """Return why pictures are drawn before anything is chosen; empty where those that are there do."""
    return "it is asked for" if options.redraw else _missing(folder, record, options)


def _missing(folder: RunFolder, record: RunRecord, options: SelectOptions) -> str:
    """Return why the evaluation of a run does not do; empty where it does."""
    file = folder.evaluation / LOOK
    if not file.is_file():
        return "there is no evaluation yet"
    look = read_first_look(file)
    drawn = {Path(column.file).name for column in look.columns if column.file}
    made = file.stat().st_mtime
    for entry in record.checkpoints:
        path = folder.path / entry.path
        if not path.is_file():
            continue
        if path.name not in drawn:
            return f"{path.name} is not in the evaluation"
        if path.stat().st_mtime > made:
            return f"{path.name} is newer than the evaluation"
    asked = options.given()
    if {"references", "encoder"} & asked.keys():
        return "it is to be measured with other eyes"
    if "suite" in asked:
        return "a suite is asked for"
    if not set(options.strengths) <= {column.strength for column in look.columns}:
        return "other strengths are asked for"
    seeds = {entry.seed for entry in look.looks}
    return "more seeds are asked for" if "seeds" in asked and not set(options.seeds) <= seeds else ""


def choice_of(
    judged: Judged,
    options: SelectOptions,
    *,
    folder: RunFolder | None = None,
    record: RunRecord | None = None,
) -> Choice:
    """Return the choice that an evaluation speaks for, or that a person makes against it.

    Where nothing measured the subject it is the last one, and says so. Raises OutputError where only the base was drawn,
    ConfigError for a checkpoint that is not among the measured.
    """
    losses = held_out_losses(record.validation if record else None)
    decision = decide(judged.cards, judged.reading, losses) if judged.cards.tells_subject else None
    choice = _unjudged(judged, record) if decision is None else _by_measures(decision, judged, folder, record)
    choice = with_votes(
        choice, folder.path if folder is not None else judged.look.folder, judged.look, options.by
    )
    if options.checkpoint is not None:
        return overruled(choice, options.checkpoint, options.strength, options.reason)
    if options.strength is not None or options.reason:
        raise ConfigError(
            Problem("--strength, --reason", "given without --checkpoint", "--checkpoint NAME", "Name one.")
        )
    return choice


def _unjudged(judged: Judged, record: RunRecord | None) -> Choice:
    """Return the last checkpoint, and that nobody can tell."""
    known = [card.column for card in judged.cards.cards if not card.is_floor]
    if not known:
        raise OutputError(
            Problem(
                str(judged.look.folder),
                "was drawn with the base alone",
                "an evaluation of at least one LoRA",
                "Evaluate a run: maquette evaluate RUN",
            )
        )
    last = max(known, key=lambda column: (column.step or 0, -abs(column.strength - 1)))
    return Choice(
        checkpoint=_path_of(last.file or last.label, record),
        label=last.label,
        step=last.step,
        strength=last.strength,
        distinguishable=len({column.file or column.label for column in known}) == 1,
        decided_by="nobody",
        headline=f"Cannot tell: nothing measured whether the subject is drawn. The last checkpoint, {last.label}, is named.",
        reasons=(
            "Give pictures of the subject that were not trained on (references/ of the project, or --references of maquette "
            "evaluate), or judge by eye: maquette vote RUN.",
            *judged.cards.notes,
        ),
        ranking=tuple(
            Ranked(
                checkpoint=_path_of(column.file or column.label, record),
                label=column.label,
                step=column.step,
                strength=column.strength,
            )
            for column in known
        ),
        pictures=len(judged.look.looks),
        evaluation=_digest(judged.look.folder / LOOK),
        time=now(),
    )


def _by_measures(
    decision: Decision, judged: Judged, folder: RunFolder | None, record: RunRecord | None
) -> Choice:
    from maquette.logs.metrics import read_metrics

    metrics = read_metrics(folder.metrics) if folder is not None and folder.metrics.is_file() else []
    rivals = rivals_of(decision, metrics, record.validation if record else None, judged.cards)
    subject = record.settings.subject if record else None
    suspicions = suspicions_of(
        decision,
        judged.cards,
        judged.reading,
        captions=record.dataset.captions if record else (),
        trigger=subject.trigger if subject else "",
        class_word=subject.class_word if subject else "",
    )
    return replace(
        decided(decision, judged.cards, judged.look, record),
        more=_more(decision),
        reasons=(*reasons_of(decision, judged.cards, rivals), *_drawn(judged.look)),
        suspicions=suspicions,
        rivals=tuple(replace(each, checkpoint=_path_of(each.checkpoint, record)) for each in rivals),
        pictures_of_all=pictures_of_all(judged.look),
        evaluation=_digest(judged.look.folder / LOOK),
    )


def decided(decision: Decision, cards: Scorecards, look: FirstLook, record: RunRecord | None) -> Choice:
    """Return a decision as the choice that is kept: what was chosen, its rivals in order, and why."""
    best = ranked(decision.chosen, None, record)
    gap = decision.runner_up
    return Choice(
        checkpoint=best.checkpoint,
        label=best.label,
        step=best.step,
        strength=best.strength,
        score=best.score,
        low=best.low,
        high=best.high,
        runner_up=ranked(gap.other, None, record).checkpoint if gap else None,
        distinguishable=decision.distinguishable,
        headline=headline_of(decision),
        reasons=reasons_of(decision, cards, ()),
        ranking=(best, *(ranked(each.other, each, record) for each in decision.gaps)),
        weights=dict(cards.weights),
        pictures=len(look.looks),
        time=now(),
    )


def _drawn(look: FirstLook) -> Iterator[str]:
    """Say what a race saved."""
    drawn, whole = len(look.looks), pictures_of_all(look)
    if drawn < whole:
        yield (
            f"It took {drawn} pictures, {drawn / whole:.0%} of all: checkpoints that were clearly behind, or no better "
            "than an earlier one, got no more."
        )


def _digest(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""


def _more(decision: Decision) -> More | None:
    more = decision.more
    return None if more is None else More(pictures=more.pictures, seeds=more.seeds, prompts=more.prompts)


def ranked(candidate: Candidate, gap: object, record: RunRecord | None) -> Ranked:
    """Return a candidate as the choice keeps it, with its gap to the chosen one."""
    from maquette.choosing.decide import Gap

    behind = gap.difference if isinstance(gap, Gap) else None
    return Ranked(
        checkpoint=_path_of(candidate.column.file or candidate.label, record),
        label=candidate.label,
        step=candidate.column.step,
        strength=candidate.column.strength,
        score=candidate.score.mean,
        low=candidate.score.low,
        high=candidate.score.high,
        behind=behind.mean if behind else None,
        behind_low=behind.low if behind else None,
        behind_high=behind.high if behind else None,
        failures=candidate.failures,
    )


def _path_of(file: str, record: RunRecord | None) -> str:
    """Return a LoRA file relative to its run, where it belongs to one."""
    return record.path_of(file) if record is not None else file


def overruled(choice: Choice, name: str, strength: float | None, reason: str) -> Choice:
    """Return the choice of a person against that of the measures. Raises ConfigError for a name that was not measured."""
    wanted = named_in(choice.ranking, name)
    told = f"A person chose {wanted.label}" + (f": {reason}" if reason else ".")
    was = f"The measures would have chosen {choice.label}. {choice.headline}"
    same = wanted.checkpoint == choice.checkpoint
    return replace(
        choice,
        checkpoint=wanted.checkpoint,
        label=wanted.label,
        step=wanted.step,
        strength=wanted.strength if strength is None else strength,
        score=wanted.score,
        low=wanted.low,
        high=wanted.high,
        runner_up=choice.runner_up if same else choice.checkpoint,
        decided_by="person",
        headline=told,
        reasons=(("The measures choose the same." if same else was), *choice.reasons),
    )


def _reported(folder: RunFolder, record: RunRecord, judged: Judged) -> Stage[Path]:
    """Write the run's report again, with the choice."""
    from maquette.evaluating.decision_section import chosen_first
    from maquette.evaluating.report import write_report
    from maquette.evaluating.run import facts_of_run

    facts = chosen_first(facts_of_run(folder, record, record.settings, look=judged.look, cards=judged.cards))
    report = write_report(folder.path / "report.html", facts)
    yield Artifact("report", report)
    return report


def told(choice: Choice) -> Sequence[str]:
    """Return a choice in lines for a terminal."""
    lines = [choice.headline, *(f"  {reason}" for reason in choice.reasons)]
    for suspicion in choice.suspicions:
        lines += [f"! {suspicion.told}", f"  {suspicion.remedy}"]
    return lines

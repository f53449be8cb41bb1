"""Curation from beginning to end: look, judge, decide, write down, show, and copy if asked to."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maquette.curating import looking, thumbnails, variety
from maquette.curating.apply import apply as apply_set
from maquette.curating.apply import require_own_folder
from maquette.curating.decisions import (
    WORK_NAME,
    Decision,
    Decisions,
    as_text,
    decision_of,
    decisions_path,
    read_decisions,
)
from maquette.curating.duplicates import judge_duplicates, judge_mirrored
from maquette.curating.job import Job, check, settings_of, with_last
from maquette.curating.looking import Findings
from maquette.curating.options import CurateOptions
from maquette.curating.person import write_decisions
from maquette.curating.quality import judge_quality
from maquette.curating.records import MAQUETTE, STATES, YOU, CurateResult, Look
from maquette.dataset.unread import said_of_unread
from maquette.errors import ConfigError, Problem
from maquette.events import Artifact, Finished, Message, Progress, Stage, Started
from maquette.files import write_json
from maquette.locking import holding
from maquette.project.validation import read_as
from maquette.reading import FileKind

CHART_NAME = "histogram.png"


def curate_events(
    directory: Path, options: CurateOptions | None = None, *, cache: Any = "default"
) -> Stage[CurateResult]:
    """Sort the pictures in `directory` into kept, rejected and to review.

    What `options` do not say is as it was in the last run. Nothing is deleted or moved; decisions are written to
    directory/curation.json, everything else below directory/.curation. cache: where measures are kept (None: nowhere).
    Input is checked before the first event: raises MaquetteError with every problem.
    """
    options = options or CurateOptions()
    return holding(directory, "curate", lambda: _begun(directory, options, cache))


def _begun(directory: Path, options: CurateOptions, cache: Any) -> Stage[CurateResult]:
    """Return the stage with its input checked."""
    if options.apply is not None:
        require_own_folder(options.apply, directory)
    if not options.videos:
        if "every_s" in options.given():
            remedy = "Name the film with --video, or leave --every out."
            raise ConfigError(Problem("--every", f"{options.every_s:g} without a film", "--video", remedy))
        return _curate(_job(directory, options), cache)
    wanted, _ = with_last(options, read_decisions(directory), options.fresh)
    check(directory, wanted, remembered=(), listed=False)
    return _from_films(options, directory, lambda: _curate(_job(directory, options), cache))


def _from_films(
    options: CurateOptions, folder: Path, rest: Callable[[], Stage[CurateResult]]
) -> Stage[CurateResult]:
    """Take frames first: the pictures can only be listed when they are there."""
    from maquette.curating.video import check_films, frames_events

    check_films(options.videos)
    return _chained(frames_events(options.videos, folder, every_s=options.every_s), rest)


def _chained(frames: Stage[int], rest: Callable[[], Stage[CurateResult]]) -> Stage[CurateResult]:
    taken = yield from frames
    result = yield from rest()
    return replace(result, frames=taken)


def _job(folder: Path, given: CurateOptions) -> Job:
    options, remembered = with_last(given, read_decisions(folder), given.fresh)
    return check(folder, options, remembered=remembered)


def _curate(job: Job, cache: Any) -> Stage[CurateResult]:
    last = read_decisions(job.heap.directory)
    found = Findings()
    for note in (*job.notes, *_remembered_note(job)):
        yield Message(note)
    if job.heap.others:
        yield found.warn(
            said_of_unread(job.heap.directory, [job.heap.path(name) for name in job.heap.others])
        )
    yield from looking.make_ready(job, found, job.options.device)
    yield from looking.measure(job, found, cache)
    absent, notes = recall_yours(found.looks, last)
    for sentence in (*notes, *judge_quality(found.looks, job.options)):
        yield found.warn(sentence)
    judge_duplicates(found.looks, job.options)
    if found.encoder is not None:
        yield from looking.embed_open(job, found)
        _judge_alike(job, found)
        if job.references:
            yield from looking.score_identity(job, found)
    elif job.references:
        looking.leave_identity_open(found)
    judge_mirrored(found.looks, job.options, None if job.profile is None else job.profile.is_asymmetric)
    if found.finder is not None:
        yield from looking.look_for_faces(job, found)
    for sentence in _judge_variety(job, found):
        yield found.warn(sentence)
    decisions = Decisions(
        folder=job.heap.directory,
        settings=settings_of(job.options),
        identity=found.identity,
        pictures={look.name: decision_of(look) for look in found.looks},
        absent=absent,
    )
    write_decisions(decisions, "curate")
    yield Artifact("decisions", decisions_path(job.heap.directory))
    return (yield from _shown(job, found, decisions, last))


def _shown(job: Job, found: Findings, decisions: Decisions, last: Decisions | None) -> Stage[CurateResult]:
    """Draw chart and sheets, copy the set, and return the result."""
    work, out = job.heap.directory / WORK_NAME, job.options.apply
    chart = None
    if found.identity is not None:
        from maquette.curating.chart import write_histogram

        chart = write_histogram(found.identity, work / CHART_NAME)
        yield Artifact("histogram", chart)
    sheets = yield from _sheets(decisions, work, job.options.sheet_pages, job.workers)
    copied = 0
    if out is not None:
        names = [decision.name for decision in decisions.in_state("kept")]
        if not names:
            raise ConfigError(_nothing_to_copy(job, sheets))
        done = apply_set(job.heap.directory, names, out)
        copied = done.pictures
        for note in done.notes:
            yield found.warn(note)
        yield Artifact("set", out)
    result = result_of(decisions, job, found, last)
    return replace(result, sheets=sheets, chart=chart, applied=out, copied=copied)


def _nothing_to_copy(job: Job, sheets: Sequence[Path]) -> Problem:
    """Return why --apply makes no empty folder, and the two ways on: the person's own judgement, or none of identity."""
    folder = job.heap.directory
    shown = f"look at {sheets[0].parent}, then " if sheets else ""
    by_quality = " Or run it again with --fresh and without --references: then quality and variety decide."
    return Problem(
        f"--apply {job.options.apply}",
        "no picture is kept",
        "pictures to copy",
        f"Decide yourself: {shown}maquette curate {folder} --keep NAME.{by_quality if job.references else ''}",
    )


def _sheets(decisions: Decisions, work: Path, pages: int, workers: int) -> Stage[tuple[Path, ...]]:
    """Draw the contact sheets, unless those of the same decisions are there; return their paths."""
    if pages < 1:
        return ()
    from maquette.curating.sheets import write_sheets

    folder, mark = work / "sheets", work / "sheets.json"
    digest = hashlib.sha256(f"{pages}\n{as_text(decisions)}".encode()).hexdigest()
    paths = _known_sheets(folder, mark, digest)
    if not paths:
        yield Started("sheets", None, "page")
        for path in write_sheets(decisions, folder, max_pages=pages, workers=workers):
            paths.append(path)
            yield Progress("sheets", len(paths), None, "page")
        yield Finished("sheets")
        write_json(mark, {"decisions": digest, "pages": [path.name for path in paths]})
    yield Artifact("contact sheets", folder)
    return tuple(paths)


def _known_sheets(folder: Path, mark: Path, digest: str) -> list[Path]:
    try:
        found = read_as(_Mark, mark, FileKind("a note of the last sheets", ""))
    except ConfigError:
        return []
    paths = [folder / name for name in found.pages]
    return paths if found.decisions == digest and all(path.is_file() for path in paths) else []


@dataclass(frozen=True)
class _Mark:
    """Which decisions the contact sheets show."""

    decisions: str
    pages: tuple[str, ...]


def recall_yours(looks: Sequence[Look], last: Decisions | None) -> tuple[dict[str, Decision], list[str]]:
    """Give looks the person's decisions; return those whose pictures are gone, and sentences about what changed.

    A decision belongs to a name; where that picture is gone and its very content has come under a new name, it goes along.
    """
    if last is None:
        return {}, []
    by_name = {look.name: look for look in looks}
    known = {**last.absent, **last.pictures}
    by_content = {look.sha256: look for look in looks if look.sha256 and look.name not in known}
    absent: dict[str, Decision] = {}
    notes = []
    for name, decision in known.items():
        if decision.decided_by != YOU:
            continue
        look = by_name.get(name) or by_content.get(decision.sha256)
        if look is None:
            absent[name] = decision
            continue
        look.yours = decision.state
        if look.sha256 != decision.sha256 and decision.sha256:
            notes.append(f"{name} has changed since you decided on it ({decision.state}): look at it again.")
    return absent, notes


def result_of(decisions: Decisions, job: Job, found: Findings, last: Decisions | None) -> CurateResult:
    """Return the record of what was decided."""
    folder = decisions.folder
    before = {name: decision.sha256 for name, decision in (last.pictures if last else {}).items()}
    states = {state: decisions.in_state(state) for state in STATES}
    decided = [each for each in decisions.pictures.values() if each.state != "kept"]
    codes = Counter(code for each in decided if (code := _decisive_code(each)))
    return CurateResult(
        directory=folder,
        decisions=decisions_path(folder),
        kept=tuple(folder / each.name for each in states["kept"]),
        rejected={folder / each.name: _texts(each) for each in states["rejected"]},
        review={folder / each.name: _texts(each) for each in states["review"]},
        references=job.references,
        counts={"pictures": len(decisions.pictures)} | {state: len(some) for state, some in states.items()},
        reasons=dict(codes.most_common()),
        encoder=found.encoder.name if found.encoder else "",
        threshold=(found.identity or {}).get("threshold"),
        identity=found.identity,
        clusters=len({look.cluster for look in found.looks if look.cluster is not None}),
        target=job.options.target,
        warnings=tuple(found.warnings),
        measured_now=sum(before.get(look.name) != look.sha256 for look in found.looks),
        embedded_now=found.embedded_now,
    )


def _judge_alike(job: Job, found: Findings) -> None:
    """Where it was asked for, pictures that the encoder takes for the same are duplicates too."""
    if not job.options.alike or found.store is None:
        return
    places = [index for index, look in enumerate(found.looks) if look.is_open and look.sha256 in found.store]
    rows = found.store.rows([found.looks[index].sha256 for index in places])
    pairs = variety.alike_pairs(rows, job.options.alike)
    judge_duplicates(found.looks, job.options, np.asarray(places, np.int64)[pairs].reshape(-1, 2))


def _judge_variety(job: Job, found: Findings) -> list[str]:
    """Number the groups of what is kept and, with a target, reject the least varied of it; return sentences."""
    looks = [look for look in found.looks if look.state == "kept" and look.sha256]
    if found.store is not None:
        looks = [look for look in looks if look.sha256 in found.store]
        rows = found.store.rows([look.sha256 for look in looks])
    else:
        rows = thumbnails.features(thumbnails.thumbnails_of(looks))
    for look, number in zip(looks, variety.clusters(rows).tolist(), strict=True):
        look.cluster = number
    target = job.options.target
    if target is None or not looks:
        return []
    said = []
    if found.store is None:
        said.append("Variety was judged by thumbnails: name an --encoder to tell views and poses apart.")
    if len(looks) <= target:
        return [*said, f"{len(looks)} good pictures for a target of {target}: all are kept."]
    yours = [index for index, look in enumerate(looks) if look.yours == "kept"]
    chosen = variety.farthest(rows, target, quality=[look.quality for look in looks], chosen=yours)
    nearest, alike = variety.nearest_chosen(rows, chosen)
    staying = set(chosen)
    for index, look in enumerate(looks):
        if index not in staying:
            other = looks[int(nearest[index])].name
            text = f"beyond the target of {target}; most like {other}, which is kept ({alike[index]:.2f})"
            look.add("target", "reject", text, other=other)
    return said


def _decisive_code(decision: Decision) -> str:
    weight = {"rejected": "reject", "review": "review"}[decision.state]
    return next((reason.code for reason in decision.reasons if reason.weight == weight), "")


def _texts(decision: Decision) -> tuple[str, ...]:
    if decision.decided_by == MAQUETTE:
        return decision.texts
    said = {"rejected": "rejected by you", "review": "to review, you said"}[decision.state]
    return (said, *decision.texts)


def _remembered_note(job: Job) -> list[str]:
    if not job.remembered:
        return []
    return [f"As last time: {', '.join(job.remembered)} (--fresh forgets them)."]

"""The captioning stage: ask for every picture that needs a caption, hold each answer against the profile, write the good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from maquette.captioning.answers import Judge, same_for_all
from maquette.captioning.history import begin, what_of, write_caption
from maquette.captioning.journal import Journal
from maquette.captioning.options import CaptionOptions
from maquette.captioning.records import CaptionResult, Draft, Target
from maquette.captioning.sources.opening import open_sources
from maquette.captioning.sources.source import Ask, Context, Source
from maquette.captioning.strategies import STRATEGIES, Strategy, strategy_named
from maquette.captioning.targets import Place, find_place, find_profile, find_targets
from maquette.captioning.words_diff import Difference
from maquette.errors import ConfigError, Problem
from maquette.events import Finished, Message, Progress, Stage, Started
from maquette.families.common.tokenizer import count_clip_tokens
from maquette.locking import holding
from maquette.project.journal import Recorder
from maquette.project.profile import Kind, Profile

STAGE = "caption"
SECOND_TRIES = 1
"""How often a source that can learn from it is told why its answer was refused."""
TRIAL = 5
"""At least so many pictures are asked for before anything is written, to find a source that says the same of all."""
KIND_OF: dict[str, Kind] = {
    "character": "character",
    "object": "object",
    "style": "style",
    "detailed": "character",
}
"""The kind of a subject that has no profile."""
STRATEGY_OF: dict[Kind, str] = {
    "character": "character",
    "person": "character",
    "object": "object",
    "style": "style",
}

Confirm = Callable[[Sequence[Draft]], bool]


@dataclass(kw_only=True)
class _Run:
    """One captioning run under way."""

    place: Place
    source: Source
    judge: Judge
    journal: Journal
    recorder: Recorder
    dry_run: bool
    workers: int
    drafts: list[Draft] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def caption_events(
    directory: Path, options: CaptionOptions, *, confirm: Confirm | None = None
) -> Stage[CaptionResult]:
    """Write captions for the pictures of `directory`: a folder of pictures, a kohya folder (N_name children), or a project.

    Sources that rewrite work on captioned pictures alone, whatever `overwrite` says. confirm: called with the first
    drafts (`preview`) before anything is written; False stops there. Raises MaquetteError for unusable input before the
    first event.
    """
    place = find_place(Path(directory), options.caption_extension)
    if options.dry_run:
        return _begun(place, options, confirm)
    return holding(place.root, "caption", lambda: _begun(place, options, confirm))


def _begun(place: Place, options: CaptionOptions, confirm: Confirm | None) -> Stage[CaptionResult]:
    """Return the stage with its input checked."""
    began = time.perf_counter()
    targets, warnings = find_targets(place)
    kind = KIND_OF[options.strategy] if options.strategy else "character"
    subject, profile_path = find_profile(place, options.profile, options.trigger, kind)
    chosen = _strategy(options, subject, profile_path)
    if chosen.name == "style" and not subject.style:
        raise ConfigError(_no_style(profile_path))
    context = Context(strategy=chosen, profile=subject, options=options, root=place.root)
    source = open_sources(options.source, context)
    run = _opened(options, place, context, source)
    todo, left = _to_do(targets, source, options.overwrite)
    if options.limit is not None:
        todo, left = todo[: options.limit], left + todo[options.limit :]
    messages = [Message(text, "warning") for text in warnings]
    messages += _remarks(profile_path, options.profile, todo, run.journal.num_recalled)
    messages += _unlike(chosen, subject, profile_path)
    return _events(run, todo, left, messages, options.preview, confirm, began)


def _strategy(options: CaptionOptions, subject: Profile, profile_path: Path | None) -> Strategy:
    """Return the strategy asked for, else the one that the profile's kind asks for. ConfigError where neither says."""
    if options.strategy is None and profile_path is None:
        raise ConfigError(
            Problem(
                "--strategy",
                "not given, and no profile says what is learned",
                f"one of {', '.join(STRATEGIES)}",
                "maquette caption --explain all tells what each does.",
            )
        )
    return strategy_named(options.strategy or STRATEGY_OF[subject.kind])


def _unlike(chosen: Strategy, subject: Profile, profile_path: Path | None) -> list[Message]:
    """Warn where the strategy is another kind's than the profile's: it leaves out, or names, what that kind should not."""
    usual = STRATEGY_OF[subject.kind]
    if profile_path is None or chosen.name in (usual, "detailed"):
        return []
    text = (
        f"{profile_path} says kind = '{subject.kind}', whose captions --strategy {usual} writes; --strategy "
        f"{chosen.name} was given: {chosen.summary}. Correct one of them if that is not meant."
    )
    return [Message(text, "warning")]


def _opened(options: CaptionOptions, place: Place, context: Context, source: Source) -> _Run:
    """Return the run whose input is checked: its judge, its journal of answers, its change of captions."""
    strategy, subject = context.strategy, context.profile
    judge = Judge(
        strategy=strategy,
        profile=subject,
        count_tokens=count_clip_tokens,
        max_tokens=options.max_tokens,
        literal=source.is_literal,
        fill_in=not source.is_model,
    )
    how = {
        "strategy": strategy.name,
        "profile": repr(subject),
        "source": dict(source.describe()),
        "overwrite": options.overwrite,
    }
    return _Run(
        place=place,
        source=source,
        judge=judge,
        journal=Journal(place.root, how, keep=source.is_model and not options.dry_run),
        recorder=begin(place.root, what_of(strategy.name, options.source)),
        dry_run=options.dry_run,
        workers=options.workers,
    )


def _events(
    run: _Run,
    todo: list[Target],
    left: list[Target],
    messages: Sequence[Message],
    preview: int,
    confirm: Confirm | None,
    began: float,
) -> Stage[CaptionResult]:
    yield Started(STAGE, len(todo), "picture")
    yield from messages
    stopped = False
    try:
        num_first = min(len(todo), max(preview, TRIAL))
        for draft in _drafts(run, todo[:num_first]):
            run.drafts.append(draft)
            yield Progress(STAGE, len(run.drafts), len(todo), "picture")
        run.drafts = _in_order(run.drafts, todo)
        blind = run.source.is_model and same_for_all(run.drafts)
        if blind:
            run.drafts = [_refused_as_same(draft) for draft in run.drafts]
        shown = tuple(run.drafts[:preview])
        if todo and not run.dry_run and confirm is not None and preview:
            stopped = not confirm(shown)
        if not stopped:
            for draft in run.drafts:
                _write(run, draft)
        if not stopped and blind and len(todo) > num_first:
            run.drafts += [_not_asked(target) for target in todo[num_first:]]
        elif not stopped:
            for draft in _drafts(run, todo[num_first:]):
                run.drafts.append(draft)
                _write(run, draft)
                yield Progress(STAGE, len(run.drafts), len(todo), "picture")
        if blind or (not stopped and all(draft.is_final for draft in run.drafts)):
            run.journal.end()
    finally:
        run.source.close()
    drafts = _in_order(run.drafts, todo)
    yield Finished(STAGE)
    return _result(run, drafts, left, shown, stopped, time.perf_counter() - began)


def _drafts(run: _Run, targets: Sequence[Target]) -> Iterator[Draft]:
    """Yield a draft for each target as it is ready; several questions are under way at once where the source allows."""
    size = max(1, run.source.batch_size)
    batches = [targets[start : start + size] for start in range(0, len(targets), size)]
    if not run.source.is_parallel or run.workers < 2:
        for batch in batches:
            yield from _batch(run, batch)
        return
    pool = ThreadPoolExecutor(run.workers, thread_name_prefix="caption")
    waiting: set[Future[list[Draft]]] = set()
    rest = iter(batches)
    try:
        while True:
            for batch in islice(rest, 2 * run.workers - len(waiting)):
                waiting.add(pool.submit(_batch, run, batch))
            if not waiting:
                return
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batch(run: _Run, targets: Sequence[Target]) -> list[Draft]:
    """Return the drafts of some targets: from the journal, else asked for, refused ones once more with the reason."""
    drafts: dict[str, Draft] = {}
    asked = []
    for target in targets:
        known = run.journal.answer(target)
        if target.problem:
            drafts[target.name] = Draft(target=target, reasons=(target.problem,))
        elif known is not None:
            drafts[target.name] = run.judge.draft(target, known)
        else:
            asked.append(target)
    notes = dict.fromkeys((target.name for target in asked), "")
    for attempt in range(1 + (SECOND_TRIES if run.source.learns_from_refusal else 0)):
        if not asked:
            break
        answers = run.source.ask([Ask(target=target, note=notes[target.name]) for target in asked])
        again = []
        for target, answer in zip(asked, answers, strict=True):
            draft = run.judge.draft(target, answer)
            drafts[target.name] = draft
            is_last = attempt == SECOND_TRIES or not run.source.learns_from_refusal
            if draft.is_good or answer.failed or is_last:
                run.journal.remember(target, answer)
            else:
                notes[target.name] = "; ".join(draft.reasons)
                again.append(target)
        asked = again
    return [drafts[target.name] for target in targets]


def _write(run: _Run, draft: Draft) -> None:
    """Write a good draft that changes something, recorded first; with a dry run only note what would change."""
    if not draft.changes:
        return
    target = draft.target
    if not run.dry_run:
        run.differences.append(write_caption(run.recorder, target.caption, draft.text))
        return
    before = target.caption.read_bytes().decode("utf-8", "replace") if target.caption.is_file() else None
    name = target.caption.relative_to(run.place.root).as_posix()
    run.differences.append(Difference(path=name, before=before, after=draft.text + "\n"))


def _to_do(targets: Sequence[Target], source: Source, overwrite: bool) -> tuple[list[Target], list[Target]]:
    """Return the pictures to ask for and those left as they are. A rewriting source works on captioned ones alone."""
    if source.from_existing:
        todo = [target for target in targets if target.existing or target.problem]
    elif overwrite:
        todo = list(targets)
    else:
        todo = [target for target in targets if not target.existing]
    names = {target.name for target in todo}
    return todo, [target for target in targets if target.name not in names]


def _remarks(
    profile_path: Path | None, given: Path | None, todo: Sequence[Target], num_recalled: int
) -> list[Message]:
    remarks = []
    if profile_path is None:
        text = "No profile.toml by these pictures: appearance and sides cannot be checked. maquette init proposes one."
        remarks.append(Message(text, "warning"))
    elif given is None:
        remarks.append(Message(f"Profile: {profile_path}"))
    if num_recalled:
        text = (
            f"{num_recalled} answers of an unfinished run are used; those pictures are not asked for again."
        )
        remarks.append(Message(text))
    num_long = sum(target.lines_left_out > 0 for target in todo)
    if num_long:
        text = (
            f"{num_long} captions have more than one line; only the first is read, and only one is written."
        )
        remarks.append(Message(text, "warning"))
    return remarks


def _in_order(drafts: Sequence[Draft], todo: Sequence[Target]) -> list[Draft]:
    place = {target.name: index for index, target in enumerate(todo)}
    return sorted(drafts, key=lambda draft: place[draft.target.name])


def _refused_as_same(draft: Draft) -> Draft:
    reason = "the same answer for every picture: this source does not see them"
    return Draft(target=draft.target, said=draft.said, text=draft.text, reasons=(*draft.reasons, reason))


def _not_asked(target: Target) -> Draft:
    return Draft(target=target, reasons=("not asked: the first answers were all the same",), is_final=False)


def _result(
    run: _Run,
    drafts: Sequence[Draft],
    left: Sequence[Target],
    shown: tuple[Draft, ...],
    stopped: bool,
    seconds: float,
) -> CaptionResult:
    good = [draft for draft in drafts if draft.is_good]
    return CaptionResult(
        directory=run.place.root,
        strategy=run.judge.strategy.name,
        source=run.source.name,
        captions={draft.target.name: draft.text for draft in good},
        written=() if stopped else tuple(draft.target.name for draft in good if draft.changes),
        unchanged=tuple(
            [draft.target.name for draft in good if not draft.changes] + [target.name for target in left]
        ),
        refused={draft.target.name: draft.reasons for draft in drafts if not draft.is_good},
        preview=shown,
        diff=tuple(sorted(run.differences, key=lambda difference: difference.path)),
        dry_run=run.dry_run,
        stopped_at_preview=stopped,
        change=run.recorder.number,
        seconds=seconds,
    )


def _no_style(profile_path: Path | None) -> Problem:
    return Problem(
        str(profile_path or "--strategy style"),
        "no style words",
        "the words that every caption of the style begins with",
        'Write a profile.toml with kind = "style" and e.g. style = ["pixel art", "24x24"].',
    )

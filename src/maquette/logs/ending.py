"""How a run ended: which error was its last, what it survived, and which known failures therefore count.

Three facts decide. An error after which steps were made, or the last file was saved, ended nothing. A launcher's error
(CalledProcessError) only says that the trainer failed: the error above it is the trainer's own. And of several errors the
last one ended the run, for what it survived it survived.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from maquette.logs.facts import LogMatch, LogTraceback
from maquette.logs.failure import Failure
from maquette.logs.tracebacks import Trace

NEAR = 40
"""A known message this close above an unknown error says what the error was about."""
MOST_DETAIL_CHARACTERS = 20_000
_WRAPPED = re.compile(
    r"CalledProcessError|ChildFailedError|Command exited with code|exits with return code|Training failed|training failed|"
    r"returned non-zero exit status|failed with (?:return |exit )?code|exit_code=\d",
)
_USER = re.compile(r"KeyboardInterrupt|exit status (?:3221225786|-1073741510|130|-2)\b|Signals\.SIGINT")


@dataclass(frozen=True)
class Candidate:
    """A line that may show a failure."""

    at: int
    line: int
    text: str
    joined: bool = False
    """Put together from the lines of a wrapped message."""


@dataclass(kw_only=True)
class Ending:
    """What became of the run."""

    matches: list[LogMatch] = field(default_factory=list)
    """Of known failures, those that count."""
    counts: dict[str, int] = field(default_factory=dict)
    tracebacks: tuple[LogTraceback, ...] = ()
    fatal: LogTraceback | None = None
    survived: tuple[LogTraceback, ...] = ()
    finished: bool = False
    interrupted: bool = False


@dataclass(frozen=True, eq=False)
class _Match:
    """A line and the failure that it shows."""

    at: int
    line: int
    text: str
    failure: Failure
    detail: str
    trace: Trace | None


def ending_of(
    *,
    candidates: Sequence[Candidate],
    traces: Sequence[Trace],
    errors: Sequence[Candidate],
    words: Sequence[Candidate],
    failures: Sequence[Failure],
    alive_at: int,
    ended_at: int,
    begun_at: int,
    done: bool,
) -> Ending:
    """Return what the gathered lines say together.

    `alive_at` is where the run made its last step, `ended_at` where its last file was saved, `begun_at` where its
    beginning was last announced; -1 where it never was. `done`: every planned step was made.
    """
    alive = max(alive_at, ended_at)
    matches = _matches(candidates, traces, failures)
    fatal_traces = _fatal(traces, alive)
    finished = ended_at >= 0 and not (begun_at > ended_at)
    if finished:
        fatal_traces = []
    counting = _counting(matches, fatal_traces, alive, finished=finished)
    known = any(match.failure.is_fatal or _names_the_end(match, fatal_traces, alive) for match in counting)
    interrupted = _interrupted(traces, words, alive, fatal_traces)
    fatal = None
    if not known and not finished:
        fatal = _unknown(traces, fatal_traces, errors, words, alive, done=done, interrupted=interrupted)
    ended_well = finished or (done and not known and fatal is None and ended_at < 0)
    return Ending(
        matches=[LogMatch(m.failure.code, m.line, m.text, m.detail) for m in counting],
        counts=_counts(counting),
        tracebacks=tuple(_record(trace) for trace in traces if trace.kind != "wrapper"),
        fatal=fatal,
        survived=_survived(traces, matches, alive_at, ended_at if finished else None),
        finished=ended_well,
        interrupted=interrupted and not ended_well,
    )


# --- lines and the failures they show ----------------------------------------------------------------------


def _matches(
    candidates: Sequence[Candidate], traces: Sequence[Trace], failures: Sequence[Failure]
) -> list[_Match]:
    """Return every line that shows a failure, in the order of the log, each failure once a line."""
    of_line = {detail[0]: trace for trace in traces for detail in trace.details}
    of_line |= {trace.at: trace for trace in traces}

    @lru_cache(maxsize=4096)
    def shown(text: str) -> tuple[tuple[Failure, str], ...]:
        return _shown(text, failures)

    found: list[_Match] = []
    seen: set[tuple[str, int, int]] = set()
    for candidate in candidates:
        for failure, detail in shown(candidate.text):
            if (failure.code, candidate.line, candidate.joined or candidate.at) in seen:
                continue
            if candidate.joined and any(
                (failure.code, candidate.line) == (m.failure.code, m.line) for m in found[-50:]
            ):
                continue
            seen.add((failure.code, candidate.line, candidate.joined or candidate.at))
            trace = of_line.get(candidate.at)
            found.append(_Match(candidate.at, candidate.line, candidate.text.strip(), failure, detail, trace))
    return found


def _shown(text: str, failures: Sequence[Failure]) -> tuple[tuple[Failure, str], ...]:
    low = text.lower()
    found = [(failure, detail) for failure in failures if (detail := failure.match(text, low)) is not None]
    special = [(failure, detail) for failure, detail in found if not failure.general]
    return tuple(special or found)


def _counting(
    matches: Sequence[_Match], fatal_traces: Sequence[Trace], alive: int, *, finished: bool
) -> list[_Match]:
    """Return the matches that count: all of what goes on beside a run, and of what ends runs only what ended this one."""
    deadly = [match for match in matches if match.failure.is_fatal and match.at > alive and not finished]
    ended = set(_what_ended(deadly, fatal_traces))
    return [match for match in matches if not match.failure.is_fatal or match in ended]


def _what_ended(deadly: Sequence[_Match], fatal_traces: Sequence[Trace]) -> list[_Match]:
    """Return the matches of the one failure that came last: in the fatal traceback, else the last line of any."""
    loose = [match for match in deadly if match.trace is None]
    if not fatal_traces:
        wrapped = [match for match in deadly if match.trace is not None and match.trace.kind == "wrapper"]
        # An error's own line tells more than the exit code that the launcher reports after it.
        last = (loose or wrapped or list(deadly))[-1:]
        return _same(deadly, last)
    end = fatal_traces[-1]
    after = [match for match in loose if match.at > end.at + len(end.details)]
    if after:
        return _same(deadly, after[-1:])
    for trace in reversed(fatal_traces):
        inside = _unexcepted([match for match in deadly if match.trace is trace], trace)
        if inside:
            # The message itself before what is printed below it.
            return _same(inside, inside[:1])
    above = [match for match in loose if 0 < end.at - match.at <= NEAR + 3 * len(end.context)]
    return _same(deadly, above[-1:])


def _unexcepted(inside: list[_Match], trace: Trace) -> list[_Match]:
    """Return the matches of failures that nothing below the message speaks against, if there are any."""
    below = "\n".join(text for _, _, text in trace.details)
    return [match for match in inside if not match.failure.excepts(below)] or inside


def _names_the_end(match: _Match, fatal_traces: Sequence[Trace], alive: int) -> bool:
    """Tell whether something that need not end a run ended this one: an error, or what the launcher reports of a signal."""
    if not fatal_traces and match.trace is not None and match.trace.kind == "wrapper":
        return match.at > alive
    return match.failure.severity == "error" and any(match.trace is trace for trace in fatal_traces)


def _same(matches: Iterable[_Match], chosen: Sequence[_Match]) -> list[_Match]:
    return [match for match in matches if chosen and match.failure is chosen[0].failure]


def _counts(matches: Iterable[_Match]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for match in matches:
        counts[match.failure.code] = counts.get(match.failure.code, 0) + 1
    return counts


# --- tracebacks ----------------------------------------------------------------------------------------------


def _fatal(traces: Sequence[Trace], alive: int) -> list[Trace]:
    """Return the chain of tracebacks that ended the run, in the order printed; none where there is none."""
    late = [trace for trace in traces if trace.at > alive]
    own = [trace for trace in late if trace.kind == "error"] or [
        trace for trace in late if trace.kind == "thread"
    ]
    if not own:
        return []
    end = own[-1]
    if end is not late[-1] and _leads_on(late, end):
        return []
    chain = [end]
    for trace in reversed(traces[: traces.index(end)]):
        if not chain[-1].chained:
            break
        chain.append(trace)
    return chain[::-1]


def _survived(
    traces: Sequence[Trace], matches: Sequence[_Match], alive_at: int, ended_at: int | None
) -> tuple[LogTraceback, ...]:
    """Return the errors after which the same run went on, or which came after its last file was saved.

    One that its launcher confirms ended an earlier run in the same log: that is past.
    """
    told = {id(match.trace) for match in matches if not match.failure.is_fatal}
    survived = []
    for place, trace in enumerate(traces):
        is_trace = trace.kind in ("error", "thread") and trace.end_line > trace.line and id(trace) not in told
        is_past = any(after.kind == "wrapper" for after in traces[place + 1 : place + 3])
        if (
            is_trace
            and not is_past
            and (trace.at < alive_at or (ended_at is not None and trace.at > ended_at))
        ):
            survived.append(_record(trace))
    return tuple(survived)


def _leads_on(late: Sequence[Trace], end: Trace) -> bool:
    """Tell whether the user's own Ctrl-C came out of this error: it is then the end, not the error."""
    following = late[late.index(end) + 1]
    return following.kind == "interrupt" and following.chained


def _interrupted(
    traces: Sequence[Trace], words: Sequence[Candidate], alive: int, fatal_traces: Sequence[Trace]
) -> bool:
    """Tell whether the user stopped the run."""
    late = [trace for trace in traces if trace.at > alive]
    by_trace = any(
        trace.kind == "interrupt" or (trace.kind == "wrapper" and _USER.search(trace.message))
        for trace in late
    )
    return not fatal_traces and (by_trace or any(_USER.search(line.text) for line in words))


def _unknown(
    traces: Sequence[Trace],
    fatal_traces: Sequence[Trace],
    errors: Sequence[Candidate],
    words: Sequence[Candidate],
    alive: int,
    *,
    done: bool,
    interrupted: bool,
) -> LogTraceback | None:
    """Return the error that ended the run though no table knows it: its traceback, else the last line that tells most."""
    if fatal_traces:
        return _record(fatal_traces[-1])
    if interrupted:
        return None
    wrappers = [trace for trace in traces if trace.at > alive and trace.kind == "wrapper"]
    called = [line for line in errors if line.at > alive and not _WRAPPED.search(line.text)]
    if called and (wrappers or not done):
        return LogTraceback(called[-1].line, called[-1].line, called[-1].text)
    if wrappers:
        return _above(wrappers, words)
    return None


def _above(wrappers: Sequence[Trace], words: Sequence[Candidate]) -> LogTraceback:
    """Return the last line above the launcher's own error; the launcher's where there is none."""
    first = wrappers[0]
    own = [
        line for line in words if line.at < first.at - len(first.context) and not _WRAPPED.search(line.text)
    ]
    above = (f"the last line before it: {own[-1].text}",) if own else ()
    record = _record(wrappers[-1])
    return LogTraceback(record.line, record.end_line, _without_command(record), above)


def _without_command(record: LogTraceback) -> str:
    """Return a launcher's error as the exit code that it reports: its command is longer than all else."""
    whole = " ".join((record.message, *record.details))
    found = re.search(r"(?:returned non-zero exit status|died with) [^\s.]{1,40}", whole)
    return f"the trainer's program {found[0]}" if found else record.message


def _record(trace: Trace) -> LogTraceback:
    details = (*trace.context, *(text for _, _, text in trace.details))
    return LogTraceback(trace.line, trace.end_line, trace.message, details)

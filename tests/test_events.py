"""Events: each is the same after JSON, numbers grow, a stage's result is what it returns, and a late reader sees everything."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maquette.errors import OutputError
from maquette.events import (
    Artifact,
    Event,
    Finished,
    Message,
    Progress,
    Stage,
    Stamps,
    Started,
    as_part,
    event_from_json,
    run_stage,
)
from maquette.runs.events import EventLog, read_events

counts = st.integers(0, 2**53)
numbers = st.floats(allow_nan=False, allow_infinity=False)
stamps = {"sequence": st.none() | counts, "time": st.none() | numbers}
names = st.text(min_size=1).filter(lambda name: "\0" not in name)
events = st.one_of(
    st.builds(Started, st.text(), st.none() | counts, st.text(), **stamps),
    st.builds(
        Progress,
        st.text(),
        counts,
        st.none() | counts,
        st.text(),
        st.dictionaries(st.text(), numbers | st.text()),
        **stamps,
    ),
    st.builds(Message, st.text(), st.sampled_from(["info", "warning"]), **stamps),
    st.builds(Artifact, st.text(), names.map(Path), **stamps),
    st.builds(Finished, st.text(), **stamps),
)


def _strict(text: str) -> object:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@given(events)
def test_an_event_is_the_same_after_json(event: Event) -> None:
    data = _strict(json.dumps(event.to_json()))
    assert isinstance(data, dict)
    again = event_from_json(data)
    assert again == event and type(again) is type(event)
    assert (again.sequence, again.time) == (event.sequence, event.time)


def test_a_reader_gets_stamp_tag_and_fields() -> None:
    event = Progress("train", 3, 10, "step", {"loss": 0.5}, sequence=12, time=1764115200.5)
    assert event.to_json() == {
        "sequence": 12,
        "time": 1764115200.5,
        "event": "progress",
        "stage": "train",
        "done": 3,
        "total": 10,
        "unit": "step",
        "values": {"loss": 0.5},
    }
    assert Artifact("sample", Path("a/b.png")).to_json() == {
        "event": "artifact",
        "kind": "sample",
        "path": "a/b.png",
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_json_cannot_say_is_text(value: float) -> None:
    data = Progress("train", 1, values={"loss": value}).to_json()
    assert data["values"] == {"loss": str(value)} and _strict(json.dumps(data)) == data


@pytest.mark.parametrize("data", [{"event": "explosion"}, {}, {"event": "message", "words": "x"}])
def test_what_is_no_event_is_refused(data: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"called|words"):
        event_from_json(data)


def _stage(log: list[str], count: int = 3) -> Stage[int]:
    try:
        yield Started("count", count)
        for done in range(1, count + 1):
            yield Progress("count", done, count)
        yield Message("counted")
        yield Finished("count")
        return count
    finally:
        log.append("left")


def test_a_stage_returns_its_result_and_its_events_are_numbered() -> None:
    heard: list[Event] = []
    assert run_stage(_stage([]), heard.append) == 3
    assert [event.sequence for event in heard] == list(range(6))
    times = [event.time for event in heard]
    assert all(times) and times == sorted(times)  # type: ignore[type-var]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_stage_is_left_before_the_listeners_error_goes_on(error: type[BaseException]) -> None:
    log: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            raise error("enough")

    with pytest.raises(error, match="enough"):
        run_stage(_stage(log), listen)
    assert log == ["left"]


def test_an_interrupt_of_the_listener_is_raised_in_the_stage() -> None:
    def stage() -> Stage[None]:
        try:
            yield Message("one")
        except KeyboardInterrupt as interrupt:
            interrupt.add_note("at one")
            raise

    def listen(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run_stage(stage(), listen)
    assert caught.value.__notes__ == ["at one"]


def test_a_part_counts_on_where_the_whole_is() -> None:
    heard: list[Event] = []
    assert run_stage(as_part(_stage([]), "whole", 7, 20), heard.append) == 3
    assert heard == [
        *(Progress("whole", 7 + done, 20) for done in (1, 2, 3)),
        Message("counted"),
    ]


@given(st.lists(st.none() | counts, max_size=20))
def test_numbers_of_a_stream_grow_whatever_inner_streams_gave(given_: list[int | None]) -> None:
    stream = Stamps()
    told = [stream.stamp(Message("x", sequence=number)).sequence for number in given_]
    assert all(later > earlier for earlier, later in pairwise(told))  # type: ignore[operator]


def test_the_numbers_of_an_inner_stream_stay_where_it_is_the_whole_stream() -> None:
    stream = Stamps()
    inner = [Message("x", sequence=number, time=5.0) for number in (57, 58, 59)]
    assert [stream.stamp(event).to_json() for event in inner] == [event.to_json() for event in inner]


# --- on the disk -----------------------------------------------------------------------------------------


def _tell(path: Path, *told: Event) -> list[Event]:
    log = EventLog(path)
    try:
        return [log.write(event) for event in told]
    finally:
        log.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(events, max_size=6), st.lists(events, max_size=6))
def test_who_comes_late_reads_what_was_told(tmp_path: Path, first: list[Event], second: list[Event]) -> None:
    path = tmp_path / "events.jsonl"
    path.unlink(missing_ok=True)
    unstamped = [replace(event, sequence=None) for event in (*first, *second)]
    told = _tell(path, *unstamped[: len(first)]) + _tell(path, *unstamped[len(first) :])
    read = read_events(path)
    assert [event.to_json() for event in read] == [event.to_json() for event in told]
    assert [event.sequence for event in read] == list(range(len(unstamped)))
    middle = len(told) // 2
    assert read_events(path, after=middle) == told[middle + 1 :]


def test_an_event_is_on_the_disk_when_it_is_told(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "run" / "events.jsonl")
    for event in log.recorded(_stage([])):
        assert read_events(tmp_path / "run" / "events.jsonl")[-1] == event
    log.close()


def test_a_last_line_that_was_cut_off_is_left_out_and_written_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    _tell(path, Message("one"), Message("two"))
    path.write_bytes(path.read_bytes()[:-7])
    assert read_events(path) == [Message("one")]
    assert _tell(path, Message("three"))[0].sequence == 1
    assert read_events(path) == [Message("one"), Message("three")]


def test_a_line_that_is_no_event_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "message", "text": "a", "sequence": 0}\n{"event": "explosion"}\n')
    with pytest.raises(OutputError, match=r"events\.jsonl:2"):
        read_events(path)


def test_before_the_first_event_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read_events(tmp_path / "events.jsonl") == []

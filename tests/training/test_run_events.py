"""What a run tells is on the disk as it is told, grows over resumes, and says the end of whatever it began."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import maquette
from maquette.events import Event, Finished, Progress, Started
from maquette.runs.events import read_events
from maquette.runs.folder import RunFolder

ShortRun = Callable[..., dict]


def test_whoever_comes_late_reads_what_was_told(short_run: ShortRun) -> None:
    settings = short_run(save_every_steps=2, sample_prompts=("zkw",), sample_steps=1)
    log = RunFolder(settings["output"] / settings["name"]).event_log
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        if event == Progress("train", 3, 6, values=event.values if isinstance(event, Progress) else {}):
            assert [late.to_json() for late in read_events(log)] == [early.to_json() for early in heard]

    maquette.train(**settings, on_event=listen)
    assert [event.to_json() for event in read_events(log)] == [event.to_json() for event in heard]
    assert [event.sequence for event in heard] == list(range(len(heard)))
    assert isinstance(heard[-1], Finished)


def test_a_resumed_run_tells_on_where_it_stopped(short_run: ShortRun) -> None:
    settings = short_run()
    folder = RunFolder(settings["output"] / settings["name"])

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maquette.train(**settings, on_event=stop)
    before = read_events(folder.event_log)
    heard: list[Event] = []
    maquette.train(resume=folder.path, on_event=heard.append)
    assert [event.to_json() for event in read_events(folder.event_log)] == [
        event.to_json() for event in (*before, *heard)
    ]
    assert heard[0].sequence == len(before)


def test_what_has_begun_is_said_to_have_ended(short_run: ShortRun) -> None:
    heard: list[Event] = []
    maquette.train(**short_run(sample_prompts=("zkw",), sample_steps=1), on_event=heard.append)
    begun = [event.stage for event in heard if isinstance(event, Started)]
    assert begun == ["load", "encode pictures", "train", "draw"]
    assert sorted(begun) == sorted(event.stage for event in heard if isinstance(event, Finished))

"""Stopping: whoever is asked leaves at the next event, once, and not when all that is left is to hand over what was made."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette.events import Event, Finished, Progress, Stage, Started, run_stage
from maquette.stopping import Stop, Stopped, stoppable


def _counting(total: int, made: list[int], left: list[str]) -> Stage[list[int]]:
    try:
        yield Started("count", total, "picture")
        for number in range(1, total + 1):
            made.append(number)
            yield Progress("count", number, total, "picture")
        yield Finished("count")
        return made
    finally:
        left.append("left")


@given(st.integers(1, 6), st.integers(0, 7))
def test_a_stage_makes_no_more_once_it_is_asked(total: int, asked_at: int) -> None:
    stop, made, left = Stop(), list[int](), list[str]()
    if asked_at == 0:
        stop.ask("before it began")

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.done == asked_at:
            stop.ask("enough")

    stage = stoppable(_counting(total, made, left), stop)
    if asked_at >= total:
        assert run_stage(stage, listen) == list(range(1, total + 1))
    else:
        with pytest.raises(Stopped) as caught:
            run_stage(stage, listen)
        assert made == list(range(1, asked_at + 1))
        assert caught.value.where == (
            f"picture {asked_at} of {total} (count)" if asked_at else "the beginning"
        )
    # A generator that never began has nothing to leave.
    assert left == (["left"] if asked_at else [])


def test_without_a_stop_a_stage_is_itself() -> None:
    stage = _counting(1, [], [])
    assert stoppable(stage, None) is stage


def test_the_first_reason_stays() -> None:
    stop = Stop()
    assert (stop.asked, stop.reason) == (False, "")
    stop.ask()
    stop.ask("later")
    assert (stop.asked, stop.reason) == (True, "")


def test_another_thread_may_ask() -> None:
    stop, made = Stop(), list[int]()

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.done == 2:
            thread = threading.Thread(target=stop.ask, args=("from the page",))
            thread.start()
            thread.join()

    with pytest.raises(Stopped):
        run_stage(stoppable(_counting(5, made, []), stop), listen)
    assert made == [1, 2] and stop.reason == "from the page"


@pytest.mark.parametrize(
    ("ending", "line"),
    [
        (Stopped("picture 3 of 9"), "interrupted at picture 3 of 9"),
        (Stopped("step 3 of 9", "maquette go"), "interrupted at step 3 of 9; go on with: maquette go"),
    ],
)
def test_where_it_ended_is_one_line(ending: Stopped, line: str) -> None:
    assert str(ending) == line

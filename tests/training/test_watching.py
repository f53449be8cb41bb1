"""Laws of the watch over a run: what makes it far slower is said once, with a remedy; what is usual is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from maquette.api import resolve_settings
from maquette.rules.verdict import judge
from maquette.training.prepare import prepare
from maquette.training.watching import BEFORE, FEW, SWAPPED_BYTES, Memory, Watch, watch_of

GIB = 1 << 30


def _said(seconds: Sequence[float], look: Callable[[int], Memory] = lambda step: Memory(0)) -> list[str]:
    taken = [0]
    watch = Watch(look=lambda: look(taken[0]), remedy=lambda room: f"REMEDY {room}")
    found = []
    for step, each in enumerate(seconds, 1):
        taken[0] = step
        found += [message.text for message in watch.after_step(step, each)]
    return found


def test_steps_that_become_far_slower_are_said_once_with_both_paces() -> None:
    seconds = [9.0] + [0.5] * BEFORE + [2.0] * 60
    (text,) = _said(seconds)
    assert text.startswith(f"Steps {BEFORE + 2} to {BEFORE + 1 + FEW} took 2 s each, 4.0 times the 0.5 s")


@pytest.mark.parametrize("name", ["one slow step", "two sizes of pictures", "noise", "a slow start"])
def test_what_is_usual_is_not_said(name: str) -> None:
    rng = random.Random(1)
    seconds = {
        "one slow step": [0.5] * 40 + [30.0] + [0.5] * 40,
        "two sizes of pictures": [0.5 if rng.random() < 0.5 else 2.0 for _ in range(200)],
        "noise": [rng.lognormvariate(0, 0.5) for _ in range(300)],
        "a slow start": [20.0, 5.0, 3.0] + [0.5] * 60,
    }[name]
    assert _said(seconds) == []


def test_memory_that_goes_to_the_disk_is_said_once_with_a_remedy() -> None:
    (text,) = _said([0.5] * 60, lambda step: Memory(3 * GIB if step < 20 else 3 * GIB + 2 * SWAPPED_BYTES))
    assert "moved 2.0 GiB of its memory to the disk" in text and "REMEDY" in text
    assert _said([0.5] * 60, lambda step: Memory(8 * GIB)) == [], "what others swapped before is theirs"


def test_a_full_card_whose_driver_fails_in_silence_is_said() -> None:
    (text,) = _said([0.5] * 30, lambda step: Memory(0, (int(7.9 * GIB), 8 * GIB)))
    assert "The card's memory is full" in text and f"REMEDY {8 * GIB}" in text
    assert _said([0.5] * 30, lambda step: Memory(0, (7 * GIB, 8 * GIB))) == []


def test_a_run_is_watched_with_its_own_remedies(short_run: Callable[..., dict]) -> None:
    with prepare(resolve_settings(None, short_run()), judge=judge) as job:
        watch = watch_of(job)
        assert watch.look().swap_bytes >= 0
        assert "maquette train --resume" in watch.remedy(0)

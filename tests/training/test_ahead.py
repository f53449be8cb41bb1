"""Pictures read ahead are those read when needed; what is wrong with them is said when they are needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import maquette
from maquette.errors import DatasetError
from maquette.events import Event, Progress
from maquette.training import ahead, data

ShortRun = Callable[..., dict[str, Any]]


def weights(short_run: ShortRun, name: str, **changes: Any) -> dict[str, torch.Tensor]:
    settings = {"name": name, "steps": 3, "random_crop": True, "accumulation": 2} | changes
    return load_file(maquette.train(**short_run(**settings)).lora)


@pytest.mark.parametrize("kept", [False, True])
def test_weights_are_the_same_with_and_without_reading_ahead(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    changes = {"cache_latents": kept, "random_crop": not kept}
    begun: list[object] = []
    begin = ahead.Ahead.begin
    monkeypatch.setattr(
        ahead.Ahead, "begin", lambda self, name, work: (begun.append(name), begin(self, name, work))
    )
    with_it = weights(short_run, "ahead", **changes)
    assert bool(begun) is not kept, "what is in memory needs no reading"
    monkeypatch.setattr(data, "STEPS_AHEAD", 0)
    without = weights(short_run, "plain", **changes)
    assert all(torch.equal(with_it[name], without[name]) for name in without)


def test_a_picture_lost_during_the_run_is_told_by_name(short_run: ShortRun, pictures: Path) -> None:
    def lose(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 1:
            for path in pictures.glob("*.png"):
                path.unlink()

    with pytest.raises(DatasetError, match=r"p\d\.png.*can no longer be read"):
        maquette.train(**short_run(cache_latents=False, steps=6), on_event=lose)


def test_what_was_begun_and_never_asked_for_is_given_up() -> None:
    work: ahead.Ahead[int] = ahead.Ahead()
    assert work.take("now", lambda: 1) == 1
    for name in range(ahead.MOST_AHEAD):
        assert work.has_room
        work.begin(name, lambda: 2)
    assert not work.has_room and work.take(0, lambda: 3) == 2 and work.has_room
    work.close()
    assert work.take(1, lambda: 3) == 3

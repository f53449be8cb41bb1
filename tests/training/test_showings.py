"""What chance shows of pictures and captions goes into a run, and a resumed run shows the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import maquette
from maquette.events import Progress
from maquette.runs.record import read_record

ShortRun = Callable[..., dict]
CHANCE = {
    "random_crop": True,
    "color_aug": True,
    "flip_aug": True,
    "caption_dropout_rate": 0.3,
    "caption_tag_dropout_rate": 0.3,
    "token_warmup_step": 0.5,
    "weighted_captions": True,
    "steps": 4,
    "caption_prefix": "photo of",
    "resolution": "64,48",
}


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def test_a_resumed_run_shows_what_the_whole_one_showed(short_run: ShortRun) -> None:
    whole = maquette.train(**short_run(name="whole", **CHANCE))

    def stop_at_two(event: object) -> None:
        if isinstance(event, Progress) and event.stage == "train" and event.done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        maquette.train(**short_run(name="halves", **CHANCE), on_event=stop_at_two)
    resumed = maquette.train(resume=whole.run.parent / "halves")
    one, two = _weights(whole.lora), _weights(resumed.lora)
    assert resumed.record.resumed_at_steps == (2,) and one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_record_and_the_file_say_what_was_left_to_chance(short_run: ShortRun) -> None:
    result = maquette.train(**short_run(**{**CHANCE, "steps": 1}))
    options = read_record(result.run).dataset.subsets[0].options
    assert all(
        getattr(options, name) == value
        for name, value in CHANCE.items()
        if name not in ("resolution", "steps", "weighted_captions")
    )
    with safe_open(result.lora, framework="pt") as file:
        said = file.metadata()
    assert (said["ss_random_crop"], said["ss_color_aug"], said["ss_flip_aug"]) == ("True", "True", "True")
    assert (said["ss_caption_dropout_rate"], said["ss_caption_tag_dropout_rate"]) == ("0.3", "0.3")

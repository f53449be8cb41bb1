"""What a person has a LoRA file say of itself, and what the base draws before anything is learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors import safe_open

import maquette
from maquette.errors import ConfigError
from maquette.logs.metrics import read_metrics

ShortRun = Callable[..., dict[str, Any]]


def metadata(file: Path) -> dict[str, str]:
    with safe_open(file, "pt") as opened:
        return dict(opened.metadata())


SAID = {
    "metadata_title": "Zkw the fox",
    "metadata_author": "Ann",
    "metadata_description": "a fox in a coat",
    "metadata_license": "CC0-1.0",
    "metadata_tags": "fox, coat",
    "metadata_usage_hint": "strength 0.8",
    "training_comment": "second try",
}


def test_a_file_says_what_its_maker_wants_it_to_say(short_run: ShortRun) -> None:
    said = metadata(maquette.train(**short_run(steps=1, **SAID)).lora)
    for name, text in SAID.items():
        key = f"modelspec.{name.removeprefix('metadata_')}" if name.startswith("metadata") else f"ss_{name}"
        assert said[key] == text
    silent = metadata(maquette.train(**short_run(steps=1, name="silent")).lora)
    assert silent["modelspec.title"] == "silent"
    assert not {"modelspec.author", "modelspec.license", "modelspec.tags"} & set(silent)


def test_samples_before_the_first_step_are_the_base_s_own(short_run: ShortRun) -> None:
    own = "{trigger}, hat --n blurry --w 64 --h 96 --d 9 --l 1 --s 1 --ss Euler"
    drawn = {"sample_prompts": ("{trigger}, waving", own), "sample_steps": 2, "steps": 2}
    first = maquette.train(**short_run(**drawn, sample_at_first=True))
    at = [sample.step for sample in first.record.samples]
    assert at == [0, 0, 2, 2]
    sample = first.record.samples[-1]
    assert (sample.prompt, sample.seed) == ("zkw, hat", 9)
    with Image.open(first.run / sample.path) as picture:
        assert picture.size == (64, 96)
        told = picture.info["parameters"]
    for each in ("Negative prompt: blurry", "Steps: 1", "Sampler: Euler,", "CFG scale: 1", "Seed: 9"):
        assert each in told
    without = maquette.train(**short_run(**drawn, name="without"))
    assert [sample.step for sample in without.record.samples] == [2, 2]
    assert first.lora.read_bytes()[-4096:] == without.lora.read_bytes()[-4096:]


def test_what_a_sample_prompt_says_and_cannot_be_drawn_is_refused_at_once(short_run: ShortRun) -> None:
    prompts = (
        "zkw --w 65 --s 0",
        "zkw --ss eulr_ancestral",
        "zkw --wide 9",
        "zkw \u2013n blurry",
        "zkw --cn a.png",
    )
    with pytest.raises(ConfigError) as refused:
        maquette.train(**short_run(sample_prompts=prompts))
    places = [problem.where for problem in refused.value.problems]
    assert places == [f"sample_prompts {number}" for number in (1, 1, 2, 3, 4, 5)]
    assert "euler_ancestral" in str(refused.value)


def test_the_base_is_measured_whether_or_not_it_is_drawn(short_run: ShortRun) -> None:
    run = short_run(
        steps=1, sample_prompts=("{trigger}",), sample_steps=2, sample_at_first=True, validation_pictures=1
    )
    assert [
        row["step"] for row in read_metrics(maquette.train(**run).run / "metrics.jsonl", "validation")
    ] == [0, 1]
